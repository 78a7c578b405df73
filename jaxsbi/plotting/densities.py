"""Densities of samples on a grid: a histogram smoothed by a Gaussian of Silverman's width.

At the limits the samples are mirrored, so a density piled at a prior's bound is not drawn as if
it fell off there.
"""

import numpy as np


def density(values: np.ndarray, limits, bins: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """p(θ_i) at `bins` centres within limits (low, high), integrating to the share inside."""
    from scipy.ndimage import gaussian_filter1d

    counts, edges = np.histogram(values, bins, limits)
    step = edges[1] - edges[0]
    width = max(_silverman(values, 1) / step, 0.5)
    smooth = gaussian_filter1d(counts.astype(float), width, mode="reflect")
    return 0.5 * (edges[:-1] + edges[1:]), smooth / (len(values) * step)


def density_2d(pairs: np.ndarray, limits, bins: int = 60) -> tuple[np.ndarray, ...]:
    """p(θ_i, θ_j) on a grid that reaches the limits: x (m,), y (m,), values (m, m) over (y, x)."""
    from scipy.ndimage import gaussian_filter

    counts, x, y = np.histogram2d(pairs[:, 0], pairs[:, 1], bins, limits)
    steps = x[1] - x[0], y[1] - y[0]
    widths = [max(_silverman(pairs[:, k], 2) / steps[k], 0.5) for k in (0, 1)]
    smooth = gaussian_filter(counts, widths, mode="reflect").T
    return edged(*(0.5 * (e[:-1] + e[1:]) for e in (x, y)), smooth, *limits)


def edged(x, y, values: np.ndarray, x_limits, y_limits) -> tuple[np.ndarray, ...]:
    """A density at centres of cells, values over (y, x), drawn out as far as the limits."""
    ends = ((c, limits) for c, limits in ((x, x_limits), (y, y_limits)))
    x, y = (np.concatenate([[low], centres, [high]]) for centres, (low, high) in ends)
    return x, y, np.pad(values, 1, mode="edge")


def thresholds(values: np.ndarray, masses) -> np.ndarray:
    """c_α with mass α of the cells ≥ c_α, for each of masses in falling order; (k,) rising."""
    inner = np.sort(values[1:-1, 1:-1].ravel())[::-1]
    share = np.cumsum(inner) / inner.sum()
    levels = np.array([inner[min(np.searchsorted(share, m), inner.size - 1)] for m in masses])
    return np.maximum.accumulate(levels * (1 + 1e-9 * np.arange(levels.size)))


def thin(time: np.ndarray, values: np.ndarray, columns: int = 1500) -> tuple:
    """The smallest and largest of every column of samples, in their order: spikes stay whole."""
    block = len(values) // columns
    if block < 4:
        return time, values
    whole = len(values) // block * block
    blocks = values[:whole].reshape(-1, block)
    filled = np.where(np.isnan(blocks), 0.0, blocks)
    rows = np.arange(len(blocks))[:, None] * block
    ends = np.sort(np.stack([filled.argmin(1), filled.argmax(1)], 1), axis=1) + rows
    kept = np.unique(np.concatenate([[0], ends.ravel(), np.arange(whole, len(values))]))
    return time[kept], values[kept]


def _silverman(values: np.ndarray, dimensions: int) -> float:
    # The smaller of sd and interquartile range, so that separate modes are not washed out.
    low, high = np.percentile(values, [25, 75])
    spread = min(np.std(values), (high - low) / 1.349) or np.std(values)
    return spread * len(values) ** (-1 / (4 + dimensions))
