"""A model as the benchmark sees it, and how far two implementations of it differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# One simulation, to be vmapped over keys and thetas: (key, theta, protocol) -> x.
Simulation = Callable[[jax.Array, jax.Array, Any], Any]


@dataclass(frozen=True)
class Subject:
    """A model: its simulation and protocol, its prior, its peers, the sizes of its measurements.

    `short` is a protocol of less simulated time, for models that take long. Shares and deviations
    are taken over at most `rows` draws from the prior, times over `simulations` or two batches.
    """

    simulate: Simulation
    protocol: Any
    draw: Callable[[int, int], np.ndarray]  # (rows, seed) -> theta (rows, d)
    milliseconds: Callable[[Any], float]  # simulated by one simulation under a protocol
    neuron_steps: Callable[[Any], int]
    # Of the model's equations, each distinct one once, a neuron-step.
    exponentials: float
    # (function, arguments, its number of neuron-steps): one step as it is computed.
    step: Callable[[], tuple[Callable, tuple, int]]
    loop: Callable[[np.ndarray], Any]  # the scalar loop in Numba: theta (rows, d) -> x
    loop_rows: int
    # How far the loop and `simulate` differ, over so many rows.
    agreement: Callable[[int], dict[str, float]]
    # Named parts (rows, k) of a batch of x.
    columns: Callable[[Any], dict[str, np.ndarray]]
    batches: dict[str, tuple[int, ...]]  # on "cpu" and on "gpu"
    simulations: dict[str, int]
    gradient_batches: dict[str, tuple[int, ...]]
    smooth: Simulation  # outputs (k,) whose gradient in theta is taken
    smooth_name: str
    short: Any = None
    # The same step in a plain scan, with two keywords, noise and features.
    plain: Callable[..., Any] | None = None
    noiseless: Simulation | None = None  # in its absence: a model without steps
    # What no implementation can leave out, beside exponentials.
    essential: tuple[str, Simulation] | None = None
    # (theta, protocol) -> the same without noise.
    silent: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]] | None = None
    spans: tuple[Any, ...] = ()  # protocols of several lengths, for the norm of the gradient
    lengths: tuple[int, tuple[Any, ...]] | None = None  # batch and protocols, for memory
    crowd: tuple[int, Any] | None = None  # batch and protocol, for memory
    rows: int = 1024
    repeats: int = 5


def in_one_call(simulation: Simulation, theta: np.ndarray, protocol: Any, seed: int = 0) -> Any:
    """x of a batch of simulations."""
    keys = jax.random.split(jax.random.key(seed), len(theta))
    program = jax.jit(jax.vmap(simulation, (0, 0, None)))
    return program(keys, jnp.asarray(theta, jnp.float32), protocol)


def deviation(ours: Any, loop: np.ndarray) -> dict[str, float]:
    """|x − x_loop| in sds over the rows, of all features: median and 99 %."""
    ours, loop = np.asarray(ours, float), np.asarray(loop, float)
    spread = np.nanstd(loop, axis=0)
    gap = np.abs(ours - loop) / np.where(spread > 0, spread, 1)
    finite = np.isfinite(gap)
    return {
        "both_finite": float(finite.mean()),
        "median_in_prior_sds": float(np.median(gap[finite])),
        "p99_in_prior_sds": float(np.quantile(gap[finite], 0.99)),
    }


def difference(ours: Any, loop: np.ndarray) -> dict[str, float]:
    """Standardised mean of x − x_loop over rows of the same theta and other noise, the largest."""
    gap = np.asarray(ours, float) - np.asarray(loop, float)
    z = gap.mean(0) / np.maximum(gap.std(0), 1e-12) * np.sqrt(len(gap))
    return {"largest_z_of_the_mean": float(np.max(np.abs(z))), "features": int(np.size(z))}


def one_column_each(features: Sequence[Any]) -> Callable[[Any], dict[str, np.ndarray]]:
    def columns(x):
        return {f.name: np.asarray(x, float)[:, [i]] for i, f in enumerate(features)}

    return columns
