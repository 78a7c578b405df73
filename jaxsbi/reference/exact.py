"""Posteriors from a known likelihood: chains of NUTS from all over the prior, and grids."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.infer import MCMC, NUTS

from jaxsbi.arguments import check_count, check_key
from jaxsbi.mcmc import Convergence, bounded, converged
from jaxsbi.priors import Prior
from jaxsbi.simulation import check_prior
from jaxsbi.types import PRNGKey, Theta

CROWD = 20_000
"""Prior draws among which the chains' starts are resampled."""
REACH = 5.3
"""Half the width of a grid in z: the prior's mass beyond is 10⁻⁷ per coordinate."""
ZOOMS, LOST = 3, 1e-9
"""How often a grid is narrowed, and the mass it may lose in each narrowing."""

LogLikelihood = Callable[[Theta], Float[Array, ""]]


class Chains(NamedTuple):
    """Draws of NUTS: θ (n, d), R̂ and effective sample size of each coordinate of z."""

    theta: Float[Array, "n d"]
    convergence: Convergence


class Grid(NamedTuple):
    """A posterior as masses (m,) of equal cells in z, given by centres (m, d) and widths (d,)."""

    prior: Prior
    z: Float[Array, "m d"]
    mass: Float[Array, " m"]
    cell: Float[Array, " d"]
    log_evidence: Float[Array, ""]

    @property
    def theta(self) -> Float[Array, "m d"]:
        """θ at the cells' centres."""
        return self.prior.to_theta(self.z)

    def sample(self, key: PRNGKey, n: int) -> Float[Array, "n d"]:
        """θ (n, d): a cell by its mass, a point uniform within it in z."""
        check_key(key)
        check_count("n", n)
        key_cell, key_point = jax.random.split(key)
        index = jax.random.choice(key_cell, len(self.mass), (n,), p=self.mass)
        inside = jax.random.uniform(key_point, (n, len(self.cell)), minval=-0.5, maxval=0.5)
        return self.prior.to_theta(self.z[index] + inside * self.cell)


def nuts(
    key: PRNGKey,
    log_likelihood: LogLikelihood,
    prior: Prior,
    n: int,
    *,
    chains: int = 128,
    warmup: int = 300,
) -> Chains:
    """θ_i ~ p(θ) L(θ), i < n, by numpyro's NUTS in z, all chains in one vectorised program.

    The chains start from an importance resampling of prior draws, by L: as many in each mode as
    its share of the mass, which they cannot correct later. log_likelihood: θ (d,) ↦ log L.

    Errors: ValueError for fewer than 100 chains, and for counts below 1.
    """
    check_key(key)
    check_prior(prior)
    check_count("n", n)
    check_count("chains", chains, 100)
    check_count("warmup", warmup)
    key_start, key_run = jax.random.split(key)
    start = _resampled(key_start, log_likelihood, prior, chains)

    def potential(z: Array) -> Array:
        return -prior.log_prob_z(z) - bounded(log_likelihood(prior.to_theta(z)))

    length = max(-(-n // chains), 4)
    sampler = MCMC(
        NUTS(potential_fn=potential, dense_mass=True), num_warmup=warmup, num_samples=length,
        num_chains=chains, chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    sampler.run(key_run, init_params=start)
    z = jnp.moveaxis(sampler.get_samples(group_by_chain=True), 0, 1)
    return Chains(prior.to_theta(z.reshape(-1, prior.dim)[:n]), converged(z))


def grid(log_likelihood: LogLikelihood, prior: Prior, *, points: int | None = None) -> Grid:
    """p(z) L(θ(z)) at the centres of equal cells in z, normalised: for one or two parameters.

    points: cells per parameter, default 2000 for one and 300 for two. The grid begins as wide as
    the prior and is narrowed to where the mass lies.

    Errors: ValueError for more parameters, a prior without quantiles, and a likelihood of 0.
    """
    check_prior(prior)
    if prior.dim > 2 or not prior.gaussian:
        raise ValueError(
            "prior must be of one or two parameters with known quantiles, got "
            f"{prior!r}; use jaxsbi.reference.nuts"
        )
    points = (2000 if prior.dim == 1 else 300) if points is None else points
    check_count("points", points, 10)
    low, high = jnp.full(prior.dim, -REACH), jnp.full(prior.dim, REACH)
    for zoom in range(ZOOMS):
        z, log_mass = _cells(log_likelihood, points, prior, low, high)
        if not bool(jnp.isfinite(jnp.max(log_mass))):
            raise ValueError("log_likelihood must be finite somewhere under the prior")
        mass = np.asarray(jax.nn.softmax(log_mass))
        cell = (high - low) / points
        if zoom < ZOOMS - 1:
            low, high = _narrowed(np.asarray(z), mass, np.asarray(cell), low, high)
    return Grid(prior, z, jnp.asarray(mass), cell, jax.nn.logsumexp(log_mass))


@partial(jax.jit, static_argnums=(1, 3))
def _resampled(
    key: PRNGKey, log_likelihood: LogLikelihood, prior: Prior, chains: int
) -> Float[Array, "chains d"]:
    key_draw, key_choose = jax.random.split(key)
    theta = prior.sample(key_draw, CROWD)
    log_weights = jax.lax.map(lambda t: bounded(log_likelihood(t)), theta, batch_size=1000)
    return prior.to_z(theta[jax.random.categorical(key_choose, log_weights, shape=(chains,))])


@partial(jax.jit, static_argnums=(0, 1))
def _cells(
    log_likelihood: LogLikelihood, points: int, prior: Prior, low: Array, high: Array
) -> tuple[Float[Array, "m d"], Float[Array, " m"]]:
    width = high - low
    sides = low + (jnp.arange(points)[:, None] + 0.5) / points * width
    z = jnp.stack(jnp.meshgrid(*sides.T, indexing="ij"), axis=-1).reshape(-1, prior.dim)

    def log_mass(z: Array) -> Array:
        return prior.log_prob_z(z) + log_likelihood(prior.to_theta(z))

    values = jax.lax.map(log_mass, z, batch_size=1000)
    return z, jnp.where(jnp.isnan(values), -jnp.inf, values) + jnp.sum(jnp.log(width / points))


def _narrowed(
    z: np.ndarray, mass: np.ndarray, cell: np.ndarray, low: Any, high: Any
) -> tuple[Array, Array]:
    """The box of cells that holds all but `LOST` of the mass, one cell wider on each side."""
    order = np.argsort(mass)
    kept = z[order[np.cumsum(mass[order], dtype=float) > LOST]]
    least, most = kept.min(axis=0) - 1.5 * cell, kept.max(axis=0) + 1.5 * cell
    return jnp.maximum(least, low), jnp.minimum(most, high)
