"""Whether rounds for one observation brought the posterior nearer to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Refinement(NamedTuple):
    """Median distance of posterior draws' features from the observed ones, before and after.

    Distance: √(mean_j (x_j − x_o,j)² / s_j²) over the features j, s their sds under the prior.
    """

    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether it came nearer. A region drawn too tightly leaves the right parameters out."""
        return self.after < self.before


def judge(x_o: np.ndarray, prior: np.ndarray, before: np.ndarray, after: np.ndarray) -> Refinement:
    """From features (n, k) at draws of the prior, and of the posterior before and after."""
    scale = np.nanstd(prior.astype(np.float64), axis=0)

    def distance(x: np.ndarray) -> float:
        apart = (x.astype(np.float64) - x_o) / np.where(scale > 0, scale, 1.0)
        return float(np.nanmedian(np.sqrt(np.nanmean(apart**2, axis=1))))

    return Refinement(distance(before), distance(after))
