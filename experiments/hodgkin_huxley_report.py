"""The figures, numbers and page of the Hodgkin–Huxley study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments import hodgkin_huxley_trust as trust
from experiments import report
from experiments.hodgkin_huxley_trust import FEATURE_NAMES, LEVELS
from experiments.runs import Run, machine
from jaxsbi import plotting
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Outcome

FEATURE_UNITS = tuple(f.unit for f in hh.FEATURES)
TRACES = 3


def draw(folder: Path, outcomes: list[Outcome]) -> dict[str, dict[str, Path]]:
    """All figures as SVG and PNG; the path of each SVG by observation and kind."""
    return {o.observation.name: _draw_one(folder, o) for o in outcomes}


def _draw_one(folder: Path, outcome: Outcome) -> dict[str, Path]:
    observation, posterior = outcome.observation, outcome.posterior
    prior, history, calibration = posterior.prior, posterior.history, outcome.calibration
    levels = np.linspace(0.05, 0.95, 19)
    figures = {
        "posterior": plotting.pair_plot(
            outcome.samples,
            names=prior.names,
            units=prior.units,
            limits=np.stack(prior.bounds, axis=1),
            truth=observation.truth,
            points={"MAP": outcome.best},
        ),
        "traces": plotting.traces(
            observation.protocol.time,
            observation.voltage,
            _traces(outcome),
            current=np.asarray(observation.protocol.current),
            observed_label="truth" if observation.truth is not None else "recorded",
        ),
        "predictive": plotting.predictive(
            observation.x_o, outcome.predicted, FEATURE_NAMES, FEATURE_UNITS
        ),
        "ranks": plotting.sbc_ranks(calibration.ranks, calibration.samples, calibration.names),
        "coverage": plotting.coverage(
            levels, calibration.coverage(levels), n=len(calibration.credibility)
        ),
        "losses": plotting.loss_curves(
            [r.training_losses for r in history.rounds],
            [r.validation_losses for r in history.rounds],
        ),
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


def results(outcomes: list[Outcome]) -> dict[str, Any]:
    """What results.json says of each observation."""
    return {"observations": {o.observation.name: _numbers(o) for o in outcomes}}


def _numbers(outcome: Outcome) -> dict[str, Any]:
    observation, posterior, calibration = (
        outcome.observation,
        outcome.posterior,
        outcome.calibration,
    )
    names, rounds = posterior.prior.names, posterior.history.rounds
    low, high = trust.central(outcome.predicted)
    truth, neuron = observation.truth, trust.nearest(outcome)
    return {
        "title": observation.title,
        "x_o": dict(zip(FEATURE_NAMES, np.asarray(observation.x_o), strict=True)),
        "estimator": posterior.estimator.spec(),
        "simulations": {
            "drawn": sum(r.drawn for r in rounds),
            "valid": sum(r.valid for r in rounds),
            "used": rounds[-1].used,
        },
        "seconds": {
            "simulate": sum(r.simulate_seconds for r in rounds),
            "compile": sum(r.compile_seconds for r in rounds),
            "train": sum(r.train_seconds for r in rounds),
        },
        "interrupted": rounds[-1].interrupted,
        "loss_still_falling_by": trust.loss_still_falling(outcome),
        "epochs": [r.epochs for r in rounds],
        "best_validation_loss": [r.best_loss for r in rounds],
        "posterior": {
            name: {"mean": outcome.samples[:, i].mean(), "sd": outcome.samples[:, i].std()}
            | {"map": outcome.best[i]}
            | ({} if truth is None else {"truth": truth[i]})
            for i, name in enumerate(names)
        },
        "map_at_bound": outcome.at_bound,
        "neg_log_q_truth": None if truth is None else -float(posterior.log_prob(truth)),
        "map_spike_count": trust.mode_spikes(outcome),
        "posterior_predictive": {
            name: {
                "observed": observation.x_o[i],
                "low_95": low[i],
                "high_95": high[i],
                "within": bool(outcome.within[i]),
            }
            for i, name in enumerate(FEATURE_NAMES)
        },
        "nearest_simulated_neuron": {
            "drawn_from": neuron.source,
            "theta": dict(zip(names, neuron.theta, strict=True)),
            "x": dict(zip(FEATURE_NAMES, neuron.x, strict=True)),
            "deviations_in_posterior_sds": dict(zip(FEATURE_NAMES, neuron.deviations, strict=True)),
        },
        "calibration": {
            "draws": len(calibration.credibility),
            "p_values": dict(zip(names, calibration.p_values, strict=True)),
            "rejected_holm_1_percent": [
                n for n, hit in zip(names, calibration.rejected(), strict=True) if hit
            ],
            "coverage": dict(zip(map(str, LEVELS), calibration.coverage(LEVELS), strict=True)),
            "verdict": calibration.verdict,
        },
    }


def write(study: Run, outcomes: list[Outcome], figures: dict[str, dict[str, Path]]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings = study.settings
    lead = [
        "Which parameters of a Hodgkin–Huxley neuron with an M current, eight numbers in all, "
        "agree with a voltage trace, seen through seven features? Every answer is a probability "
        "density over all of them at once, learned from simulations alone.",
        f"Preset {settings['preset']}, seed {settings['seed']}.",
    ]
    sections = [_section(o, figures[o.observation.name]) for o in outcomes]
    stages = [
        (name, stage["compile_s"], stage["run_s"], stage["compile_s"] + stage["run_s"])
        for name, stage in study.stages.items()
    ]
    times = report.Table(("stage", "compile [s]", "run [s]", "total [s]"), stages)
    where = machine()
    sections.append(
        report.Section("Times", [f"{where['processor']}, {where['device']}."], tables=[times])
    )
    return report.write(
        study.folder / "report.html",
        "Hodgkin–Huxley neurons that fire like these",
        lead,
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 4.",
    )


def _section(outcome: Outcome, figures: dict[str, Path]) -> report.Section:
    observation, posterior = outcome.observation, outcome.posterior
    drawn = posterior.history.simulations
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
    low, high = trust.central(outcome.predicted)
    features = report.Table(
        ("feature", "unit", "observed", "2.5 %", "97.5 %", "held"),
        [
            (f.name, f.unit, *map(float, (observation.x_o[i], low[i], high[i])), _yes(held))
            for i, (f, held) in enumerate(zip(hh.FEATURES, outcome.within, strict=True))
        ],
        caption="Features of the observation, and of neurons drawn from the posterior.",
    )
    captions = {
        "posterior": "Posterior over the prior's range: marginals, and the regions that hold 50, "
        "80 and 95 % of each pair.",
        "traces": f"Voltage: {_observed(outcome)}at the mode, and at posterior samples, each with "
        "its own noise.",
        "predictive": "Features of re-simulated posterior samples, and the observed ones.",
        "ranks": "Ranks of true parameters among posterior samples; flat if calibrated.",
        "coverage": "Share of true parameters inside the region of each credibility.",
        "losses": "Training loss, of weights still in motion, and validation loss, on rows held "
        "out and with the average of the weights that is kept; it may lie below the other.",
    }
    return report.Section(
        observation.title[0].upper() + observation.title[1:],
        [
            f"{drawn:,} simulations from the prior trained the posterior density. "
            + (
                f"The true parameters have −log q = {-float(posterior.log_prob(truth)):.2f}."
                if truth is not None
                else "The recording is represented by its features."
            ),
            *trust.sentences(outcome),
        ],
        figures=[report.Figure(figures[kind], caption) for kind, caption in captions.items()],
        tables=[parameters, features],
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
