"""Posteriors that are a conditional density themselves: drawn from and evaluated directly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsbi.arguments import check_count, check_key
from jaxsbi.posteriors.posterior import Posterior
from jaxsbi.types import Data, PRNGKey

SAMPLE_TILE = 4096
STARTS = 1024


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class DirectPosterior(Posterior):
    """p(θ | x) given by a conditional density q(z | x): log_prob(z, x) and sample(key, x)."""

    def sample(self, key: PRNGKey, n: int, x: Data | None = None) -> Float[Array, "*b n d"]:
        """θ_i ~ p(θ | x), i < n: (n, d), or (b, n, d) for a batch. Row i depends on (key, i)."""
        check_key(key)
        n = check_count("n", n)
        x, batched = self._observation(x)
        tile = min(SAMPLE_TILE, 1 << (n - 1).bit_length())
        parts = [
            _sample(self.bare, tile, batched, key, x, jnp.asarray(first))
            for first in range(0, n, tile)
        ]
        return jnp.concatenate(parts, axis=-2)[..., :n, :]

    def log_density(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.conditional.log_prob(z, x)

    def starts(self, key: PRNGKey, x: Data) -> Float[Array, "s d"]:
        """z ~ q(z | x)."""
        return _starts(self.bare, key, x)


@jax.jit
def _starts(posterior: DirectPosterior, key: PRNGKey, x: Data) -> Array:
    conditional = posterior.conditional
    return jax.vmap(lambda k: conditional.sample(k, x))(jax.random.split(key, STARTS))


@partial(jax.jit, static_argnums=(1, 2))
def _sample(
    posterior: DirectPosterior, tile: int, batched: bool, key: PRNGKey, x: Data, first: Array
) -> Array:
    conditional, prior = posterior.conditional, posterior.prior

    def one(key: Array, x: Data) -> Array:
        return prior.to_theta(conditional.sample(key, x))

    def rows(key: Array, x: Data) -> Array:
        keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(tile))
        return jax.vmap(one, in_axes=(0, None))(keys, x)

    if not batched:
        return rows(key, x)
    size = jax.tree.leaves(x)[0].shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(size))
    return jax.vmap(rows)(keys, x)
