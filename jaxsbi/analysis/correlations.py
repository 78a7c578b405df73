"""Correlations of parameters: marginal, and conditional on all others.

A marginal correlation near 0 may hide that two parameters make up for each other once the others
are fixed: the conditional one shows it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from jaxsbi.analysis.conditionals import POINTS
from jaxsbi.analysis.densities import as_limits, density_of, draws_of
from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.compilation import at_once
from jaxsbi.progress import Reporter, quiet
from jaxsbi.types import Data, PRNGKey

SLICE = {"cpu": 1 << 16, "gpu": 1 << 23, "tpu": 1 << 22}
"""Points at which the density is evaluated in one compiled call: about a second's work."""
LANES = {"cpu": 1 << 12, "gpu": 1 << 20, "tpu": 1 << 18}
"""Points evaluated together, which bounds the memory."""
FEW_CELLS = 3.0
"""Effective cells of a slice below which its correlation is one of the grid."""


@dataclass(frozen=True)
class Correlations:
    """A matrix of correlation coefficients.

    error: (d, d), standard error of each; of a conditional one over the posterior draws.
    coarse: share of two-parameter slices of which fewer than three cells hold the mass: what the
        grid does not resolve.
    """

    names: tuple[str, ...]
    matrix: Float[np.ndarray, "d d"]
    error: Float[np.ndarray, "d d"]
    samples: int
    coarse: float = 0.0


def marginal_correlations(
    key: PRNGKey, posterior: Any, *, samples: int = 10_000, x: Data | None = None
) -> Correlations:
    """corr(θ_i, θ_j | x), of posterior draws."""
    check_key(key)
    samples = check_count("samples", samples, 3)
    draws = np.asarray(draws_of(key, posterior, samples, x), float)
    matrix = np.atleast_2d(np.corrcoef(draws, rowvar=False))
    return Correlations(posterior.prior.names, matrix, (1 - matrix**2) / samples**0.5, samples)


def conditional_correlations(
    key: PRNGKey,
    posterior: Any,
    *,
    samples: int = 500,
    points: int = POINTS,
    limits: Any = None,
    pairs: Int[np.ndarray, "p 2"] | None = None,
    theta: Float[Array, "s d"] | None = None,
    x: Data | None = None,
    progress: bool = False,
) -> Correlations:
    """E_θ corr(θ_i, θ_j | all other θ, x), θ ~ p(θ | x): (d, d), 1 on the diagonal.

    The density of each pair is evaluated on points × points cells, all other parameters those of
    a posterior draw, and normalised; its correlation coefficient is averaged over the draws. The
    defaults are those of Gonçalves et al. 2020 (fig. 6): 500 draws, 50 × 50 cells over the prior's
    range. For a Gaussian of precision P it is −P_ij / √(P_ii P_jj).

    limits: (low, high) of the cells, numbers or one per parameter, where the posterior is much
        narrower than the prior's range.
    pairs: the numbers (i, j) of those to correlate, all others left NaN; by default all.
    theta: draws to use in place of `samples` new ones.
    Runs in compiled slices of about a second each, on CPU one per core unless they call LAPACK.
    """
    check_key(key)
    points = check_count("points", points, 3)
    prior, density = posterior.prior, density_of(posterior, x)
    if prior.dim < 2:
        raise ValueError("posterior must have two parameters at least to correlate, got one")
    low, high = as_limits(limits, prior)
    if theta is None:
        theta = draws_of(key, posterior, check_count("samples", samples), x)
    else:
        theta = as_theta(theta, prior.dim)
        theta = theta.reshape(-1, prior.dim)
    first, second = _pairs(pairs, prior.dim)
    rho, cells = _all(density, np.asarray(theta), first, second, low, high, points, progress)
    shape = len(theta), len(first)
    rho, cells = rho.reshape(shape), cells.reshape(shape)
    matrix = np.full((prior.dim, prior.dim), np.nan)
    np.fill_diagonal(matrix, 1.0)
    error = matrix - np.eye(prior.dim)
    known = np.maximum(np.sum(~np.isnan(rho), axis=0), 1)
    mean = np.nansum(rho, axis=0) / known
    matrix[first, second] = matrix[second, first] = mean
    spread = np.sqrt(np.nansum((rho - mean) ** 2, axis=0)) / known
    error[first, second] = error[second, first] = spread
    return Correlations(prior.names, matrix, error, len(theta), float(np.mean(cells < FEW_CELLS)))


def _pairs(pairs: Any, d: int) -> tuple[np.ndarray, np.ndarray]:
    if pairs is None:
        return np.triu_indices(d, 1)
    chosen = np.asarray(pairs)
    fits = chosen.ndim == 2 and chosen.shape[1] == 2 and np.issubdtype(chosen.dtype, np.integer)
    if not (fits and len(chosen) and np.all((chosen >= 0) & (chosen < d))) or np.any(
        chosen[:, 0] == chosen[:, 1]
    ):
        raise ValueError(f"pairs must be (p, 2) different numbers from 0 to {d - 1}, got {pairs!r}")
    return chosen[:, 0], chosen[:, 1]


def _all(
    density: Partial,
    theta: Float[np.ndarray, "s d"],
    first: Int[np.ndarray, " p"],
    second: Int[np.ndarray, " p"],
    low: np.ndarray,
    high: np.ndarray,
    points: int,
    progress: bool,
) -> tuple[Float[np.ndarray, " sp"], Float[np.ndarray, " sp"]]:
    """Correlation and effective cells of each slice, pair by pair of each θ, in calls of one size.

    Programs are shared by any number of draws.
    """
    backend, n = jax.default_backend(), len(theta) * len(first)
    together = max(1, LANES[backend] // points**2)
    size = together * max(1, min(SLICE[backend] // (together * points**2), n // together))
    ends = jnp.asarray(low, theta.dtype), jnp.asarray(high, theta.dtype)
    threads = at_once(density, theta[:1])

    def call(start: int) -> tuple[np.ndarray, np.ndarray]:
        draw, pair = np.divmod(np.arange(start, start + size) % n, len(first))
        part = (jnp.asarray(a) for a in (theta[draw], first[pair], second[pair]))
        return jax.tree.map(np.asarray, _slices(points, together, density, *part, *ends))

    starts, parts = range(0, n, size), []
    with Reporter() if progress else quiet() as reporter, ThreadPoolExecutor(threads) as pool:
        parts.append(call(0))
        for part in pool.map(call, starts[1:]):
            parts.append(part)
            reporter.update("correlate", len(parts) / len(starts), f"{n:,} slices")
    return tuple(np.concatenate(each)[:n] for each in zip(*parts, strict=True))


@partial(jax.jit, static_argnums=(0, 1))
def _slices(
    points: int,
    together: int,
    density: Partial,
    theta: Float[Array, "m d"],
    first: Int[Array, " m"],
    second: Int[Array, " m"],
    low: Float[Array, " d"],
    high: Float[Array, " d"],
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    share = (jnp.arange(points) + 0.5) / points
    along, across = (axis.ravel() for axis in jnp.meshgrid(share, share, indexing="ij"))
    d = theta.shape[1]

    def put(rows: Array, place: Array, share: Array) -> Array:
        values = low[place][:, None] + share * (high - low)[place][:, None]
        here = place[:, None, None] == jnp.arange(d)
        return jnp.where(here, values[..., None], rows)

    def of(slices: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        theta, i, j = slices
        rows = put(put(theta[:, None], i, along), j, across)
        log_mass = density(rows.reshape(-1, d)).reshape(together, -1)
        log_mass = jnp.where(jnp.isnan(log_mass), -jnp.inf, log_mass)
        mass = jax.nn.softmax(log_mass, axis=1)
        u, v = (a - jnp.sum(mass * a, axis=1, keepdims=True) for a in (along, across))
        squares = jnp.sum(mass * u**2, axis=1) * jnp.sum(mass * v**2, axis=1)
        product = jnp.sum(mass * u * v, axis=1)
        resolved = squares > 1e-12 * points**-4.0
        rho = product / jnp.sqrt(jnp.where(resolved, squares, 1.0))
        return jnp.where(resolved, rho, jnp.nan), 1 / jnp.sum(mass**2, axis=1)

    groups = (part.reshape(-1, together, *part.shape[1:]) for part in (theta, first, second))
    rho, cells = jax.lax.map(of, tuple(groups))
    return rho.ravel(), cells.ravel()
