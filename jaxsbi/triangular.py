"""Cholesky factors of small matrices and their equations, by loops that vectorise under vmap.

LAPACK, which JAX calls for them on CPU, holds a thread of XLA's pool while it waits for others of
the same pool: two programs that run at once can wait for each other for ever.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def cholesky(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """L, lower triangular with a positive diagonal, of L Lᵀ = matrix, column by column."""
    place = jnp.arange(len(matrix))

    def column(factor: Array, i: Array) -> tuple[Array, None]:
        rest = matrix[:, i] - jnp.dot(factor, factor[i], precision="highest")
        return factor.at[:, i].set(jnp.where(place < i, 0.0, rest) / jnp.sqrt(rest[i])), None

    return jax.lax.scan(column, jnp.zeros_like(matrix), place)[0]


def solve(
    factor: Float[Array, "d d"], b: Float[Array, "d ..."], transposed: bool = False
) -> Float[Array, "d ..."]:
    """x of L x = b, or of Lᵀ x = b, L lower triangular, by substitution."""
    rows, place = (factor.T if transposed else factor), jnp.arange(len(factor))

    def row(x: Array, i: Array) -> tuple[Array, None]:
        known = jnp.dot(rows[i], x, precision="highest")
        return x.at[i].set((b[i] - known) / factor[i, i]), None

    return jax.lax.scan(row, jnp.zeros_like(b), place, reverse=transposed)[0]
