"""The figures, numbers and page of the Hodgkin–Huxley study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments import report
from experiments.runs import Run, machine
from jaxsbi import plotting
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Config, Outcome

LEVELS = (0.5, 0.8, 0.95)
FEATURE_NAMES = tuple(f.name for f in hh.FEATURES)
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


def results(outcomes: list[Outcome], config: Config) -> dict[str, Any]:
    """What results.json says of each observation."""
    return {"observations": {o.observation.name: _numbers(o) for o in outcomes}}


def _numbers(outcome: Outcome) -> dict[str, Any]:
    observation, posterior, calibration = (
        outcome.observation,
        outcome.posterior,
        outcome.calibration,
    )
    names, rounds = posterior.prior.names, posterior.history.rounds
    low, high = np.nanquantile(outcome.predicted, [0.025, 0.975], axis=0)
    truth = observation.truth
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
        "map_spike_count": _map_spikes(outcome),
        "posterior_predictive": {
            name: {
                "observed": observation.x_o[i],
                "low_95": low[i],
                "high_95": high[i],
                "within": bool(outcome.within[i]),
            }
            for i, name in enumerate(FEATURE_NAMES)
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


def _map_spikes(outcome: Outcome) -> dict[str, Any]:
    counts = outcome.best_predicted[:, 0]
    observed = float(outcome.observation.x_o[0])
    return {
        "observed": observed,
        "median": float(np.median(counts)),
        "share_equal": float(np.mean(counts == observed)),
        "runs": len(counts),
    }


def trust(outcome: Outcome) -> list[str]:
    """How far to trust the numbers of one observation, in sentences."""
    calibration, spikes = outcome.calibration, _map_spikes(outcome)
    sentences = [
        f"Calibration, over {len(calibration.credibility)} parameter sets from the prior: "
        f"{calibration.verdict}."
    ]
    missed = [n for n, ok in zip(FEATURE_NAMES, outcome.within, strict=True) if not ok]
    if missed:
        sentences.append(_missed(outcome, missed))
    else:
        sentences.append(
            "Neurons drawn from the posterior and simulated anew hold every observed feature in "
            "their central 95 %."
        )
    sentences.append(
        f"At the mode the model fires {spikes['median']:.0f} spikes (median of {spikes['runs']} "
        f"runs; observed: {spikes['observed']:.0f})."
    )
    if outcome.at_bound:
        sentences.append(
            f"The mode lies at a bound of the prior in {', '.join(outcome.at_bound)}: the data "
            "would take a value beyond it, or do not constrain it."
        )
    return sentences


def _missed(outcome: Outcome, missed: list[str]) -> str:
    low, high = np.nanquantile(outcome.predicted, [0.025, 0.975], axis=0)
    x_o = np.asarray(outcome.observation.x_o)
    said = [
        f"{name} (observed {x_o[i]:.4g}, simulated {low[i]:.4g} to {high[i]:.4g})"
        for i, name in enumerate(FEATURE_NAMES)
        if name in missed
    ]
    return (
        f"Neurons drawn from the posterior do not reach {', '.join(said)}: within this prior the "
        "model has no neuron that matches all seven features at once, so the posterior is the "
        "compromise nearest to the recording, and its width should not be taken at its word."
    )


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
    low, high = np.nanquantile(outcome.predicted, [0.025, 0.975], axis=0)
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
        "traces": "Voltage: observed, at the mode, and at posterior samples, each with its own "
        "noise.",
        "predictive": "Features of re-simulated posterior samples, and the observed ones.",
        "ranks": "Ranks of true parameters among posterior samples; flat if calibrated.",
        "coverage": "Share of true parameters inside the region of each credibility.",
        "losses": "Training and validation loss.",
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
            *trust(outcome),
        ],
        figures=[report.Figure(figures[kind], caption) for kind, caption in captions.items()],
        tables=[parameters, features],
    )


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
        for sentence in trust(outcome):
            print(f"  {sentence}")
    print()
