"""Guides: a posterior known before, in whose bulk a likelihood is learned and drawn from."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.networks import Constant
from jaxsbi.types import Data, PRNGKey


class Guided(nnx.Module):
    """L(z; x_o) where log q(z | x_o) ≥ τ, 0 elsewhere: there lie no rows that L was learned from.

    q, the guide, is also the density from which populations are tempered to the posterior.
    """

    def __init__(
        self, likelihood: nnx.Module, guide: nnx.Module, threshold: Float[Array, ""]
    ) -> None:
        self.likelihood, self.guide = likelihood, guide
        self.threshold = Constant(threshold)

    def log_likelihood(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log L(z; x), −∞ outside."""
        inside = self.guide.log_prob(z, x) >= self.threshold[...]
        return jnp.where(inside, self.likelihood.log_likelihood(z, x), -jnp.inf)

    @property
    def uncut(self) -> nnx.Module:
        """L everywhere."""
        return self.likelihood

    def log_base(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.guide.log_prob(z, x)

    def from_base(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x)."""
        return self.guide.sample(key, x)
