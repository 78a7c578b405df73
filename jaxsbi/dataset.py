"""Simulations: a buffer of fixed capacity, so that later rounds compile nothing new."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree
from scipy.special import ndtr

from jaxsbi.types import Data


class Rows(NamedTuple):
    """Simulated rows (n, …): what a loss sees of the buffer.

    z: (n, d) parameters in the space where the prior is N(0, I).
    x: pytree of (n, …) outcomes; NaN marks an undefined feature.
    valid: (n,) False where the whole simulation failed.
    round: (n,) the round that drew the row, from 0.
    log_proposal: (n,) log p̃(z) − log p(z), p̃ the mixture of all rounds' proposals by their share
        of the rows; kept up to date for the algorithms that weigh rows by it.
    """

    z: Float[Array, "n d"]
    x: PyTree[Float[Array, "n ..."]]
    valid: Bool[Array, " n"]
    round: Int[Array, " n"]
    log_proposal: Float[Array, " n"]


class Simulations(NamedTuple):
    """A buffer of `capacity` rows of which the first `length` (traced) are filled.

    A row's side, training or validation, is drawn when it is appended and never changes.
    """

    rows: Rows
    validation: Bool[Array, " capacity"]
    length: Int[Array, ""]

    @property
    def capacity(self) -> int:
        return self.validation.shape[0]

    @property
    def filled(self) -> Bool[Array, " capacity"]:
        return jnp.arange(self.capacity) < self.length

    def take(self, index: Int[Array, " n"]) -> Rows:
        """The rows of the given numbers."""
        return jax.tree.map(lambda leaf: leaf[index], self.rows)


class Moments(NamedTuple):
    """Robust location and scale of every feature, and its quantiles at the levels Φ(SCORES).

    location, scale: pytrees shaped like one x, finite, scale > 0.
    quantiles: the same tree, each leaf with a leading axis of len(SCORES).
    """

    location: Data
    scale: Data
    quantiles: Data


SCORES = np.linspace(-3.2, 3.2, 65)
"""Normal scores at which a feature's quantiles are kept."""


def empty(capacity: int, dim: int, x: PyTree[jax.ShapeDtypeStruct]) -> Simulations:
    """A buffer without rows for `dim` parameters and outcomes shaped like `x`."""
    rows = Rows(
        z=jnp.zeros((capacity, dim)),
        x=jax.tree.map(lambda leaf: jnp.full((capacity, *leaf.shape), jnp.nan, leaf.dtype), x),
        valid=jnp.zeros(capacity, bool),
        round=jnp.zeros(capacity, jnp.int32),
        log_proposal=jnp.zeros(capacity),
    )
    return Simulations(rows, jnp.zeros(capacity, bool), jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames="validation_share")
def append(simulations: Simulations, rows: Rows, validation_share: float) -> Simulations:
    """Rows written behind the last one, each on its side for good.

    The caller sees to it that the rows fit: a traced length cannot be checked here.
    """
    n = rows.valid.shape[0]
    held_out = is_held_out(simulations.length + jnp.arange(n), validation_share)

    def put(buffer: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(
            buffer, new.astype(buffer.dtype), simulations.length, 0
        )

    return Simulations(
        jax.tree.map(put, simulations.rows, rows),
        put(simulations.validation, held_out),
        simulations.length + n,
    )


def fill(
    places: PyTree[Float[Array, "n ..."]],
    found: Int[Array, ""],
    rows: PyTree[Float[Array, "m ..."]],
    keep: Bool[Array, " m"],
) -> tuple[PyTree[Float[Array, "n ..."]], Int[Array, ""]]:
    """`places`, of which `found` are taken, with the rows to keep behind them, and how many are
    taken now; rows for which there is no place are dropped."""
    n = jax.tree.leaves(places)[0].shape[0]
    place = jnp.where(keep, found + jnp.cumsum(keep) - 1, n)
    filled = jax.tree.map(lambda all_, new: all_.at[place].set(new, mode="drop"), places, rows)
    return filled, jnp.minimum(found + jnp.sum(keep, dtype=jnp.int32), n)


def is_held_out(number: Int[Array | np.ndarray, " n"], share: float) -> Bool[Array, " n"]:
    """Whether the i-th point of a Weyl sequence falls below the share.

    Any stretch of rows is split in the right proportion, and a smaller share is part of a larger.
    """
    weyl = number.astype(jnp.uint32) * jnp.uint32(2_654_435_769)  # 2³² / golden ratio, modulo 2³²
    return weyl < jnp.uint32(min(share * 2**32, 2**32 - 1))


def outcome_of(x: PyTree[Array]) -> PyTree[jax.ShapeDtypeStruct]:
    """Shape and type of one of the x."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)


def is_valid(x: PyTree[Float[Array | np.ndarray, "n ..."]]) -> Bool[Array, " n"]:
    """False for rows whose every entry is NaN: the simulation failed as a whole."""
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(x)]
    return jnp.any(~jnp.isnan(jnp.concatenate(leaves, axis=1)), axis=1)


def moments(x: PyTree[Float[Array, "n ..."]], use: Bool[Array, " n"]) -> Moments:
    """Median, half the central 68 % range, and quantiles of each feature over the rows to use.

    Undefined (NaN) entries are left out, ±inf counts as a rank. Where more than two thirds of
    the values coincide, a sixth of the central 99.8 % range stands in for the scale; a constant
    feature gets scale 1, a never defined one location 0 too.
    """
    use = np.asarray(use)

    def one(leaf: Array) -> tuple[Array, Array, Array]:
        largest = jnp.finfo(leaf.dtype).max / 4
        ranked = np.sort(np.asarray(leaf)[use].clip(-largest, largest), axis=0)  # NaN come last
        defined = np.sum(~np.isnan(ranked), axis=0)

        def at(z: np.ndarray, nearest: bool = False) -> np.ndarray:
            """Quantiles at the levels Φ(z): values that occur, or interpolated between two."""
            position = np.multiply.outer(ndtr(z), np.maximum(defined - 1, 0))
            position = np.rint(position) if nearest else position
            below = np.floor(position).astype(int)
            above = np.minimum(below + 1, np.maximum(defined - 1, 0))
            first, second = (np.take_along_axis(ranked, i, axis=0) for i in (below, above))
            return np.nan_to_num(first + (position - below) * (second - first)).astype(leaf.dtype)

        low, quarter, location, three_quarters, high = at(np.array([-3.1, -1.0, 0.0, 1.0, 3.1]))
        core, wide = (three_quarters - quarter) / 2, (high - low) / 6
        floor = 1e-6 * np.abs(location)  # below this the spread is rounding of the location

        def usable(scale: np.ndarray) -> np.ndarray:
            return (scale > floor) & (scale < largest / 8)

        scale = np.where(usable(core), core, np.where(usable(wide), wide, 1.0))
        # values that occur, so that ties stay ties
        quantiles = at(SCORES, nearest=True)
        return tuple(jnp.asarray(a, leaf.dtype) for a in (location, scale, quantiles))

    triples = jax.tree.map(one, x)
    return Moments(*jax.tree.transpose(jax.tree.structure(x), None, triples))
