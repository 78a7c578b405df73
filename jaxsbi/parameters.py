"""Parameters as a learned likelihood sees them: whitened over the rows that it is learned from.

In later rounds z varies along a thin sheet only. Networks of z itself would have to learn slopes
that are steep in its units.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.scipy.special import ndtr
from jaxtyping import Array, Bool, Float

from jaxsbi.networks import Constant


class Spread(NamedTuple):
    """Of z and of √12 (Φ(z) − ½) among rows: means m (2, d), inverse Cholesky factors W of their
    covariances (2, d, d)."""

    location: Float[Array, "2 d"]
    whitening: Float[Array, "2 d d"]

    @classmethod
    def of_prior(cls, dim: int) -> Spread:
        return cls(jnp.zeros((2, dim)), jnp.stack([jnp.eye(dim)] * 2))


@jax.jit
def spread(z: Float[Array, "n d"], use: Bool[Array, " n"]) -> Spread:
    """Over the rows to use. Where they are hardly more than d, along the axes alone."""
    dim, n = z.shape[1], jnp.sum(use)
    v = jnp.where(use[:, None, None], jax.vmap(with_levels)(z), 0.0)
    location = jnp.sum(v, axis=0) / n
    v = jnp.where(use[:, None, None], v - location, 0.0)
    covariance = jnp.einsum("nki,nkj->kij", v, v) / n
    along = jnp.eye(dim) * jnp.maximum(covariance, 1e-12)
    share = jnp.minimum(dim / n, 1.0) ** 2
    factor = jnp.linalg.cholesky((1 - share) * covariance + (share + 1e-5) * along)
    solve = jax.vmap(lambda a: jax.scipy.linalg.solve_triangular(a, jnp.eye(dim), lower=True))
    return Spread(location, solve(factor))


class Whitened(nnx.Module):
    """W (v − m) for v = z and v = √12 (Φ(z) − ½), side by side."""

    def __init__(self, spread: Spread) -> None:
        self.location, self.whitening = Constant(spread.location), Constant(spread.whitening)
        self.size = spread.location.size

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " 2*d"]:
        apart = with_levels(z) - self.location[...]
        return jnp.einsum("kij,kj->ki", self.whitening[...], apart).reshape(-1)


def with_levels(z: Float[Array, " d"]) -> Float[Array, "2 d"]:
    """z and √12 (Φ(z) − ½): under a uniform prior x is a function of the latter, flat in its tails.

    Both have mean 0 and variance 1 under the prior.
    """
    return jnp.stack([z, math.sqrt(12) * (ndtr(z) - 0.5)])
