"""Conditional posteriors p(θ_free | θ_fixed, x): densities on grids, and draws.

What is left free given exact values of the rest: a narrow conditional where the marginal is wide
says that parameters make up for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float
from numpyro.infer import MCMC, NUTS

from jaxsbi.analysis.densities import (
    as_limits,
    as_point,
    check_posterior,
    density_of,
    draws_of,
    indices,
    scales,
)
from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.mcmc import bounded
from jaxsbi.types import Data, PRNGKey

POINTS = 50
"""Cells per parameter of a grid, as in the paper."""
FINE = {1: 1000, 2: 200}
"""Cells per parameter of a grid that is drawn from."""
ZOOMS, LOST = 2, 1e-6
CHAINS, WARMUP, CROWD = 64, 300, 4000


@dataclass(frozen=True)
class Slice:
    """p(θ_free | θ_fixed, x) at the centres of equal cells, for one or two free parameters.

    axes: the centres (m,) along each; density (m,) or (m, m), indexed in their order, so that
    Σ density · cell = 1.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    axes: tuple[Float[np.ndarray, " m"], ...]
    density: Float[np.ndarray, "..."]

    @property
    def cell(self) -> float:
        """Length or area of a cell."""
        return float(np.prod([axis[1] - axis[0] for axis in self.axes]))

    @property
    def mean(self) -> Float[np.ndarray, " f"]:
        return self._moments[0]

    @property
    def covariance(self) -> Float[np.ndarray, "f f"]:
        return self._moments[1]

    @property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        points = np.stack(np.meshgrid(*self.axes, indexing="ij"), -1).reshape(-1, len(self.axes))
        mass = self.density.ravel() * self.cell
        mean = mass @ points
        return mean, (points - mean).T @ ((points - mean) * mass[:, None])


@dataclass(frozen=True)
class Conditional:
    """p(θ_free | θ_fixed, x), up to a constant, as `condition` gives it."""

    posterior: Any
    theta: Float[Array, " d"]
    free: tuple[int, ...]
    x: Data | None
    density: Partial

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.posterior.prior.names[i] for i in self.free)

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(self.posterior.prior.units[i] for i in self.free)

    def log_prob(self, theta: Float[Array, "*n f"]) -> Float[Array, "*n"]:
        """log p(θ_free | θ_fixed, x) + const, −inf outside the support."""
        theta = as_theta(theta, len(self.free))
        rows = theta.reshape(-1, len(self.free))
        return _log_prob(self.density, self.theta, self._index, rows).reshape(theta.shape[:-1])

    def grid(self, points: int = POINTS, limits: Any = None) -> Slice:
        """The density on `points` cells per parameter over the prior's range, or `limits`.

        limits: (low, high), numbers or one per parameter of the posterior.
        """
        check_count("points", points, 2)
        self._check_few("grid")
        low, high = as_limits(limits, self.posterior.prior)
        axes, mass = self._mass(points, low[list(self.free)], high[list(self.free)])
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        return Slice(self.names, self.units, axes, mass / cell)

    def sample(self, key: PRNGKey, n: int) -> Float[Array, "n f"]:
        """θ_free ~ p(θ_free | θ_fixed, x): by a grid for one or two parameters, else by NUTS."""
        check_key(key)
        n = check_count("n", n)
        return self._from_grid(key, n) if len(self.free) <= 2 else self._from_chains(key, n)

    @property
    def _index(self) -> Array:
        return jnp.asarray(self.free)

    def _check_few(self, name: str) -> None:
        if len(self.free) > 2:
            raise ValueError(
                f"{name} is for one or two free parameters, got {len(self.free)}: fix more of "
                "them, or draw with sample(key, n)"
            )

    def _mass(
        self, points: int, low: np.ndarray, high: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Centres of cells along each axis, and the mass of each cell."""
        share = (np.arange(points) + 0.5) / points
        axes = tuple(a + share * (b - a) for a, b in zip(low, high, strict=True))
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        log_mass = np.asarray(self.log_prob(mesh), float)
        if not np.isfinite(log_mass.max()):
            raise ValueError(
                "limits must hold a cell in which the density is not zero; the fixed parameters "
                "may lie outside the support, or the grid be too coarse"
            )
        mass = np.exp(log_mass - log_mass.max())
        return axes, (mass / mass.sum()).reshape((points,) * len(axes))

    def _from_grid(self, key: PRNGKey, n: int) -> Float[Array, "n f"]:
        known, points = scales(self.posterior.prior), FINE[len(self.free)]
        low, high = (end[list(self.free)] for end in (known.low, known.high))
        for zoom in range(ZOOMS + 1):
            axes, mass = self._mass(points, low, high)
            if zoom == ZOOMS:
                break
            low, high = _narrowed(axes, mass, low, high)
        key_cell, key_point = jax.random.split(key)
        index = jax.random.choice(key_cell, mass.size, (n,), p=jnp.asarray(mass.ravel()))
        cells = jnp.stack(jnp.unravel_index(index, mass.shape), axis=-1)
        inside = jax.random.uniform(key_point, cells.shape)
        return jnp.asarray(low) + (cells + inside) / points * jnp.asarray(high - low)

    def _from_chains(self, key: PRNGKey, n: int) -> Float[Array, "n f"]:
        """NUTS in unbounded coordinates, from posterior draws resampled by this density."""
        key_draw, key_start, key_run = jax.random.split(key, 3)
        unbounded = _Unbounded(self)
        draws = draws_of(key_draw, self.posterior, CROWD, self.x)[:, self._index]
        log_weights = bounded(self.log_prob(draws))
        start = draws[jax.random.categorical(key_start, log_weights, shape=(CHAINS,))]
        sampler = MCMC(
            NUTS(potential_fn=unbounded.potential, dense_mass=True), num_warmup=WARMUP,
            num_samples=-(-n // CHAINS), num_chains=CHAINS, chain_method="vectorized",
            progress_bar=False,
        )  # fmt: skip
        sampler.run(key_run, init_params=unbounded.inverse(start))
        rows = jnp.moveaxis(sampler.get_samples(group_by_chain=True), 0, 1)
        return unbounded(rows.reshape(-1, len(self.free))[:n])


class _Unbounded:
    """v ↦ θ_free: between bounds low + (high − low)/(1 + e^{−v}), elsewhere centre + scale v."""

    def __init__(self, conditional: Conditional) -> None:
        prior, chosen = conditional.posterior.prior, list(conditional.free)
        known = scales(prior)
        self.conditional = conditional
        self.has_bounds = jnp.isfinite(prior.bounds[0])[jnp.asarray(chosen)]
        ends = (known.low, known.high, known.centre, known.scale)
        self.low, self.high, self.centre, self.scale = (jnp.asarray(e[chosen]) for e in ends)

    def __call__(self, v: Array) -> Array:
        inside = self.low + (self.high - self.low) * jax.nn.sigmoid(v)
        return jnp.where(self.has_bounds, inside, self.centre + self.scale * v)

    def inverse(self, theta: Array) -> Array:
        share = jnp.clip((theta - self.low) / (self.high - self.low), 1e-6, 1 - 1e-6)
        outside = (theta - self.centre) / self.scale
        return jnp.where(self.has_bounds, jax.scipy.special.logit(share), outside)

    def potential(self, v: Array) -> Array:
        log_slope = jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v)
        log_slope = jnp.sum(jnp.where(self.has_bounds, log_slope, 0.0))
        return -bounded(self.conditional.log_prob(self(v))) - log_slope


def condition(
    posterior: Any,
    fixed: Mapping[str, float] | Float[Array, " d"],
    *,
    free: Any = None,
    x: Data | None = None,
) -> Conditional:
    """p(θ_free | θ_fixed, x) ∝ p(θ_free, θ_fixed | x), with grids and draws.

    fixed: parameters' names and values, the others free; or a whole θ, such as a posterior draw,
        with `free` the names of those of it that are free.
    """
    check_posterior(posterior)
    prior = posterior.prior
    if isinstance(fixed, Mapping):
        if free is not None:
            raise ValueError("free is for a whole θ: of named values, all others are free")
        places = indices("fixed", fixed, prior)
        inside = prior.to_theta(jnp.zeros(prior.dim))
        values = as_theta(list(fixed.values()), len(places), "fixed")
        theta = inside.at[jnp.asarray(places)].set(values)
        free_places = tuple(i for i in range(prior.dim) if i not in places)
        if not free_places:
            raise ValueError("fixed must leave a parameter free, got all of them")
    else:
        if free is None:
            raise ValueError("free must name the parameters of a whole θ that are not fixed")
        theta, free_places = as_theta(fixed, prior.dim, "fixed"), indices("free", free, prior)
    return Conditional(
        posterior, as_point("fixed", theta, posterior), free_places, x, density_of(posterior, x)
    )


@jax.jit
def _log_prob(density: Partial, theta: Array, index: Array, rows: Array) -> Array:
    return density(jnp.broadcast_to(theta, (rows.shape[0], theta.size)).at[:, index].set(rows))


def _narrowed(axes: tuple, mass: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple:
    """The box of cells that holds all but a little of the mass, a cell wider on each side."""
    ends = []
    for k, axis in enumerate(axes):
        along = mass.sum(axis=tuple(j for j in range(mass.ndim) if j != k))
        kept = axis[along > LOST / len(along)]
        margin = 1.5 * (axis[1] - axis[0])
        ends.append((max(kept[0] - margin, low[k]), min(kept[-1] + margin, high[k])))
    return tuple(np.array(end) for end in zip(*ends, strict=True))
