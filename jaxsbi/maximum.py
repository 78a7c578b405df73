"""The maximum of a density over θ, by gradient ascent in z from many starts."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

MARGIN = 0.05
"""How far the search goes beyond the outermost draws, as a share of their range. Farther out the
density was never learned, and one of θ, log q(z) − log p(z) up to a constant, may rise for ever."""
THIN = 0.1
"""Share of the draws, those least dense in z, that no search begins at or reaches. Where q(z) is
wider than p(z), even in a tail of 1 % of its mass, the density of θ is infinite at the bound."""


def maximise(
    log_density: Callable[[Array], Array],
    draws: Float[Array, "s d"],
    bounds: tuple[Float[Array, " d"], Float[Array, " d"]],
    beyond: Callable[[Array], Array],
    of_draws: Callable[[Array], Array],
    starts: int = 16,
    steps: int = 400,
) -> tuple[Float[Array, " d"], tuple[Bool[Array, " d"], Bool[Array, " d"]]]:
    """argmax of log_density(z) where the mass is: within the range of `draws` and within bounds.

    of_draws: log q(z), up to a constant; of the draws those count that are in its region of highest
    density, of mass 1 − THIN. The best of some `starts` among them, by Adam in coordinates in which
    the draws have covariance I, with a step decaying to zero; a non-finite gradient counts as none.
    A coordinate that the density drives to the end of these draws goes on to its bound, if the
    density is no lower there, by `beyond`, the density where no region cuts it. Also returned:
    which coordinates lie at which bound.
    """
    draws = jnp.clip(draws, *bounds)
    dense = jax.vmap(of_draws)(draws)
    dense = (dense >= jnp.quantile(dense, THIN))[:, None]
    least = jnp.min(jnp.where(dense, draws, jnp.inf), axis=0)
    most = jnp.max(jnp.where(dense, draws, -jnp.inf), axis=0)
    margin = MARGIN * (most - least)
    low, high = jnp.maximum(least - margin, bounds[0]), jnp.minimum(most + margin, bounds[1])
    schedule = optax.cosine_decay_schedule(0.1, steps)
    optimizer = optax.adam(schedule)
    spread = _root(jnp.atleast_2d(jnp.cov(draws, rowvar=False)))

    def ascend(z: Array) -> tuple[Array, Array]:
        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            z, state, best_z, best = carry
            value, gradient = jax.value_and_grad(log_density)(z)
            better = value > best
            best_z, best = jnp.where(better, z, best_z), jnp.where(better, value, best)
            gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
            updates, state = optimizer.update(-gradient @ spread, state)
            z = jnp.clip(z + spread @ updates, low, high)
            return (z, state, best_z, best), None

        start = (z, optimizer.init(z), z, jnp.full((), -jnp.inf, z.dtype))
        (_, _, best_z, best), _ = jax.lax.scan(step, start, length=steps)
        return best_z, best

    heights = jnp.where(dense[:, 0], jax.vmap(log_density)(draws), -jnp.inf)
    _, best = jax.lax.top_k(heights, starts)
    ends, values = jax.vmap(ascend)(draws[best])
    z = ends[jnp.argmax(values)]

    # the density is compiled once for z and both ends of all its coordinates
    ends, bounds = jnp.stack([low, high]), jnp.stack(bounds)
    there = jnp.isfinite(bounds) & (jnp.abs(z - ends) <= margin / 5)
    moved = jnp.where(jnp.eye(len(z), dtype=bool) & there[:, None], bounds[:, None], z)
    here, *beside = jnp.split(jax.vmap(beyond)(jnp.concatenate([z[None], *moved])), (1, 1 + len(z)))
    at_low, at_high = there & (jnp.stack(beside) >= here)
    return z, (at_low, at_high)


def _root(covariance: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """R with R Rᵀ = covariance, its small eigenvalues raised to 10⁻⁶ of the largest."""
    values, vectors = jnp.linalg.eigh(covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 1e-6 * values[-1] + 1e-12))
