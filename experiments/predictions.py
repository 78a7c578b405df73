"""What simulations of a posterior's draws say of it: what they hold, and whether rounds for one
observation brought them nearer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def central(x: np.ndarray) -> np.ndarray:
    """Ends of the central 95 % of each feature (2, k); runs without the feature do not count."""
    return np.nanquantile(x, [0.025, 0.975], axis=0)


def is_held(x_o: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which observed features lie in the central 95 % of simulated ones, up to rounding (k,)."""
    low, high = central(x)
    rounding = 1e-6 * np.abs(x_o)
    return (x_o >= low - rounding) & (x_o <= high + rounding)


class Refinement(NamedTuple):
    """Median distance of posterior draws' features from the observed ones, before and after.

    Distance: √(mean_j (x_j − x_o,j)² / s_j²) over the features j, s their sds under the prior; ∞
    where a run lacks one. lost: the features (indices) that draws held before and do not after.
    """

    before: float
    after: float
    lost: tuple[int, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether it came nearer, and not by leaving the right parameters out."""
        return self.after < self.before and not self.lost


def judge(x_o: np.ndarray, prior: np.ndarray, before: np.ndarray, after: np.ndarray) -> Refinement:
    """From features (n, k) at draws of the prior, and of the posterior before and after."""
    scale = np.nanstd(prior.astype(np.float64), axis=0)

    def distance(x: np.ndarray) -> float:
        apart = (x.astype(np.float64) - x_o) / np.where(scale > 0, scale, 1.0)
        return float(np.median(np.nan_to_num(np.sqrt(np.mean(apart**2, axis=1)), nan=np.inf)))

    lost = is_held(x_o, before) & ~is_held(x_o, after)
    return Refinement(distance(before), distance(after), tuple(map(int, np.flatnonzero(lost))))
