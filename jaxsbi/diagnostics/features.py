"""What a diagnostic sees of x: features on one scale, and how far one x lies from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree
from scipy.spatial.distance import cdist

from jaxsbi.dataset import is_valid
from jaxsbi.diagnostics.significance import exceedance
from jaxsbi.observations import as_observation, flatten_rows

Summary = Callable[[PyTree[Array]], Float[Array, " k"]]
"""One x ↦ its features, traceable; without one, every number of x is a feature."""
NEIGHBOURS = 10
LEAST_ROWS = 40
LARGEST = 1e30
"""Stands for infinite features."""
ROWS_PER_AXIS = 4
"""Rows for each axis at least: the narrowest beyond are dropped, whose widths are not known."""
WEAKEST = 1e-3
"""Axes that vary by less than this share of the widest are taken to be constant."""


@dataclass(frozen=True)
class Whitened:
    """u = Aᵀ asinh((x − location)/scale), NaN as the location and flagged: covariance I.

    Flags are of the features that some of the rows fitted to do not define. The inverse hyperbolic
    sine tames the tails; the scale is half the central 68 % range.
    """

    location: Float[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]
    flagged: np.ndarray
    centre: Float[np.ndarray, " c"]
    axes: Float[np.ndarray, "c a"]

    @classmethod
    def by(cls, features: Float[np.ndarray, "n k"]) -> Whitened:
        """Fitted to rows of features."""
        defined = ~np.isnan(features)
        filled = np.where(defined.any(axis=0), features, 0.0)  # never defined: of no account
        low, location, high = np.nanpercentile(filled, [15.87, 50, 84.13], axis=0)
        wide = np.nanstd(filled, axis=0)
        scale = np.where(high > low, (high - low) / 2, np.where(wide > 0, wide, 1.0))
        flagged = np.flatnonzero(~defined.all(axis=0))
        whole = cls(location, scale, flagged, np.zeros(0), np.zeros((0, 0)))._compressed(features)
        centre = whole.mean(axis=0)
        _, widths, axes = np.linalg.svd(whole - centre, full_matrices=False)
        kept = widths > WEAKEST * widths[0]
        kept[len(whole) // ROWS_PER_AXIS :] = False
        axes = axes[kept].T / widths[kept] * np.sqrt(len(whole))
        return cls(location, scale, flagged, centre, axes)

    def __call__(self, features: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n a"]:
        return (self._compressed(features) - self.centre) @ self.axes

    def _compressed(self, features: np.ndarray) -> np.ndarray:
        values = np.arcsinh((features - self.location) / self.scale)
        undefined = np.isnan(features)
        return np.concatenate([np.where(undefined, 0.0, values), undefined[:, self.flagged]], 1)


def feature_rows(x: PyTree[Array], summary: Summary | None) -> Float[np.ndarray, "n k"]:
    """The features of each row of a batch."""
    rows = flatten_rows(x) if summary is None else _summaries(summary, x)
    return np.asarray(rows, float).clip(-LARGEST, LARGEST)


def observed_and_simulated(
    x_o: Any, x: Any, summary: Summary | None = None
) -> tuple[Float[np.ndarray, "b k"], bool, Float[np.ndarray, "n k"]]:
    """Features of one or a batch of x_o, whether a batch, and of the valid rows of x."""
    leaves = jax.tree.leaves(x)
    rows = {np.shape(leaf)[:1] for leaf in leaves}
    if len(rows) != 1 or rows == {()}:
        raise ValueError(f"x must be simulations (n, …), n of one number, got {sorted(rows)}")
    like = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf)[1:]), x)
    x_o, batched = as_observation("x_o", x_o, like)
    x = jax.tree.map(np.asarray, x)
    valid = np.asarray(is_valid(x))
    if valid.sum() < LEAST_ROWS:
        raise ValueError(
            f"x must hold at least {LEAST_ROWS} valid simulations, got {int(valid.sum())}"
        )
    x = jax.tree.map(lambda leaf: leaf[valid], x)
    x_o = x_o if batched else jax.tree.map(lambda leaf: leaf[None], x_o)
    return feature_rows(x_o, summary), batched, feature_rows(x, summary)


def feature_names(names: Sequence[str] | None, k: int) -> tuple[str, ...]:
    """k names, numbered ones unless given."""
    names = tuple(f"feature {i}" for i in range(k)) if names is None else tuple(names)
    if len(names) != k:
        raise ValueError(f"names must be {k} strings, one per feature, got {len(names)}")
    return names


def far_out(
    observed: Float[np.ndarray, "b k"], simulated: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, " b"]:
    """p-value of each observed row: is it as near to simulations as simulations are to others?

    One half of the simulations is the reference: whitened, and the mean distance to its nearest
    neighbours taken. The other half's distances are the null, so the p-value is exact.
    """
    half = len(simulated) // 2
    reference, held_out = simulated[:half], simulated[half:]
    whiten = Whitened.by(reference)
    reference = whiten(reference)

    def distance(rows: np.ndarray) -> np.ndarray:
        each = np.partition(cdist(whiten(rows), reference), NEIGHBOURS, axis=1)
        strange = np.isnan(np.delete(rows, whiten.flagged, axis=1)).any(axis=1)
        return np.where(strange, np.inf, np.mean(each[:, :NEIGHBOURS], axis=1))

    return exceedance(distance(observed), distance(held_out))


def _summaries(summary: Summary, x: PyTree[Array]) -> Array:
    rows = jax.vmap(summary)(x)
    if getattr(rows, "ndim", 0) != 2:
        raise ValueError(
            "summary must map one x to a vector of features (k,), got "
            f"{jax.tree.map(np.shape, rows)} for all rows"
        )
    return rows
