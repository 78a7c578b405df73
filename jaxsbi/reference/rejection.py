"""Approximate Bayesian computation: parameters whose simulations come close to the observation.

The distance is Euclidean over features in units of their spread among prior simulations; an x that
is undefined elsewhere than x_o, or failed, is infinitely far away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PyTree

from jaxsbi import simulation
from jaxsbi.arguments import check_count, check_key, check_real
from jaxsbi.dataset import fill, is_valid, moments
from jaxsbi.observations import as_observation, flatten_rows, refuse_batch
from jaxsbi.priors import Prior
from jaxsbi.progress import quiet
from jaxsbi.types import Data, PRNGKey, Simulator

PILOTS = 1000
"""Prior simulations that set the features' units."""


class Particles(NamedTuple):
    """Weighted draws: θ (n, d), weights (n,) that sum to one, and how they were had.

    epsilon: the largest distance among them; simulations: how many were run for them in all;
    populations: generations of them.
    """

    theta: Float[Array, "n d"]
    weights: Float[Array, " n"]
    epsilon: Float[Array, ""]
    simulations: int
    populations: int = 1

    @property
    def ess(self) -> Float[Array, ""]:
        """Effective sample size (Σ w)² / Σ w²."""
        return 1 / jnp.sum(self.weights**2)

    def sample(self, key: PRNGKey, n: int) -> Float[Array, "n d"]:
        """n of the draws, with replacement, by their weights."""
        check_key(key)
        check_count("n", n)
        return self.theta[jax.random.choice(key, len(self.weights), (n,), p=self.weights)]


def rejection_abc(
    key: PRNGKey,
    simulate: Simulator,
    prior: Prior,
    x_o: Data,
    *,
    simulations: int = 100_000,
    accept: int = 1000,
    batch: int | None = None,
) -> Particles:
    """The `accept` of all θ ~ p(θ) whose x ~ p(x | θ) lie closest to x_o, with equal weights.

    Pritchard et al. 1999 (Mol. Biol. Evol. 16:1791). Raises ValueError for bad input.
    """
    x_o = _check(key, simulate, prior, x_o)
    check_count("accept", accept)
    check_count("simulations", simulations, accept)
    draw = simulation.prior_draw(prior)
    with quiet() as reporter:
        theta, x = simulation.run(key, simulate, draw, 0, simulations, batch, reporter)
    distances = _distances(x, x_o, _units(jax.tree.map(lambda leaf: leaf[:PILOTS], x)))
    closest, chosen = jax.lax.top_k(-distances, accept)
    _refuse_infinite(closest[0])
    weights = jnp.where(jnp.isfinite(closest), 1.0, 0.0)
    epsilon = -jnp.min(closest, where=weights > 0, initial=0.0)
    return Particles(theta[chosen], weights / jnp.sum(weights), epsilon, simulations)


def smc_abc(
    key: PRNGKey,
    simulate: Simulator,
    prior: Prior,
    x_o: Data,
    *,
    simulations: int = 100_000,
    particles: int = 1000,
    quantile: float = 0.5,
) -> Particles:
    """Population Monte Carlo: each generation comes closer, and proposes from the one before.

    z* = z_j + N(0, 2Σ), j by weight, Σ the population's weighted covariance in z, is accepted at
    a distance below the `quantile` of the last generation's, with the weight
    p(z*) / Σ_j w_j N(z*; z_j, 2Σ). The last generation completed within the budget is returned.
    Errors: ValueError for counts and quantiles out of range, and where all first simulations fail.
    Beaumont et al. 2009 (Biometrika 96:983); Toni et al. 2009 (J. R. Soc. Interface 6:187).
    """
    x_o = _check(key, simulate, prior, x_o)
    check_count("particles", particles, 2)
    check_count("simulations", simulations, particles)
    check_real("quantile", quantile, 0, 1)
    key_first, key_later = jax.random.split(key)
    with quiet() as reporter:
        draw = simulation.prior_draw(prior)
        theta, x = simulation.run(key_first, simulate, draw, 0, particles, None, reporter)
    units = _units(x)
    distances = _distances(x, x_o, units)
    _refuse_infinite(-jnp.min(distances))
    z, weights = prior.to_z(theta), jnp.isfinite(distances) / jnp.sum(jnp.isfinite(distances))
    used, populations = particles, 1
    simulator = simulate if isinstance(simulate, Partial) else Partial(simulate)
    while simulations - used >= particles:
        known = jnp.where(jnp.isfinite(distances), distances, jnp.nan)
        epsilon = jnp.nanquantile(known, quantile)
        batches = (simulations - used) // particles
        later = _generation(
            jax.random.fold_in(key_later, populations), simulator, prior, x_o, units,
            z, weights, epsilon, jnp.asarray(batches),
        )  # fmt: skip
        used += particles * int(later.batches)
        if int(later.found) < particles:
            break
        z, weights, distances = later.z, later.weights, later.distances
        populations += 1
    furthest = jnp.max(distances, where=weights > 0, initial=0.0)
    return Particles(prior.to_theta(z), weights, furthest, used, populations)


class _Generation(NamedTuple):
    z: Array
    weights: Array
    distances: Array
    found: Int[Array, ""]
    batches: Int[Array, ""]


@jax.jit
def _generation(
    key: PRNGKey,
    simulate: Partial,
    prior: Prior,
    x_o: Data,
    units: PyTree,
    z: Float[Array, "n d"],
    weights: Float[Array, " n"],
    epsilon: Float[Array, ""],
    batches: Int[Array, ""],
) -> _Generation:
    """The first n proposals closer than ε, from at most `batches` times n simulations."""
    n, dim = z.shape
    centred = z - weights @ z
    kernel = 2 * (weights * centred.T) @ centred + 1e-8 * jnp.eye(dim)
    factor = jnp.linalg.cholesky(kernel)

    def propose(key: Array) -> tuple[Array, Array]:
        key_parent, key_step, key_x = jax.random.split(key, 3)
        parent = z[jax.random.choice(key_parent, n, p=weights)]
        proposed = parent + factor @ jax.random.normal(key_step, (dim,))
        return proposed, simulate(key_x, prior.to_theta(proposed))

    def more(state: tuple) -> tuple:
        near, found, batch = state
        keys = jax.random.split(jax.random.fold_in(key, batch), n)
        proposed, x = jax.vmap(propose)(keys)
        distance = _distances(x, x_o, units)
        near, found = fill(near, found, (proposed, distance), distance < epsilon)
        return near, found, batch + 1

    zero = jnp.zeros((), jnp.int32)
    (accepted, distances), found, batch = jax.lax.while_loop(
        lambda s: (s[1] < n) & (s[2] < batches), more, ((z, jnp.zeros(n)), zero, zero)
    )
    whitened_parents = jax.scipy.linalg.solve_triangular(factor, z.T, lower=True).T

    def log_mixture(point: Array) -> Array:
        whitened = jax.scipy.linalg.solve_triangular(factor, point, lower=True)
        squares = jnp.sum((whitened - whitened_parents) ** 2, axis=1)
        return jax.nn.logsumexp(-0.5 * squares, b=weights)

    log_weights = prior.log_prob_z(accepted) - jax.lax.map(log_mixture, accepted, batch_size=128)
    return _Generation(accepted, jax.nn.softmax(log_weights), distances, found, batch)


def _units(x: PyTree[Array]) -> PyTree[Array]:
    """The spread of every feature over the valid rows."""
    return moments(x, is_valid(x)).scale


def _distances(x: PyTree[Array], x_o: Data, units: PyTree[Array]) -> Float[Array, " n"]:
    observed, units = (flatten_rows(jax.tree.map(lambda a: a[None], t))[0] for t in (x_o, units))
    rows = flatten_rows(x)
    defined = ~jnp.isnan(observed)
    alike = jnp.all(jnp.isnan(rows) == ~defined, axis=1)
    gaps = jnp.where(defined & alike[:, None], (rows - observed) / units, 0.0)
    return jnp.where(alike, jnp.sqrt(jnp.sum(gaps**2, axis=1)), jnp.inf)


def _check(key: Any, simulate: Any, prior: Any, x_o: Any) -> Data:
    check_key(key)
    simulation.check_prior(prior)
    x_o, batched = as_observation("x_o", x_o, simulation.outcome(simulate, prior.dim))
    refuse_batch("x_o", batched)
    return x_o


def _refuse_infinite(best: Array) -> None:
    if not bool(jnp.isfinite(best)):
        raise ValueError(
            "x_o must be defined in the pattern of at least one simulation, but all of them "
            "failed or are undefined elsewhere; simulate more, or leave features out"
        )
