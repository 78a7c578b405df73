"""Observations: what users hand in as x or x_o, checked against what was simulated."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from jaxsbi.types import Data

Masks: TypeAlias = Bool[np.ndarray | Array, "patterns features"]
"""The distinct patterns of defined features among the rows trained on, leaves concatenated."""


def flatten_rows(x: PyTree[Array]) -> Array:
    """All leaves of a batch side by side: (n, features)."""
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(x)], axis=1)


def patterns(x: PyTree[Array], use: Bool[Array, " n"]) -> Masks:
    """The distinct patterns of defined (not NaN) features among the rows to use."""
    defined = ~np.isnan(np.asarray(flatten_rows(x)))[np.asarray(use)]
    return np.unique(defined, axis=0)


def as_observation(
    name: str, x: Any, like: PyTree, masks: Masks | None = None
) -> tuple[Data, bool]:
    """x as arrays shaped `like` one simulated row, and whether it is a batch of them.

    Refuses, in one line: another tree, other shapes, entries that are not numbers, infinite
    entries, and undefined (NaN) features in a pattern that no simulation had (with `masks`).
    """
    tree = jax.tree.structure(like)
    try:
        x = jax.tree.map(_as_numbers, x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers, or a pytree: {error}") from None
    if jax.tree.structure(x) != tree:
        raise ValueError(
            f"{name} must be a pytree like the simulator's x, {tree}, got {jax.tree.structure(x)}"
        )
    shapes = [leaf.shape for leaf in jax.tree.leaves(like)]
    got = [leaf.shape for leaf in jax.tree.leaves(x)]
    leading = {g[: len(g) - len(s)] for g, s in zip(got, shapes, strict=False)}
    fits = all(g[max(len(g) - len(s), 0) :] == s for g, s in zip(got, shapes, strict=True))
    if not fits or len(leading) != 1 or len(*leading) > 1:
        raise ValueError(
            f"{name} must have the shape of one simulated x, {_show(shapes)}, or one more leading "
            f"axis for a batch, got {_show(got)}"
        )
    batched = len(*leading) == 1
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x)):
        rows = x if batched else jax.tree.map(lambda leaf: leaf[None], x)
        _refuse_strange_values(name, np.asarray(flatten_rows(rows)), masks)
    return x, batched


def _refuse_strange_values(name: str, rows: np.ndarray, masks: Masks | None) -> None:
    if np.isinf(rows).any():
        raise ValueError(
            f"{name} must be finite, got inf in feature {np.argwhere(np.isinf(rows))[0][1]}"
        )
    undefined = np.isnan(rows)
    if masks is None or not undefined.any():
        return
    known = {row.tobytes() for row in np.asarray(masks)}
    if not all((~row).tobytes() in known for row in undefined):
        where = ", ".join(map(str, np.flatnonzero(undefined.any(axis=0))[:8]))
        raise ValueError(
            f"{name} must be defined wherever the simulations were, got NaN in feature {where}, a "
            "pattern that no simulation had; fit on the features that were measured instead"
        )


def _as_numbers(leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(jnp.result_type(float))
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
        return array.astype(float)
    raise TypeError(f"got dtype {array.dtype}")


def _show(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
