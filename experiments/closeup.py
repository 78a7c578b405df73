"""A posterior over the prior's range, and over its own where the prior's is too wide to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.predictions import central
from jaxsbi import plotting
from jaxsbi.priors import Prior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NARROW = 0.1
"""Share of the prior's range; a parameter known more closely is a mere line in it."""
SHOWN = 0.99
"""Share of the draws that a range of their own holds: outliers would make it as wide as before."""
OVER_PRIOR = (
    "Posterior over the prior's range: marginals, and the regions that hold 50, 80 and 95 % of "
    "each pair."
)
OVER_DRAWS = "The same, over the range of its own draws."


def limits(draws: np.ndarray, prior: Prior, *marks: np.ndarray | None) -> np.ndarray | None:
    """The range (d, 2) of draws (n, d) and of marks (d,), within the prior's bounds.

    None where no parameter's central 95 % is narrower than a tenth of the prior's range.
    """
    widths = np.ptp(central(draws), axis=0) / np.ptp(np.asarray(prior.bounds), axis=0)
    if not np.any((widths < NARROW) & (widths > 0)):  # 0: of a prior without bounds
        return None
    rows = np.array([np.asarray(mark, float) for mark in marks if mark is not None])
    ends = plotting.reach(draws, prior, SHOWN)
    low, high = (end(rows, axis=0, initial=at) for end, at in ((np.min, np.inf), (np.max, -np.inf)))
    return np.stack([np.minimum(ends[:, 0], low), np.maximum(ends[:, 1], high)], axis=1)


def pairs(
    draws: np.ndarray, prior: Prior, truth: np.ndarray | None, mode: np.ndarray
) -> dict[str, Figure]:
    """`posterior`, over the prior's range, and where that hides it `close`, over its own."""
    marks = {"truth": truth, "points": {"MAP": mode}}
    figures = {"posterior": plotting.pairs(draws, prior, **marks)}
    near = limits(draws, prior, truth, mode)
    if near is not None:
        figures["close"] = plotting.pairs(draws, prior, limits=near, **marks)
    return figures
