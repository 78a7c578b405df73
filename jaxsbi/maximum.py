"""The maximum of a density over θ, by gradient ascent in z from many starts."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Z_BOUND, Z_FREE = 2.3, 8.0
"""How far the search goes in z. Where the prior has bounds, 1 % of it lies beyond 2.3: farther out
few simulations taught the density anything, and a coordinate that ends there counts as lying at
the bound. Elsewhere 8 is as good as infinity."""


def maximise(
    log_density: Callable[[Array], Array],
    starts: Float[Array, "s d"],
    limit: Float[Array, " d"],
    steps: int = 400,
) -> Float[Array, " d"]:
    """argmax of log_density(z) over |z_j| ≤ limit_j, the best of all starts.

    Adam with a step decaying to zero; a non-finite gradient counts as none.
    """
    schedule = optax.cosine_decay_schedule(0.1, steps)
    optimizer = optax.chain(optax.zero_nans(), optax.adam(schedule))

    def ascend(z: Array) -> tuple[Array, Array]:
        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            z, state, best_z, best = carry
            value, gradient = jax.value_and_grad(log_density)(z)
            better = value > best
            best_z, best = jnp.where(better, z, best_z), jnp.where(better, value, best)
            updates, state = optimizer.update(-gradient, state)
            z = jnp.clip(optax.apply_updates(z, updates), -limit, limit)
            return (z, state, best_z, best), None

        z = jnp.clip(z, -limit, limit)
        start = (z, optimizer.init(z), z, jnp.full((), -jnp.inf, z.dtype))
        (_, _, best_z, best), _ = jax.lax.scan(step, start, length=steps)
        return best_z, best

    ends, values = jax.vmap(ascend)(starts)
    return ends[jnp.argmax(values)]
