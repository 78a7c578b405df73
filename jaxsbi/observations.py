"""Observations: what users hand in as x or x_o, checked against what was simulated."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from jaxsbi.arguments import as_reals, as_theta, first_line
from jaxsbi.priors import Prior
from jaxsbi.types import Data

Masks: TypeAlias = Bool[np.ndarray | Array, "patterns features"]
"""The distinct patterns of defined features among the rows trained on, leaves concatenated."""


def flatten_rows(x: PyTree[Array]) -> Array:
    """All leaves of a batch side by side: (n, features)."""
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(x)], axis=1)


def patterns(x: PyTree[Array], use: Bool[Array, " n"]) -> Masks:
    """The distinct patterns of defined (not NaN) features among the rows to use."""
    defined = ~np.isnan(np.asarray(flatten_rows(x)))[np.asarray(use)]
    if defined.all():
        return defined[:1]
    packed = sorted(set(map(bytes, np.packbits(defined, axis=1))))
    rows = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    return np.unpackbits(rows, axis=1, count=defined.shape[1]).astype(bool)


def as_joint_rows(
    theta: Any, x: Any, prior: Prior
) -> tuple[Float[Array, "n d"], PyTree[Float[Array, "n ..."]]]:
    """Rows (θ, x) as arrays, θ (n, d) in the prior's support and x (n, …); ValueError otherwise."""
    theta = as_theta(theta, prior.dim)
    if theta.ndim != 2:
        raise ValueError(f"theta must have shape (n, {prior.dim}), got {theta.shape}")
    outside = np.flatnonzero(~np.asarray(prior.in_support(theta)))
    if outside.size:
        raise ValueError(
            f"theta must lie in the prior's support, but row {outside[0]} does not "
            f"({outside.size} rows in all): {np.asarray(theta[outside[0]]).tolist()}"
        )
    x = _as_real_tree("x", x)
    rows = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if rows != {theta.shape[:1]}:
        raise ValueError(
            f"x must have one row per row of theta, {theta.shape[0]}, got "
            f"{sorted(shape[0] if shape else 'a scalar' for shape in rows)}"
        )
    return theta, x


def as_observation(
    name: str, x: Any, like: PyTree, masks: Masks | None = None, trials: bool = False
) -> tuple[Data, bool]:
    """x as arrays shaped `like` one simulated row, and whether it is a batch of them.

    With `trials` one observation has a leading axis of iid trials, each shaped like a row.

    Refuses, in one line: another tree, other shapes, entries that are not numbers, infinite
    entries, and undefined (NaN) features in a pattern that no simulation had (with `masks`).
    """
    tree = jax.tree.structure(like)
    x = _as_real_tree(name, x)
    if jax.tree.structure(x) != tree:
        remedy = f"; give a list of numbers as np.asarray({name})" if isinstance(x, list) else ""
        raise ValueError(
            f"{name} must be a pytree like the simulator's x, {tree}, got "
            f"{jax.tree.structure(x)}{remedy}"
        )
    shapes = [leaf.shape for leaf in jax.tree.leaves(like)]
    got = [leaf.shape for leaf in jax.tree.leaves(x)]
    leading = {g[: len(g) - len(s)] for g, s in zip(got, shapes, strict=False)}
    fits = all(g[max(len(g) - len(s), 0) :] == s for g, s in zip(got, shapes, strict=True))
    if not fits or len(leading) != 1 or len(*leading) not in (trials, trials + 1):
        one = "an axis of trials before the shape" if trials else "the shape"
        raise ValueError(
            f"{name} must have {one} of one simulated x, {_show(shapes)}, or one more leading "
            f"axis for a batch, got {_show(got)}"
        )
    batched = len(*leading) == trials + 1
    if 0 in next(iter(leading)):
        what = "trial" if trials else "observation"
        raise ValueError(f"{name} must hold at least one {what}, got an empty batch")
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((x, masks))):
        rows = jax.tree.map(lambda leaf, one: leaf.reshape(-1, *one.shape), x, like)
        _refuse_strange_values(name, np.asarray(flatten_rows(rows)), masks)
    return x, batched


def is_served(x: PyTree[Array], like: PyTree, masks: Masks) -> Bool[np.ndarray, " n"]:
    """Which rows (n, …), each shaped `like` one x or of trials that are, have known patterns."""
    n = jax.tree.leaves(x)[0].shape[0]
    rows = jax.tree.map(lambda leaf, one: leaf.reshape(-1, *one.shape), x, like)
    undefined = np.isnan(np.asarray(flatten_rows(rows)))
    return _is_known(undefined, masks).reshape(n, -1).all(axis=1)


def refuse_batch(name: str, batched: bool) -> None:
    """A ValueError if x, as `as_observation` found it, is a batch."""
    if batched:
        raise ValueError(f"{name} must be one observation, got a batch; call once for each of them")


def _as_real_tree(name: str, x: Any) -> PyTree[Array]:
    try:
        return jax.tree.map(as_reals, x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be an array of real numbers, or a pytree: {first_line(error)}"
        ) from None


def _refuse_strange_values(name: str, rows: np.ndarray, masks: Masks | None) -> None:
    if np.isinf(rows).any():
        raise ValueError(
            f"{name} must be finite, got inf in feature {np.argwhere(np.isinf(rows))[0][1]}"
        )
    undefined = np.isnan(rows)
    if undefined.all(axis=1).any():
        raise ValueError(
            f"{name} must have a defined feature, got nothing but NaN; look at the data"
        )
    if masks is None or not undefined.any():
        return
    if not _is_known(undefined, masks).all():
        where = ", ".join(map(str, np.flatnonzero(undefined.any(axis=0))[:8]))
        raise ValueError(
            f"{name} must be defined wherever the simulations were, got NaN in feature {where}, a "
            "pattern that no simulation had; fit on the features that were measured instead"
        )


def _is_known(undefined: np.ndarray, masks: Masks) -> np.ndarray:
    """Rows without an undefined feature, or with the pattern of a row trained on."""
    known = {row.tobytes() for row in np.asarray(masks)}
    return np.array([not row.any() or (~row).tobytes() in known for row in undefined])


def _show(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
