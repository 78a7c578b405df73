"""Two systems of ordinary differential equations, integrated by diffrax in logarithms.

A population that stays positive by construction and grows exponentially is a straight line there,
and float32 knows one in a million as well as the million.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MAX_STEPS = 4096
SIR_TIMES = np.arange(10) * 17.0
LOTKA_VOLTERRA_TIMES = np.arange(10) * 2.1


def _solve(slope: Callable[[Any, Array, Any], Array], start: Array, times: np.ndarray) -> Array:
    """States (times, 2); NaN where the solver needs more than MAX_STEPS steps."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Tsit5(),
        t0=0.0,
        t1=float(times[-1]),
        dt0=0.01,
        y0=start,
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-6),
        max_steps=MAX_STEPS,
        throw=False,
    )
    solved = solution.result == diffrax.RESULTS.successful
    return jnp.where(solved, solution.ys, jnp.nan)


def infected(theta: Float[Array, " 2"]) -> Float[Array, " 10"]:
    """I(t)/N at t = 0, 17, …, 153 days: S' = −b S I/N, I' = b S I/N − g I, I(0) = 1, N = 10⁶."""
    b, g = theta

    def slope(t: Any, state: Array, _: Any) -> Array:
        susceptible, log_infected = state
        return jnp.stack([-b * susceptible * jnp.exp(log_infected), b * susceptible - g])

    start = jnp.array([1 - 1e-6, math.log(1e-6)])
    return jnp.clip(jnp.exp(_solve(slope, start, SIR_TIMES)[:, 1]), 0.0, 1.0)


def log_populations(theta: Float[Array, " 4"]) -> Float[Array, " 20"]:
    """log X then log Y at t = 0, 2.1, …, 18.9: X' = a X − b X Y, Y' = −g Y + d X Y from (30, 1).

    Populations are clipped to [10⁻¹⁰, 10⁴].
    """
    a, b, g, d = theta

    def slope(t: Any, state: Array, _: Any) -> Array:
        return jnp.stack([a - b * jnp.exp(state[1]), d * jnp.exp(state[0]) - g])

    states = _solve(slope, jnp.log(jnp.array([30.0, 1.0])), LOTKA_VOLTERRA_TIMES)
    return jnp.clip(states.T.ravel(), math.log(1e-10), math.log(1e4))
