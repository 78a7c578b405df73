"""How far to trust a posterior of the Hodgkin–Huxley study: checks, and each in a sentence.

Three questions: was the density trained to the end, are its widths right over the prior, and do
neurons drawn from it behave like the observed one? Every claim rests on simulations at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from experiments import hodgkin_huxley_reach as reach
from experiments import modes
from experiments.hodgkin_huxley_reach import both
from experiments.one_posterior import GAP
from experiments.predictions import central, is_held
from jaxsbi.diagnostics import LEVELS, Calibration, holm
from jaxsbi.diagnostics.significance import CHANCE
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Outcome

PARAMETER_NAMES = tuple(p.name for p in hh.PARAMETERS)
FALLING = 0.01  # nats; a loss that fell by less over the last tenth of the epochs has settled


def sentences(outcome: Outcome) -> list[str]:
    """How far to trust the numbers of one observation."""
    return [
        *_of_training(outcome),
        *_of_refinement(outcome),
        *_of_calibration(outcome.calibration, outcome.refined),
        *(reach.of_missed(outcome) or _of_held(outcome)),
        _of_mode(outcome),
        *modes.sentences(outcome.best, outcome.samples, PARAMETER_NAMES, outcome.at_bound),
    ]


def mode_spikes(outcome: Outcome) -> dict[str, Any]:
    """Spikes of the mode, run many times, beside the observed count."""
    counts = outcome.best_predicted[:, 0]
    observed = float(outcome.observation.x_o[0])
    return {
        "observed": observed,
        "median": float(np.median(counts)),
        "share_equal": float(np.mean(counts == observed)),
        "runs": len(counts),
        "share_equal_among_samples": float(np.mean(outcome.predicted[:, 0] == observed)),
    }


def loss_still_falling(outcome: Outcome) -> float | None:
    """How far the loss fell over the last tenth of a training that its budget ended, else None."""
    last = outcome.posterior.history[-1]
    tenth = max(1, last.epochs // 10)
    if last.interrupted or last.epochs < outcome.most_epochs or last.epochs < 2:
        return None
    losses = np.fmin.accumulate(last.validation_losses)
    fall = float(losses[-1 - min(tenth, last.epochs - 1)] - losses[-1])
    return fall if fall > FALLING else None


def _of_training(outcome: Outcome) -> list[str]:
    last, budget = outcome.posterior.history[-1], outcome.most_epochs
    if last.interrupted:
        return [
            f"Training was interrupted after {last.epochs} of at most {budget} epochs: this is "
            "the best density until then. The same command trains it anew, to the end."
        ]
    fall = loss_still_falling(outcome)
    if fall is None:
        return []
    return [
        f"Training was stopped by its budget of {budget} epochs while the loss still fell (by "
        f"{fall:.2f} nats over the last tenth of them): a longer one should sharpen the posterior."
    ]


def _of_refinement(outcome: Outcome) -> list[str]:
    found = outcome.refinement
    if found is None and outcome.observation.truth is None and outcome.config.refinement:
        return [
            "The rounds for this cell came to nothing, as the terminal told: the posterior is the "
            "first round's."
        ]
    if found is None:
        return []
    before, after = (f"{score:.2g}" for score in found)
    if found.kept:
        return [
            "The rounds for this cell made posterior draws better predictions of it: the energy "
            f"score of their features fell from {before} to {after} prior standard deviations. "
            "That says that its neurons are alike, not that its widths are right: a posterior for "
            "this one observation has no calibration of its own."
        ]
    return [
        "The rounds for this cell led away from it: the energy score of posterior draws' features "
        f"rose from {before} to {after} prior standard deviations. They are set aside, and the "
        "posterior is the first round's."
    ]


def _of_calibration(calibration: Calibration, refined: bool) -> list[str]:
    n = len(calibration.credibility)
    what = (
        "Calibration of the density before it was refined for this cell"
        if refined
        else "Calibration"
    )
    whose, it = ("The first round's", "that density") if refined else ("Its", "the posterior")
    said = [f"{what}, over {n} parameter sets from the prior: {calibration.verdict}."]
    reached = calibration.coverage(LEVELS)
    gaps = reached - np.asarray(LEVELS)
    real = holm(
        np.array([
            stats.binomtest(round(share * n), n, level).pvalue
            for share, level in zip(reached, LEVELS, strict=True)
        ]),
        CHANCE,
    )  # fmt: skip
    wide, narrow = (_levels(real & side, reached) for side in (gaps > 0, gaps < 0))
    off = [regions for regions in (wide, narrow) if regions]
    slight = bool(off) and np.max(np.abs(gaps[real])) <= GAP
    if slight:
        said.append(
            f"{whose} widths are a little off, more than by chance: regions {both(off)}. Allow for "
            "that where the edge of a region matters."
        )
    if wide and not slight:
        said.append(
            f"{whose} regions are too wide: those {wide}. They err on the safe side; the "
            "observation narrows the parameters down further than they say."
        )
    if narrow and not slight:
        said.append(
            f"{whose} regions are too narrow: those {narrow}. Do not rely on their width; the "
            "truth lies outside more often than they say. More simulations, or a longer training, "
            "mend it."
        )
    leaning = [_leaning(calibration, i) for i in np.flatnonzero(calibration.rejected())]
    if np.max(np.abs(gaps)) > GAP and not real.any() and not leaning:
        said.append(f"Over {n} parameter sets, a gap of coverage of this size may be chance.")
    if leaning:
        said.append(f"Beside the true parameters {it} is {', '.join(leaning)}.")
    return said


def _levels(chosen: np.ndarray, reached: np.ndarray) -> str:
    levels = [f"{100 * LEVELS[i]:.0f}" for i in np.flatnonzero(chosen)]
    shares = [f"{100 * reached[i]:.0f}" for i in np.flatnonzero(chosen)]
    if not levels:
        return ""
    return f"of {both(levels)} % hold the truth in {both(shares)} % of the cases"


def _leaning(calibration: Calibration, i: int) -> str:
    """In which direction ranks are off: by their mean, or by their spread about it."""
    u = (calibration.ranks[:, i] + 0.5) / (calibration.samples + 1)
    shift = (u.mean() - 0.5) * np.sqrt(12 * len(u))
    spread = (np.mean((u - 0.5) ** 2) - 1 / 12) * np.sqrt(180 * len(u))
    if abs(shift) > abs(spread):
        word = "too low" if shift > 0 else "too high"
    else:
        word = "too narrow" if spread > 0 else "too wide"
    return f"{word} in {calibration.names[i]}"


def _of_held(outcome: Outcome) -> list[str]:
    x_o = np.asarray(outcome.observation.x_o)
    said = (
        "Neurons drawn from the posterior and simulated anew hold every observed feature in "
        "their central 95 %."
    )
    _, from_prior = outcome.from_prior
    if is_held(x_o, from_prior).all():
        width = np.ptp(central(outcome.predicted), axis=0)
        narrower = np.median(np.ptp(central(from_prior), axis=0) / np.maximum(width, 1e-9))
        said += (
            f" So do neurons drawn from the prior, but the posterior's ranges are {narrower:.2g} "
            "times narrower (median over features)."
            if narrower >= 2
            else " This says little: neurons drawn from the prior hold them too, in ranges "
            f"{narrower:.2g} times as wide (median over features)."
        )
    return [said]


def _of_mode(outcome: Outcome) -> str:
    spikes = mode_spikes(outcome)
    said = (
        f"At the mode the model fires {spikes['median']:.0f} spikes (median of {spikes['runs']} "
        f"runs; observed: {spikes['observed']:.0f})."
    )
    if spikes["median"] == spikes["observed"]:
        return said
    share = spikes["share_equal_among_samples"]
    said += (
        " The mode is the peak of the learned density and not a fit to the trace: another count "
        "there says that the density does not tell these counts apart. "
        if outcome.within[0]
        else " Do not take the mode for this neuron. "
    )
    return said + (
        f"{100 * share:.2g} % of the posterior samples fire {spikes['observed']:.0f}: take single "
        "neurons from these."
        if share
        else f"No posterior sample fires {spikes['observed']:.0f} either."
    )
