"""Posteriors that are a conditional density themselves: drawn from and evaluated directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsbi.arguments import check_count, check_key
from jaxsbi.posteriors.posterior import Posterior
from jaxsbi.types import Data, PRNGKey

SAMPLE_TILE = 4096
STARTS = 1024
"""As many as a tile of about a thousand draws, which so often is compiled already."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class DirectPosterior(Posterior):
    """p(θ | x) given by a conditional density q(z | x): log_prob(z, x) and sample(key, x)."""

    def sample(self, key: PRNGKey, n: int, x: Data | None = None) -> Float[Array, "*b n d"]:
        """θ_i ~ p(θ | x), i < n: (n, d), or (b, n, d) for a batch. Row i depends on (key, i)."""
        tiles = self._tiles(_draws, key, n, x)
        return self.prior.to_theta(jnp.concatenate(tiles, axis=-2)[..., :n, :])

    def sample_and_log_prob(
        self, key: PRNGKey, n: int, x: Data | None = None
    ) -> tuple[Float[Array, "*b n d"], Float[Array, "*b n"]]:
        """The draws of `sample` with log p(θ | x) of each, for a flow at little more than those."""
        if not hasattr(self.conditional, "sample_and_log_prob"):
            theta = self.sample(key, n, x)
            return theta, self.log_prob(theta, x)
        tiles = self._tiles(_draws_and_densities, key, n, x)
        theta, log_prob = zip(*tiles, strict=True)
        theta = jnp.concatenate(theta, axis=-2)[..., :n, :]
        return theta, jnp.concatenate(log_prob, axis=-1)[..., :n]

    def _tiles(self, program: Callable, key: PRNGKey, n: int, x: Data | None) -> list[Any]:
        """What a compiled program gives for n rows or a few more, tile after tile."""
        check_key(key)
        n = check_count("n", n)
        x, batched = self._observation(x)
        tile = min(SAMPLE_TILE, 1 << (n - 1).bit_length())
        firsts = range(0, n, tile)
        return [program(self.bare, tile, batched, key, x, jnp.asarray(i)) for i in firsts]

    def log_density(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.conditional.log_prob(z, x)

    def starts(self, key: PRNGKey, x: Data) -> Float[Array, "s d"]:
        """z ~ q(z | x)."""
        return _draws(self.bare, STARTS, False, key, x, jnp.asarray(0))


@partial(jax.jit, static_argnums=(1, 2))
def _draws(
    posterior: DirectPosterior, tile: int, batched: bool, key: PRNGKey, x: Data, first: Array
) -> Array:
    """z of the rows from `first` on, a tile of them for each observation."""
    return _rows(posterior.conditional.sample, tile, batched, key, x, first)


@partial(jax.jit, static_argnums=(1, 2))
def _draws_and_densities(
    posterior: DirectPosterior, tile: int, batched: bool, key: PRNGKey, x: Data, first: Array
) -> tuple[Array, Array]:
    """θ of those rows, and log p(θ | x)."""
    prior = posterior.prior
    one = posterior.conditional.sample_and_log_prob
    z, log_q = _rows(one, tile, batched, key, x, first)
    theta = prior.to_theta(z)
    return theta, log_q + prior.log_prob(theta) - prior.log_prob_z(z)


def _rows(one: Callable, tile: int, batched: bool, key: PRNGKey, x: Data, first: Array) -> Any:
    """one(key, x) of each row of each observation."""

    def rows(key: Array, x: Data) -> Any:
        keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(tile))
        return jax.vmap(one, in_axes=(0, None))(keys, x)

    if not batched:
        return rows(key, x)
    size = jax.tree.leaves(x)[0].shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(size))
    return jax.vmap(rows)(keys, x)
