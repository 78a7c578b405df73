"""Sensitivity: which directions of θ matter, to the posterior or to one feature of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxsbi.analysis.densities import density_of, draws_of, scales
from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.types import Data, PRNGKey

RIDGES = 10.0 ** np.arange(-5.0, 2.0)
WIDTHS = np.array([0.5, 1.0, 2.0, 4.0])
MOST_ROWS = 2000


@dataclass(frozen=True)
class Subspace:
    """Eigenvectors of E[∇f ∇fᵀ], in the prior's standard coordinates u = (θ − centre) / scale.

    values: (d,) falling: the mean squared slope of f along each direction.
    directions: (d, d), the k-th column belongs to the k-th value; its sign has no meaning.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "d d"]
    scale: Float[np.ndarray, " d"]

    @property
    def shares(self) -> Float[np.ndarray, " d"]:
        """How much of all squared slope lies along each direction."""
        return self.values / max(self.values.sum(), np.finfo(float).tiny)

    @property
    def importance(self) -> Float[np.ndarray, " d"]:
        """√E[(∂f/∂u_i)²]: how much f changes as each parameter moves by its scale."""
        return np.sqrt((self.directions**2) @ self.values)


def active_subspace(
    key: PRNGKey,
    posterior: Any,
    feature: Callable[[Float[Array, " d"]], Float[Array, ""]] | None = None,
    *,
    samples: int = 1000,
    x: Data | None = None,
) -> Subspace:
    """Eigenvectors of M = E over θ ~ p(θ | x) of ∇f ∇fᵀ, f = log p(θ | x) or a feature of θ.

    Along the first the posterior, or the feature, changes most; along the last it is sloppy. For
    a Gaussian posterior M is the precision. Constantine, Dow & Wang 2014 (SIAM J. Sci. Comput. 36).

    feature: one θ ↦ a number, traceable: a simulator's where it is differentiable, or else the
        `regression` of simulated values, for counts have no slope.
    """
    check_key(key)
    samples = check_count("samples", samples, 2)
    density, known = density_of(posterior, x), scales(posterior.prior)
    theta = draws_of(key, posterior, samples, x)
    if feature is None:
        slopes = _density_slopes(density, theta)
    else:
        slopes = _feature_slopes(as_number(feature, posterior.prior.dim), theta)
    slopes = np.asarray(slopes, float) * known.scale
    finite = np.isfinite(slopes).all(axis=1)
    if not finite.any():
        raise ValueError("feature must have finite slopes at posterior draws, got none")
    values, directions = np.linalg.eigh(slopes[finite].T @ slopes[finite] / finite.sum())
    return Subspace(posterior.prior.names, values[::-1], directions[:, ::-1], known.scale)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Regression:
    """θ ↦ E[value | θ], a smooth function; r_squared is that of rows left out of its fit."""

    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    rows: Float[Array, "n d"]
    coefficients: Float[Array, " c"]
    width: Float[Array, ""]
    r_squared: float

    def __call__(self, theta: Float[Array, " d"]) -> Float[Array, ""]:
        u = (theta - self.centre) / self.scale
        return _features(u[None], self.rows, self.width)[0] @ self.coefficients


def regression(theta: Float[Array, "n d"], values: Float[Array, " n"]) -> Regression:
    """θ ↦ E[value | θ] by kernel ridge regression on top of a straight line.

    Width and ridge are those that predict the fifth of the rows left out best; `r_squared` says
    how well. Rows with an undefined (NaN) value are left out, and all above 2000.
    """
    theta, values = as_theta(theta), np.asarray(values, float)
    if theta.ndim != 2 or values.shape != theta.shape[:1]:
        raise ValueError(
            f"values must be (n,), one per row of theta {theta.shape}, got {values.shape}"
        )
    defined = np.flatnonzero(np.isfinite(values))[:MOST_ROWS]
    if len(defined) < 20:
        raise ValueError(f"values must hold at least 20 that are defined, got {len(defined)}")
    rows, y = np.asarray(theta, float)[defined], values[defined]
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    u = jnp.asarray((rows - centre) / np.where(scale > 0, scale, 1.0))
    mean, spread = y.mean(), y.std() or 1.0
    held_out = jnp.arange(len(y)) % 5 == 0
    target = jnp.asarray((y - mean) / spread)
    widths = jnp.asarray(WIDTHS * np.sqrt(rows.shape[1]))
    errors = _held_out_errors(u, target, held_out, widths, jnp.asarray(RIDGES))
    best = np.unravel_index(np.nanargmin(errors), errors.shape)
    width, ridge = widths[best[0]], jnp.asarray(RIDGES)[best[1]]
    coefficients = _fit(u, target, jnp.ones(len(y)), width, ridge)
    coefficients = (coefficients * spread).at[-1].add(mean)
    r_squared = float(1 - errors[best] / np.var(np.asarray(target)[::5]))
    places = (jnp.asarray(centre), jnp.asarray(np.where(scale > 0, scale, 1.0)))
    return Regression(*places, u, coefficients, width, r_squared)


def as_number(feature: Any, dim: int) -> Partial:
    """The feature as a Partial; a ValueError unless it maps one θ to a number."""
    if not callable(feature):
        raise ValueError(
            f"feature must be a function of one θ, got {type(feature).__name__}; a column of "
            "simulated values becomes one by analysis.regression(theta, values)"
        )
    shape = jax.eval_shape(feature, jax.ShapeDtypeStruct((dim,), jnp.zeros(()).dtype))
    if getattr(shape, "shape", None) != ():
        raise ValueError(f"feature must map one θ ({dim},) to a number, got {shape}")
    if isinstance(feature, Regression):
        return Partial(Regression.__call__, feature)
    return feature if isinstance(feature, Partial) else Partial(feature)


@jax.jit
def _density_slopes(density: Partial, theta: Float[Array, "n d"]) -> Float[Array, "n d"]:
    def one(theta: Array) -> Array:
        return jax.grad(lambda t: density(t[None])[0])(theta)

    return jax.lax.map(one, theta, batch_size=256)


@jax.jit
def _feature_slopes(feature: Partial, theta: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return jax.lax.map(jax.grad(feature), theta, batch_size=256)


def _features(u: Array, rows: Array, width: Array) -> Array:
    squared = jnp.sum((u[:, None] - rows) ** 2, axis=-1)
    bumps = jnp.exp(-squared / (2 * width**2))
    return jnp.concatenate([bumps, u, jnp.ones((len(u), 1))], axis=1)


def _fit(u: Array, y: Array, weights: Array, width: Array, ridge: Array) -> Array:
    """Ridge regression on kernel and line, dual form: (n + d + 1,) coefficients."""
    n = len(u)
    whole = _features(u, u, width)
    line = whole[:, n:]
    kernel = (whole[:, :n] + line @ line.T) * weights * weights[:, None]
    system = kernel + ridge * jnp.eye(n)
    dual = weights * jax.scipy.linalg.solve(system, weights * y, assume_a="pos")
    return jnp.concatenate([dual, dual @ line])


@jax.jit
def _held_out_errors(u: Array, y: Array, held_out: Array, widths: Array, ridges: Array) -> Array:
    """Mean squared error on the rows held out, for each width and ridge."""

    def error(width: Array, ridge: Array) -> Array:
        fitted = _features(u, u, width) @ _fit(u, y, 1.0 - held_out, width, ridge)
        return jnp.sum(jnp.where(held_out, (fitted - y) ** 2, 0.0)) / jnp.sum(held_out)

    each = jnp.stack(jnp.meshgrid(widths, ridges, indexing="ij"), axis=-1).reshape(-1, 2)
    errors = jax.lax.map(lambda pair: error(*pair), each)
    return errors.reshape(len(widths), len(ridges))
