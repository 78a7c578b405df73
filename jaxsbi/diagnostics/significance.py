"""p-values: of ranks that should be uniform, of a statistic among its null, of many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

CHANCE = 0.01
"""The level at which verdicts reject."""


def holm(p_values: Float[np.ndarray, " m"], level: float) -> Bool[np.ndarray, " m"]:
    """Which hypotheses Holm's step-down procedure rejects at a family-wise error level."""
    p_values = np.asarray(p_values)
    order = np.argsort(p_values)
    passed = p_values[order] <= level / np.arange(len(order), 0, -1)
    rejected = np.zeros(len(order), bool)
    rejected[order] = np.cumprod(passed).astype(bool)
    return rejected


def uniformity(
    ranks: Int[np.ndarray, "n d"] | Float[np.ndarray, "n d"], samples: int
) -> Float[np.ndarray, " d"]:
    """Kolmogorov–Smirnov p-value of each column of ranks 0 … samples against the uniform law."""
    columns = scattered(ranks, samples).T
    return np.array([stats.kstest(column, "uniform").pvalue for column in columns])


def scattered(
    ranks: Int[np.ndarray, "n d"] | Float[np.ndarray, "n d"], samples: int
) -> Float[np.ndarray, "n d"]:
    """(rank + U(0, 1)) / (samples + 1): uniform if the ranks 0 … samples are, without ties."""
    return (ranks + np.random.default_rng(0).uniform(size=np.shape(ranks))) / (samples + 1)


def exceedance(statistic: Any, null: Float[np.ndarray, "... m"]) -> Any:
    """(1 + #{null ≥ statistic}) / (1 + m): the p-value of one among m exchangeable others."""
    null = np.asarray(null)
    above = np.sum(null >= np.asarray(statistic)[..., None], axis=-1)
    return (1 + above) / (1 + null.shape[-1])


def in_words(p_value: float) -> str:
    """p = 0.04, or p < 0.001."""
    return f"p = {p_value:.2g}" if p_value >= 1e-3 else "p < 0.001"
