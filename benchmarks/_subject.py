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

    Sizes are named by platform, "cpu" and "gpu". Times are taken over `simulations` draws, or as
    many batches as there are cores; shares and deviations over at most `rows`.
    """

    simulate: Simulation
    protocol: Any
    draw: Callable[[int, int], np.ndarray]  # (rows, seed) -> theta (rows, d) from the prior
    milliseconds: Callable[[Any], float]  # simulated by one simulation under a protocol
    neuron_steps: Callable[[Any], int]  # of one simulation under a protocol

    loop: Callable[[np.ndarray], Any]  # the peer, a scalar loop in Numba: theta (rows, d) -> x
    loop_rows: int
    agreement: Callable[[int], dict[str, float]]  # how far loop and simulate differ over n rows
    exponentials: float  # in the equations, each distinct one once, per neuron-step
    # (function, arguments, neuron-steps in it): one step, as `simulate` computes it
    step: Callable[[], tuple[Callable, tuple, int]]
    columns: Callable[[Any], dict[str, np.ndarray]]  # named parts (rows, k) of a batch of x
    smooth: Simulation  # outputs (k,) whose gradient in theta is taken
    smooth_name: str

    batches: dict[str, tuple[int, ...]]
    simulations: dict[str, int]
    gradient_batches: dict[str, tuple[int, ...]]
    rows: int = 1024
    repeats: int = 5

    short: Any = None  # a protocol of less simulated time, where the whole takes long
    # The same step in a plain scan, with two keywords, noise and features; a model that takes no
    # steps has `noiseless`, its operations but for random numbers, in its place.
    plain: Callable[..., Any] | None = None
    noiseless: Simulation | None = None
    essential: tuple[str, Simulation] | None = None  # what, beside exponentials, must be done
    # (theta, protocol) -> the same without noise
    silent: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]] | None = None
    spans: tuple[Any, ...] = ()  # protocols of several lengths, for the norm of the gradient
    lengths: tuple[int, tuple[Any, ...]] | None = None  # batch and protocols, for memory
    crowd: tuple[int, Any] | None = None  # a very large batch and a protocol, for memory
    shares: Callable[[int], dict[str, Any]] | None = None  # of so many prior draws, what is defined


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
    if not finite.any():
        return {"both_finite": 0.0}
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
    """`columns` of an x that is one array, (rows, features)."""

    def columns(x):
        return {f.name: np.asarray(x, float)[:, [i]] for i, f in enumerate(features)}

    return columns
