"""Markov chains in z: a population tempered from a base density to the posterior, and HMC on it.

π_β(z) ∝ b(z)^(1 − β) t(z)^β, β from 0 to 1; b is the prior and t the posterior up to a factor, or b
a density nearer to it. The population weighs separate modes, which no single chain
does; Hamiltonian Monte Carlo then draws as many rows from it as are asked for. A trajectory is as
long for all chains, so that none waits for another. Pure functions, to be jitted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from jaxsbi.extras import needed
from jaxsbi.types import PRNGKey

PARTICLES, CROWD = 1024, 16
"""Size of a population, and draws of b for each of its particles."""
MOVES, THIN = 3, 3
"""Transitions at each temperature, and between two rows of one chain."""
TARGET_ESS, ACCEPTANCE, GAIN = 0.5, 0.8, 0.4
LONGEST, MOST_STEPS = np.pi, 64
"""Trajectories last U(0, π) in units of the population's spread, by so many steps at most."""
LANES = 256
"""Chains advanced together: on CPU larger kernels are slower, and the step follows each crowd."""
LEAST = -1e30
"""Stands in for a log-density of −inf or NaN, finite so that its multiples stay numbers."""

LogDensity = Callable[[Array], Array]


class Population(NamedTuple):
    """Equally weighted draws z (P, d) from π₁, in random order, and what was learned on the way.

    log_evidence: log ∫ t(z) dz, by the sequence of importance weights.
    step_size, covariance: of the chains, tuned to π₁.
    stages: temperatures passed.
    """

    z: Float[Array, "P d"]
    log_evidence: Float[Array, ""]
    step_size: Float[Array, ""]
    covariance: Float[Array, "d d"]
    stages: Int[Array, ""]


class Moved(NamedTuple):
    """z (n, d) after some transitions; the step size; each row's mean acceptance and divergences.

    acceptance: (n,), 0 where a trajectory's energy was not finite. diverging: (n,), whether any
    trajectory's energy error was beyond bounds.
    """

    z: Float[Array, "n d"]
    step_size: Float[Array, ""]
    acceptance: Float[Array, " n"]
    diverging: Bool[Array, " n"]


class Convergence(NamedTuple):
    """R̂ (split chains, 1 is perfect) and effective sample size of each coordinate."""

    r_hat: Float[np.ndarray, " d"]
    ess: Float[np.ndarray, " d"]


def blackjax(part: str = "blackjax") -> ModuleType:
    """blackjax, or a part of it; an ImportError that says how to install it."""
    return needed(part, "mcmc", "chains")


def temper(
    key: PRNGKey,
    log_base: LogDensity,
    log_target: LogDensity,
    draws: Float[Array, "N d"],
    particles: int = PARTICLES,
) -> Population:
    """Adaptive tempered sequential Monte Carlo, from draws of b to π₁.

    Every step raises β as far as the effective sample size stays at half the population,
    resamples, and moves each particle by chains whose metric and step come from the population.
    The first step resamples among all N draws, so that it reaches far.
    Del Moral et al. 2006 (JRSS B 68:411); Neal 2011 (Handbook of MCMC, ch. 5).
    """
    dim = draws.shape[1]
    systematic = blackjax("blackjax.smc.resampling").systematic
    dichotomy = blackjax("blackjax.smc.solver").dichotomy
    lifts = partial(in_lanes, lambda z: bounded(log_target(z) - log_base(z)))

    def raise_temperature(
        key: Array, z: Array, beta: Array, least_ess: float
    ) -> tuple[Array, Array, Array]:
        values = lifts(z)

        def excess(delta: Array) -> Array:
            return _log_ess(delta * values) - np.log(least_ess)

        delta = jnp.clip(dichotomy(excess, 0.0, 1 - beta), 0.0, 1 - beta)
        log_weights = delta * values
        gain = jax.nn.logsumexp(log_weights) - np.log(len(values))
        chosen = systematic(key, jax.nn.softmax(log_weights), particles)
        # the last step ends at 1 exactly
        beta = jnp.where(beta + delta > 1 - 1e-6, 1.0, beta + delta)
        return z[chosen], beta, gain

    def stage(carry: tuple) -> tuple:
        key, z, beta, log_evidence, step_size, covariance, stages, first = carry
        key, key_resample, key_move = jax.random.split(key, 3)
        raised = raise_temperature(key_resample, z, beta, TARGET_ESS * particles)
        # the first temperature was already reached from the larger crowd
        z, beta, gain = jax.tree.map(
            lambda old, new: jnp.where(first, old, new), (z, beta, jnp.zeros_like(beta)), raised
        )
        covariance = _covariance(z)

        def log_density(z: Array) -> Array:
            return (1 - beta) * bounded(log_base(z)) + beta * bounded(log_target(z))

        z, step_size, *_ = move(key_move, log_density, z, step_size, covariance, MOVES, GAIN)
        return key, z, beta, log_evidence + gain, step_size, covariance, stages + 1, False

    key, key_first, key_order = jax.random.split(key, 3)
    z, beta, gain = raise_temperature(
        key_first, draws, jnp.zeros((), draws.dtype), float(particles)
    )
    start = (
        key, z, beta, gain, jnp.asarray(dim**-0.25, z.dtype), _covariance(z),
        jnp.zeros((), jnp.int32), jnp.array(True),
    )  # fmt: skip
    end = jax.lax.while_loop(lambda c: c[-1] | (c[2] < 1), stage, _strong(start))
    _, z, _, log_evidence, step_size, covariance, stages, _ = end
    z = jax.random.permutation(key_order, z)
    return Population(z, log_evidence, step_size, covariance, stages)


@partial(jax.jit, static_argnames="chains")
def begin(key: PRNGKey, population: Population, chains: int) -> Float[Array, "chains d"]:
    """Some particles of the population at random, none twice: the starts of chains."""
    return population.z[jax.random.permutation(key, population.z.shape[0])[:chains]]


def advance(
    key: PRNGKey,
    log_density: LogDensity,
    population: Population,
    z: Float[Array, "chains d"],
    transitions: int = THIN,
) -> Moved:
    """The next row of every chain, some transitions on. Chain i depends on (key, i)."""
    step_size, covariance = population.step_size, population.covariance
    return move(key, log_density, z, step_size, covariance, transitions)


def converged(chains: Float[Array, "length chains d"]) -> Convergence:
    """R̂ and effective sample size of chains of at least four rows."""
    each = np.moveaxis(np.asarray(chains, float), 0, 1)
    return Convergence(split_gelman_rubin(each), effective_sample_size(each))


def move(
    key: PRNGKey,
    log_density: LogDensity,
    z: Float[Array, "n d"],
    step_size: Float[Array, ""],
    covariance: Float[Array, "d d"],
    transitions: int,
    gain: float = 0.0,
) -> Moved:
    """z after some transitions of Hamiltonian Monte Carlo, the step size, and how they went.

    With a gain γ > 0 the step follows the acceptance rate a of the rows before: log ε grows by
    γ (a − 0.8) after every transition of `LANES` rows. Otherwise row i depends on (key, i, z_i)
    only.
    """
    key_rows, key_durations = jax.random.split(key)
    hmc = blackjax().hmc
    kernel = hmc.build_kernel()
    n, lanes = z.shape[0], min(LANES, z.shape[0])
    crowd = n if jax.default_backend() != "cpu" and not gain else lanes

    def of_crowd(log_step: Array, rows: tuple[Array, Array]) -> tuple[Array, Array]:
        keys, z = rows
        states = jax.vmap(partial(hmc.init, logdensity_fn=log_density))(z)

        def transition(carry: tuple, number: Array) -> tuple[tuple, None]:
            states, log_step = carry
            now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
            duration = jax.random.uniform(jax.random.fold_in(key_durations, number), maxval=LONGEST)
            steps = jnp.ceil(duration * jnp.exp(-log_step)).astype(jnp.int32)
            steps = jnp.clip(steps, 1, MOST_STEPS)
            states, info = jax.vmap(
                lambda k, s: kernel(k, s, log_density, jnp.exp(log_step), covariance, steps)
            )(now, states)
            accepted = jnp.nan_to_num(info.acceptance_rate)
            log_step = log_step + gain * (jnp.mean(accepted) - ACCEPTANCE)
            return (states, log_step), (accepted, info.is_divergent)

        carry = (states, log_step)
        (states, log_step), told = jax.lax.scan(transition, carry, jnp.arange(transitions))
        accepted, diverged = told
        return log_step, (states.position, jnp.mean(accepted, axis=0), jnp.any(diverged, axis=0))

    padded = -(-n // crowd) * crowd
    index = jnp.arange(padded) % n
    keys = jax.vmap(partial(jax.random.fold_in, key_rows))(index)
    rows = (keys.reshape(-1, crowd), z[index].reshape(-1, crowd, z.shape[1]))
    log_step, (z, acceptance, diverging) = jax.lax.scan(of_crowd, jnp.log(step_size), rows)
    z, acceptance, diverging = (
        part.reshape(padded, *part.shape[2:])[:n] for part in (z, acceptance, diverging)
    )
    return Moved(z, jnp.exp(log_step), acceptance, diverging)


def in_lanes(function: Callable, rows: Array | tuple) -> Array:
    """function of every row, some at a time on CPU, all at once elsewhere."""
    n = jax.tree.leaves(rows)[0].shape[0]
    if jax.default_backend() != "cpu" or n <= LANES:
        return jax.vmap(function)(rows)
    return jax.lax.map(function, rows, batch_size=LANES)


def bounded(log_density: Array) -> Array:
    """A log-density with LEAST in place of −inf and NaN."""
    return jnp.where(log_density > LEAST, log_density, LEAST)


def _log_ess(log_weights: Array) -> Array:
    return 2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights)


def _covariance(z: Float[Array, "P d"]) -> Float[Array, "d d"]:
    """The rows' covariance, drawn a little towards its diagonal so that it is definite."""
    centred = z - jnp.mean(z, axis=0)
    covariance = centred.T @ centred / z.shape[0]
    spread = jnp.diagonal(covariance)
    return 0.95 * covariance + jnp.diag(0.05 * spread + 1e-10)


def _strong(tree: tuple) -> tuple:
    """Without weak types, which a loop's carry would have to keep."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)
