"""What simulations of a posterior's draws say of it: what they hold, and whether rounds for one
observation made them better predictions of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist


def central(x: np.ndarray) -> np.ndarray:
    """Ends of the central 95 % of each feature (2, k); runs without the feature do not count."""
    return np.nanquantile(x, [0.025, 0.975], axis=0)


def is_held(x_o: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which observed features lie in the central 95 % of simulated ones, up to rounding (k,)."""
    low, high = central(x)
    rounding = 1e-6 * np.abs(x_o)
    return (x_o >= low - rounding) & (x_o <= high + rounding)


class Refinement(NamedTuple):
    """Energy scores of posterior predictions at the observed features, before and after.

    S = E|X − x_o| − ½ E|X − X'|, X and X' predictions, |·| the root mean square over the features
    in their sds under the prior: a proper score, of which a narrow cloud beside x_o has as large a
    one as a wide cloud around it (Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102:359).
    """

    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the predictions became better ones of x_o."""
        return self.after < self.before


def judge(x_o: np.ndarray, prior: np.ndarray, before: np.ndarray, after: np.ndarray) -> Refinement:
    """From features (n, k) at draws of the prior, and of the posterior before and after.

    A run that lacks a feature is as far from everything as a draw of the prior is from x_o.
    """
    scale = np.nanstd(prior.astype(np.float64), axis=0)
    unit = np.where(scale > 0, scale, 1.0) * np.sqrt(len(x_o))
    far = float(np.nanmedian(np.linalg.norm((prior - x_o) / unit, axis=1)))

    def score(x: np.ndarray) -> float:
        apart = (x.astype(np.float64) - x_o) / unit
        to_x_o = np.nan_to_num(np.linalg.norm(apart, axis=1), nan=far)
        each_other = np.nan_to_num(cdist(apart, apart), nan=far)
        np.fill_diagonal(each_other, 0.0)
        n = len(apart)
        return float(np.mean(to_x_o) - 0.5 * np.sum(each_other) / (n * (n - 1)))

    return Refinement(score(before), score(after))
