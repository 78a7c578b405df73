"""The numbers of the Hodgkin–Huxley study: what results.json says of each observation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments import checks
from experiments import hodgkin_huxley_reach as reach
from experiments import hodgkin_huxley_trust as trust
from experiments.hodgkin_huxley_reach import FEATURE_NAMES
from experiments.predictions import central
from experiments.targets import Target, in_results
from jaxsbi.diagnostics import LEVELS

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Outcome


class TruthDensity(NamedTuple):
    """−log of the density at the true parameters [nats, θ in its units], learned and prior."""

    posterior: float
    prior: float

    @property
    def gained(self) -> float:
        """By how much the observation raised the density there."""
        return self.prior - self.posterior


def truth_density(outcome: Outcome) -> TruthDensity | None:
    truth, posterior = outcome.observation.truth, outcome.posterior
    if truth is None:
        return None
    return TruthDensity(-float(posterior.log_prob(truth)), -float(posterior.prior.log_prob(truth)))


def results(outcomes: list[Outcome]) -> dict[str, Any]:
    """What results.json says of each observation."""
    return {
        "targets": in_results([t for o in outcomes for t in targets(o)]),
        "observations": {o.observation.name: _numbers(o) for o in outcomes},
    }


def targets(outcome: Outcome) -> tuple[Target, ...]:
    """Every feature held, the mode fires as often as observed, regions cover what they say."""
    name, spikes = outcome.observation.name, trust.mode_spikes(outcome)
    off = abs(spikes["median"] - spikes["observed"])
    held = int(np.sum(outcome.within))
    return (
        Target(f"{name}: features held", held, len(FEATURE_NAMES), at_most=False),
        Target(f"{name}: spikes of the mode, median, off the observed", off, 0.0),
        Target(f"{name}: coverage off", outcome.calibration.gap, trust.GAP),
    )


def _numbers(outcome: Outcome) -> dict[str, Any]:
    observation, posterior, calibration = (
        outcome.observation,
        outcome.posterior,
        outcome.calibration,
    )
    names, rounds = posterior.prior.names, posterior.history.rounds
    low, high = central(outcome.predicted)
    truth, neuron, causes = observation.truth, reach.nearest(outcome), reach.causes(outcome)
    at_truth = truth_density(outcome)
    reached = calibration.coverage(LEVELS)
    return {
        "title": observation.title,
        "x_o": dict(zip(FEATURE_NAMES, np.asarray(observation.x_o), strict=True)),
        "saved_in": outcome.folder,
        "estimator": posterior.estimator.spec(),
        "simulations": {
            "drawn": sum(r.drawn for r in rounds),
            "drawn_by_round": [r.drawn for r in rounds],
            "valid": sum(r.valid for r in rounds),
            "used": rounds[-1].used,
            "set_aside_by_round": _set_aside(outcome),
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
        "neg_log_q_truth": at_truth and at_truth.posterior,
        "neg_log_prior_truth": at_truth and at_truth.prior,
        "nats_gained_at_truth": at_truth and at_truth.gained,
        "map_spike_count": trust.mode_spikes(outcome),
        "posterior_predictive": {
            name: {
                "observed": observation.x_o[i],
                "low_95": low[i],
                "high_95": high[i],
                "within": bool(outcome.within[i]),
            }
            | ({"cause": causes[name].sentence} if name in causes else {})
            for i, name in enumerate(FEATURE_NAMES)
        },
        "nearest_simulated_neuron": {
            "drawn_from": neuron.source,
            "theta": dict(zip(names, neuron.theta, strict=True)),
            "x": dict(zip(FEATURE_NAMES, neuron.x, strict=True)),
            "deviations_in_posterior_sds": dict(zip(FEATURE_NAMES, neuron.deviations, strict=True)),
        },
        "refinement": None
        if outcome.refinement is None
        else outcome.refinement._asdict() | {"kept": outcome.refinement.kept},
        "calibration": {
            "of": "the first round" if outcome.refined else "the posterior",
            "draws": len(calibration.credibility),
            "left_out": calibration.unserved,
            "p_values": dict(zip(names, calibration.p_values, strict=True)),
            "rejected_holm_1_percent": [
                n for n, hit in zip(names, calibration.rejected(), strict=True) if hit
            ],
            "coverage": dict(zip(map(str, LEVELS), reached, strict=True)),
            "coverage_gaps": dict(zip(map(str, LEVELS), reached - LEVELS, strict=True)),
            "verdict": calibration.verdict,
        },
        "diagnostics": checks.in_results(outcome.checks),
        "trust": trust.sentences(outcome),
    }


def _set_aside(outcome: Outcome) -> list[int]:
    """Simulations of each round that led away from the observation."""
    found = outcome.set_aside
    return [] if found is None else [r.drawn for r in found.history.rounds[1:]]
