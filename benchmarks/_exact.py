"""Problems whose posterior is known exactly: simulator, prior, an observation, exact draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from scipy import stats

import jaxsbi


class Exact(NamedTuple):
    """A simulator, its prior, an observation, and exact draws (n, d) of the posterior there.

    at_bounds: its mass within 1 % of the lower and of the upper bounds (2, d), None without any.
    """

    simulate: Callable[[jax.Array, jax.Array], jax.Array]
    prior: jaxsbi.Prior
    x_o: np.ndarray
    draws: np.ndarray
    at_bounds: np.ndarray | None = None


def linear_gaussian(rng: np.random.Generator, n: int) -> Exact:
    """θ ~ N(0, 0.1 I), x ~ N(θ, 0.1 I): θ | x ~ N(x/2, 0.05 I)."""
    x_o = np.array([0.3, -0.2, 0.1])
    prior = jaxsbi.gaussian(np.zeros(3), sd=np.full(3, 0.1**0.5))
    draws = x_o / 2 + 0.05**0.5 * rng.normal(size=(n, 3))
    return Exact(lambda k, t: t + 0.1**0.5 * jax.random.normal(k, (3,)), prior, x_o, draws)


def corner(rng: np.random.Generator, n: int) -> Exact:
    """θ uniform on [0, 1]², x ~ N(θ, 0.1² I) seen beyond the corner (0, 1)."""
    x_o, sd = np.array([-0.05, 1.1]), 0.1
    prior = jaxsbi.box([0.0, 0.0], [1.0, 1.0])
    low, near_low, near_high, high = (
        stats.norm.cdf((end - x_o) / sd) for end in (0, MARGIN, 1 - MARGIN, 1)
    )
    draws = x_o + sd * stats.norm.ppf(low + (high - low) * rng.uniform(size=(n, 2)))
    at_bounds = np.stack([near_low - low, high - near_high]) / (high - low)
    return Exact(lambda k, t: t + sd * jax.random.normal(k, (2,)), prior, x_o, draws, at_bounds)


PROBLEMS = {"linear_gaussian": linear_gaussian, "corner": corner}
FLOW, MIXTURE = jaxsbi.nsf(layers=2, hidden=(50, 50)), jaxsbi.mdn()
CASES = {
    "apt": (jaxsbi.apt, FLOW),
    "apt-mixture": (jaxsbi.apt, MIXTURE),
    "snpe_a": (jaxsbi.snpe_a, MIXTURE),
    "snpe_b": (jaxsbi.snpe_b, FLOW),
    "tsnpe": (jaxsbi.tsnpe, FLOW),
}
"""Sequential algorithms, and a density that serves each."""
DRAWS = 5000
"""Draws that are compared, of either side."""
MARGIN, COUNTED = 0.01, 200_000
"""How near a bound of the corner mass is counted, and draws of which it is the share: an error of
.001 at most by chance, where .02 is asked for."""


class Reached(NamedTuple):
    """A posterior, what it took [s], how well two classifiers tell its draws from exact ones, and
    `off_at_bounds`, None without bounds."""

    posterior: jaxsbi.Posterior
    seconds: float
    c2st: jaxsbi.diagnostics.C2ST
    off: np.ndarray | None


def reach(problem: str, case: str, seed: int, rounds: int = 3, simulations: int = 2000) -> Reached:
    """One inference of a case, so many simulations in each round, and how far its draws are off."""
    exact = PROBLEMS[problem](np.random.default_rng(seed), DRAWS)
    algorithm, estimator = CASES[case]
    key, key_draws, key_count = jax.random.split(jax.random.key(seed), 3)
    began = time.perf_counter()
    posterior = jaxsbi.infer(
        key, exact.simulate, exact.prior, exact.x_o, algorithm=algorithm(), rounds=rounds,
        simulations=simulations, estimator=estimator, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    theta = np.asarray(posterior.sample(key_draws, DRAWS))
    score = jaxsbi.diagnostics.c2st(exact.draws, theta)
    if exact.at_bounds is None:
        return Reached(posterior, seconds, score, None)
    counted = np.asarray(posterior.sample(key_count, COUNTED))
    return Reached(posterior, seconds, score, off_at_bounds(counted, exact.at_bounds))


def off_at_bounds(theta: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Mass within 1 % of the lower bounds 0 and of the upper bounds 1, less the exact: (2, d)."""
    return np.stack([(theta < MARGIN).mean(axis=0), (theta > 1 - MARGIN).mean(axis=0)]) - exact
