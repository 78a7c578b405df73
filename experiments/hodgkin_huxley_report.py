"""The figures and the page of the Hodgkin–Huxley study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments import closeup, report
from experiments import hodgkin_huxley_reach as reach
from experiments import hodgkin_huxley_trust as trust
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.hodgkin_huxley_presets import DEVIATIONS
from experiments.hodgkin_huxley_results import results, targets, truth_density
from experiments.predictions import central
from experiments.runs import Run
from experiments.targets import as_table
from jaxsbi import plotting
from jaxsbi.diagnostics.significance import CHANCE
from jaxsbi.posteriors import Posterior
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Outcome

TRACES = 3
LIKELIHOOD_LOSS = (
    " Later rounds have the loss of a likelihood, −log p(x | θ) in the units of the features."
)
BEFORE = " All but predictive are of the density before it was refined for this cell."
NORMAL_ENTROPY = 0.5 * np.log(2 * np.pi * np.e)  # nats


def draw(folder: Path, outcomes: list[Outcome]) -> dict[str, dict[str, Path]]:
    """All figures as SVG and PNG; the path of each SVG by observation and kind."""
    return {o.observation.name: _draw_one(folder, o) for o in outcomes}


def _draw_one(folder: Path, outcome: Outcome) -> dict[str, Path]:
    observation, posterior = outcome.observation, outcome.posterior
    prior, history, calibration = posterior.prior, posterior.history, outcome.calibration
    figures = {
        **closeup.pairs(outcome.samples, prior, observation.truth, outcome.best),
        "traces": plotting.traces(
            observation.protocol.time,
            observation.voltage,
            _traces(outcome),
            current=np.asarray(observation.protocol.current),
            observed_label="truth" if observation.truth is not None else "recorded",
        ),
        "predictive": plotting.predictive(observation.x_o, outcome.predicted, hh.FEATURES),
        "ranks": plotting.ecdf(calibration, level=CHANCE),
        "coverage": plotting.coverage(calibration),
        "losses": plotting.losses(history),
    }
    return {
        kind: plotting.save(figure, folder, f"{observation.name}_{kind}")[1]
        for kind, figure in figures.items()
    }


def _traces(outcome: Outcome) -> dict[str, np.ndarray]:
    """Voltages of the mode and of a few posterior samples, each with noise of its own."""
    thetas = {"MAP": outcome.best}
    thetas |= {f"sample {i + 1}": outcome.samples[i] for i in range(TRACES)}
    protocol = outcome.observation.protocol
    return {
        label: np.asarray(hh.trace(jax.random.key(i), theta, protocol).voltage)
        for i, (label, theta) in enumerate(thetas.items())
    }


def write(
    study: Run, command: str, outcomes: list[Outcome], figures: dict[str, dict[str, Path]]
) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings = study.settings
    lead = [
        "Which parameters of a Hodgkin–Huxley neuron with an M current, eight numbers in all, "
        "agree with a voltage trace, seen through seven features? Every answer is a probability "
        "density over all of them at once, learned from simulations alone.",
        f"Preset {settings['preset']}, seed {settings['seed']}.",
    ]
    sections = [
        section
        for o in outcomes
        for section in (
            _found(o, figures[o.observation.name]),
            _trust(o, figures[o.observation.name]),
        )
    ]
    sections.append(_what_was_done(study, command, outcomes))
    return report.write(
        study.folder / "report.html",
        "Hodgkin–Huxley neurons that fire like these",
        lead,
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 4.",
        names=outcomes[0].posterior.prior.names,
    )


def _what_was_done(study: Run, command: str, outcomes: list[Outcome]) -> report.Section:
    config = outcomes[0].config
    how = [
        ("density", said(config.settings["estimator"])),
        ("its training", said(config.settings["training"])),
        ("likelihood of later rounds", said(config.settings["likelihood"])),
        ("its training", said(config.settings["refining"])),
        ("checks", f"{config.calibration:,} fresh draws from the prior, for calibration; "
         f"{config.posterior_samples:,} posterior samples, simulated anew"),
    ]  # fmt: skip
    trained = [(o.observation.title, o.posterior, o.most_epochs) for o in outcomes]
    return what_was_done(
        study,
        command,
        how,
        trained,
        "−log q in z, or, of a refined posterior, −log p(x | θ) in the features' units",
        DEVIATIONS,
    )


def _found(outcome: Outcome, figures: dict[str, Path]) -> report.Section:
    observation, posterior = outcome.observation, outcome.posterior
    prior = posterior.prior
    truth = observation.truth
    parameters = report.Table(
        ("parameter", "unit", *(["truth"] if truth is not None else []), "mean", "sd", "MAP"),
        [
            (
                name,
                prior.units[i],
                *([float(truth[i])] if truth is not None else []),
                float(outcome.samples[:, i].mean()),
                float(outcome.samples[:, i].std()),
                float(outcome.best[i]),
            )
            for i, name in enumerate(prior.names)
        ],
        caption="Posterior mean, standard deviation and mode of each parameter.",
    )
    low, high = central(outcome.predicted)
    features = report.Table(
        ("feature", "unit", "observed", "2.5 %", "97.5 %", "held"),
        [
            (f.name, f.unit, *map(float, (observation.x_o[i], low[i], high[i])), _yes(held))
            for i, (f, held) in enumerate(zip(hh.FEATURES, outcome.within, strict=True))
        ],
        caption="Features of the observation, and of neurons drawn from the posterior.",
    )
    captions = {
        "posterior": closeup.OVER_PRIOR,
        "close": closeup.OVER_DRAWS,
        "traces": f"Voltage: {_observed(outcome)}at the mode, and at posterior samples, each with "
        "its own noise.",
        "predictive": "Features of re-simulated posterior samples, and the observed ones.",
    }
    return report.Section(
        _title(outcome),
        [_of_rounds(posterior) + " " + _of_truth(outcome)],
        figures=[
            report.Figure(figures[k], caption) for k, caption in captions.items() if k in figures
        ],
        tables=[parameters, features],
    )


def _trust(outcome: Outcome, figures: dict[str, Path]) -> report.Section:
    captions = {
        "ranks": "Calibration of each parameter: how the ranks of true values among posterior "
        "samples are distributed, less the uniform law that they follow if calibrated. p is of the "
        "Kolmogorov–Smirnov test. A curve that leaves the grey band is one that Holm's procedure "
        "rejects; of calibrated posteriors one in a hundred has any such curve.",
        "coverage": "Share of true parameters inside the region of each credibility. Grey: what an "
        "exact posterior stays within in 95 % of such checks, at each level by itself.",
        "losses": "Training loss, of weights still in motion, and validation loss, on rows held "
        "out and with the average of the weights that is kept; it may lie below the other. "
        "Nats, in the coordinates z in which the prior is a standard normal law: a density that "
        f"has learned nothing has a loss of {outcome.posterior.prior.dim * NORMAL_ENTROPY:.2f}."
        + LIKELIHOOD_LOSS
        * outcome.refined,
    }
    return report.Section(
        f"{_title(outcome)}: how far to trust it",
        trust.sentences(outcome),
        figures=[report.Figure(figures[kind], caption) for kind, caption in captions.items()],
        summary=[
            as_table(targets(outcome)),
            report.Table(
                ("diagnostic", "verdict"),
                [(f"{c.name}: {c.question}", c.verdict) for c in outcome.checks],
                caption="Diagnostics by jaxsbi.diagnostics. Predictive and misspecification are of "
                "this observation; lc2st of those most like it; the others of all that the prior "
                "brings about." + BEFORE * outcome.refined,
            ),
        ],
    )


def _title(outcome: Outcome) -> str:
    title = outcome.observation.title
    return title[0].upper() + title[1:]


def _of_rounds(posterior: Posterior) -> str:
    first, *later = (f"{r.drawn:,}" for r in posterior.history.rounds)
    said = f"{first} simulations from the prior trained the posterior density"
    if not later:
        return f"{said}."
    then = " and then from what the ones before made of it" if len(later) > 1 else ""
    return (
        f"{said} of any such recording; {reach.both(later)} more, drawn from it for this "
        f"one{then}, taught the likelihood that refines it."
    )


def _of_truth(outcome: Outcome) -> str:
    found = truth_density(outcome)
    if found is None:
        return "The recording is represented by its features."
    verb = "raised" if found.gained > 0 else "lowered"
    size = abs(found.gained)
    return (
        f"At the true parameters −log q is {found.posterior:.2f} nats under the posterior and "
        f"{found.prior:.2f} under the prior (both per unit of θ): the observation {verb} the "
        f"density there by {size:.2f} nats, a factor of {np.exp(size):.3g}."
    )


def _observed(outcome: Outcome) -> str:
    if outcome.observation.voltage is None:
        return "of the recording only the features are at hand; "
    return "observed, "


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def summarise(outcomes: list[Outcome]) -> None:
    """The result in a few lines on the terminal."""
    for outcome in outcomes:
        print(f"\n{outcome.observation.title}")
        prior, truth = outcome.posterior.prior, outcome.observation.truth
        for i, (name, unit) in enumerate(zip(prior.names, prior.units, strict=True)):
            column = outcome.samples[:, i]
            known = "" if truth is None else f"   truth {float(truth[i]):.4g}"
            print(f"  {name:>8} {column.mean():9.4g} ± {column.std():<9.3g} {unit:<12}{known}")
        for sentence in trust.sentences(outcome):
            print(f"  {sentence}")
    print()


TELLING = Telling(draw, results, write, summarise)
