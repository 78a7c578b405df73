"""Which observed features neurons drawn from the posterior reach, and why they miss others.

Every claim rests on the simulations at hand: fresh ones from the posterior, its mode and the prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.predictions import central
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley import Outcome

FEATURE_NAMES = tuple(f.name for f in hh.FEATURES)
NORMAL_95 = 1.96  # sds to either side hold 95 % of a normal law


class Nearest(NamedTuple):
    """The simulated neuron whose largest deviation is least, in sds of posterior predictions."""

    source: str
    theta: np.ndarray
    x: np.ndarray
    deviations: np.ndarray

    @property
    def worst(self) -> int:
        return int(np.argmax(self.deviations))


def nearest(outcome: Outcome) -> Nearest:
    """Of all neurons simulated at hand the one nearest to the observation in all features."""
    found = []
    for source, theta, x in (
        ("the posterior", outcome.samples, outcome.predicted),
        ("the mode", np.broadcast_to(outcome.best, (len(outcome.best_predicted), 8)),
         outcome.best_predicted),
        ("the prior", *outcome.from_prior),
    ):  # fmt: skip
        deviations = _deviations(outcome, x)
        i = int(np.argmin(deviations.max(axis=1)))
        found.append(Nearest(source, theta[i], x[i], deviations[i]))
    return min(found, key=lambda neuron: neuron.deviations.max())


def _deviations(outcome: Outcome, x: np.ndarray) -> np.ndarray:
    """|x − x_o| in standard deviations of posterior predictions (n, 7); ∞ where undefined."""
    x_o = np.asarray(outcome.observation.x_o)
    width = np.ptp(central(outcome.predicted), axis=0)
    scale = np.where(width > 0, width, np.maximum(1e-3 * np.abs(x_o), 1e-6)) / (2 * NORMAL_95)
    return np.nan_to_num(np.abs(x - x_o) / scale, nan=np.inf)


def of_missed(outcome: Outcome) -> list[str]:
    """What the posterior does not hold, and what the simulations at hand say of the model."""
    x_o = np.asarray(outcome.observation.x_o)
    low, high = central(outcome.predicted)
    missed = np.flatnonzero(~outcome.within)
    if not missed.size:
        return []
    ranges = [
        f"{FEATURE_NAMES[i]} (observed {x_o[i]:.4g}, simulated {low[i]:.4g} to {high[i]:.4g})"
        for i in missed
    ]
    n, drawn = len(outcome.predicted), outcome.posterior.history.simulations
    neuron, reasons = nearest(outcome), causes(outcome)
    worst = neuron.worst
    able = all(reason.model_can for reason in reasons.values())
    return [
        f"Neurons drawn from this posterior do not hold {both(ranges)} in their central 95 %.",
        *(
            sentence
            for i in missed
            for sentence in (
                _beyond(outcome, i, x_o[i] > high[i]),
                reasons[FEATURE_NAMES[i]].sentence,
            )
        ),
        f"Of all neurons simulated for these checks, the one nearest to the observation in all "
        f"seven features at once (drawn from {neuron.source}) is farthest from it in "
        f"{FEATURE_NAMES[worst]}: {neuron.x[worst]:.4g} for {x_o[worst]:.4g}, "
        f"{neuron.deviations[worst]:.2g} standard deviations of the {n:,} posterior ones. "
        "Its parameters are in results.json.",
        "More simulations (a larger preset) should mend it."
        if able
        else f"So it is as far as these simulations show: the density was learned from {drawn:,} "
        "and may be off where neurons like this one are rare among them. More simulations (a "
        "larger preset) tell this limit from one of the model.",
    ]


class Cause(NamedTuple):
    """Why the posterior does not hold a feature, as far as the simulations at hand show it.

    model_can: whether one of them reaches it and agrees with all other features.
    """

    model_can: bool
    sentence: str


def causes(outcome: Outcome) -> dict[str, Cause]:
    """The cause for each feature that the posterior does not hold, by its name.

    A neuron reaches a feature if its own is as far out as the observed one. It agrees with the
    other features if none deviates by more than 1.96 sds of posterior predictions.
    """
    x_o, (_, high) = np.asarray(outcome.observation.x_o), central(outcome.predicted)
    x = np.concatenate([outcome.predicted, outcome.best_predicted, outcome.from_prior[1]])
    deviations, found = _deviations(outcome, x), {}
    for i in np.flatnonzero(~outcome.within):
        sign = 1 if x_o[i] > high[i] else -1
        others = np.delete(deviations, i, axis=1).max(axis=1)
        reaching = np.flatnonzero((sign * (x[:, i] - x_o[i]) >= 0) & np.isfinite(others))
        agreeing = int(np.sum(others[reaching] <= NORMAL_95))
        if not reaching.size:
            whole = np.isfinite(others)
            cause = _out_of_reach(i, sign, x_o, x[whole] if whole.any() else x)
        elif agreeing:
            cause = _too_rare(agreeing)
        else:
            cause = _conflict(i, reaching[np.argmin(others[reaching])], x_o, x, deviations)
        found[FEATURE_NAMES[i]] = Cause(
            bool(agreeing), f"The cause for {FEATURE_NAMES[i]}: {cause}."
        )
    return found


def _out_of_reach(i: int, sign: int, x_o: np.ndarray, x: np.ndarray) -> str:
    farthest = sign * np.nanmax(sign * x[:, i])
    return (
        f"out of reach; of {len(x):,} neurons that were simulated for these checks, from the whole "
        f"prior too, and define every other feature, the farthest has {farthest:.4g} for "
        f"{x_o[i]:.4g}"
    )


def _too_rare(agreeing: int) -> str:
    return (
        f"the density rather than the model; {agreeing} of the neurons that reach it agree with "
        f"all other features too (each within {NORMAL_95} standard deviations of posterior ones), "
        "but the posterior draws too few of their kind"
    )


def _conflict(i: int, best: int, x_o: np.ndarray, x: np.ndarray, deviations: np.ndarray) -> str:
    j = int(np.argmax(np.where(np.arange(x.shape[1]) == i, -1.0, deviations[best])))
    return (
        f"a conflict with {FEATURE_NAMES[j]}; of the neurons that reach it, the one nearest in all "
        f"other features has a {FEATURE_NAMES[j]} of {x[best, j]:.4g} for {x_o[j]:.4g}, "
        f"{deviations[best, j]:.2g} standard deviations of posterior ones off"
    )


def _beyond(outcome: Outcome, i: int, above: bool) -> str:
    """How many single neurons reach a feature that lies above, or below, the central range."""
    sign, x_o = (1 if above else -1), float(outcome.observation.x_o[i])
    counts = [
        (int(np.sum(sign * x[:, i] >= sign * x_o)), f"{len(x):,} {source}")
        for x, source in (
            (outcome.predicted, "drawn from the posterior"),
            (outcome.best_predicted, "runs of the mode"),
            (outcome.from_prior[1], "drawn from the prior"),
        )
    ]
    where = f"{FEATURE_NAMES[i]} of {x_o:.4g} or {'more' if above else 'less'}"
    if not any(count for count, _ in counts):
        return f"No neuron among {both([name for _, name in counts])} has a {where}."
    found = both([f"{count} of {name}" for count, name in counts])
    return f"Single neurons reach it: {found} have a {where}."


def both(words: list[str]) -> str:
    """a, b and c."""
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])
