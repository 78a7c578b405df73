"""Paths through a posterior: along its ridge, and steeply down from it.

Two different circuits may behave alike; a path of high probability between them shows whether the
solutions in between do too, and one across it how soon they cease to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float
from scipy.optimize import minimize

from jaxsbi.analysis.densities import Scales, as_point, density_of, draws_of, scales
from jaxsbi.arguments import check_count, check_real
from jaxsbi.types import Data

POINTS, WAVES = 80, 2
DRAWS = 1000
MARGIN = 1e-5
"""How far within the prior's bounds a descent keeps, so that rounding leads to none outside."""
WALL = 1e4
"""Cost per length of what lies outside the prior, in place of ∞."""


@dataclass(frozen=True)
class Path:
    """Points θ (n, d) of a path, with log p(θ | x) up to a constant (n,).

    u: the points in the prior's standard coordinates, in which lengths are measured.
    cost: ∫ (zero − log p) |du| of a path of high probability; NaN of another.
    """

    names: tuple[str, ...]
    theta: Float[np.ndarray, "n d"]
    u: Float[np.ndarray, "n d"]
    log_prob: Float[np.ndarray, " n"]
    cost: float = float("nan")

    @property
    def length(self) -> float:
        """In the prior's standard coordinates."""
        return float(np.sum(np.linalg.norm(np.diff(self.u, axis=0), axis=1)))

    def tangent(self, at: int) -> Float[np.ndarray, " d"]:
        """Unit vector along the path at a point, in standard coordinates."""
        along = self.u[min(at + 1, len(self.u) - 1)] - self.u[max(at - 1, 0)]
        return along / np.linalg.norm(along)


def path(
    posterior: Any,
    start: Float[Array, " d"],
    end: Float[Array, " d"],
    *,
    waves: int = WAVES,
    points: int = POINTS,
    zero: float | None = None,
    x: Data | None = None,
) -> Path:
    """argmin ∫ (zero − log p(θ(s) | x)) |θ'(s)| ds over curves from start to end: high probability.

    θ(s) = start + s (end − start) + Σ_{k ≤ waves} (α_k sin πks + β_k sin² πks), in the prior's
    standard coordinates, by BFGS with gradients by automatic differentiation; outside the prior
    the cost has no end. Gonçalves et al. 2020, fig. 6; there `zero` is 0 for a density in standard
    coordinates, and a length of high density costs little or less than nothing.

    zero: the log density of which a length costs nothing; by default one nat above the highest
        among posterior draws, so that no detour gains.
    """
    points = check_count("points", points, 3)
    check_count("waves", waves)
    density, known = density_of(posterior, x), scales(posterior.prior)
    ends = [as_point(name, t, posterior) for name, t in (("start", start), ("end", end))]
    first, last = ((np.asarray(t, float) - known.centre) / known.scale for t in ends)
    distance = np.linalg.norm(last - first)
    if distance == 0:
        raise ValueError("end must differ from start, got the same point")
    if zero is None:
        some = draws_of(jax.random.key(0), posterior, DRAWS, x)
        zero = float(jnp.max(_at(density, jnp.concatenate([some, jnp.stack(ends)])))) + 1.0
    arguments = (density, _floats(known), jnp.asarray(first), jnp.asarray(last), jnp.asarray(zero))

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        waves_of = jnp.asarray(flat.reshape(2, waves, -1))
        value, gradient = _cost_and_gradient(waves_of, points, *arguments)
        return float(value), np.asarray(gradient, float).ravel()

    found = minimize(cost, np.zeros(2 * waves * len(first)), jac=True, method="BFGS")
    u = np.asarray(_curve(jnp.asarray(found.x.reshape(2, waves, -1)), points, *arguments[2:4]))
    return _path(posterior, known, density, u, float(found.fun))


def orthogonal_path(
    posterior: Any,
    along: Path,
    *,
    at: int = 23,
    step: float = 0.01,
    share: float = 1 / 27,
    x: Data | None = None,
) -> Path:
    """Steepest descent of log p(θ | x) within the hyperplane across a path, from its point `at`.

    Steps of length `step` in the prior's standard coordinates along minus the gradient, of which
    the part along the path's tangent at that point is left out; kept inside the prior's bounds;
    as many as make up `share` of the path's length. The defaults are the paper's (Gonçalves et al.
    2020, fig. 6), whose 24th point is `at` = 23.
    """
    if not isinstance(along, Path):
        raise ValueError(f"along must be a path, such as analysis.path gives, got {along!r:.80}")
    if not 0 <= check_count("at", at, 0) < len(along.u):
        raise ValueError(f"at must be a point of the path, 0 to {len(along.u) - 1}, got {at}")
    check_real("step", step, 0.0, np.inf)
    check_real("share", share, 0.0, np.inf)
    density, known = density_of(posterior, x), scales(posterior.prior)
    low, high = ((np.asarray(b) - known.centre) / known.scale for b in posterior.prior.bounds)
    bounds = jnp.asarray(low + MARGIN), jnp.asarray(high - MARGIN)
    points = max(1, round(share * along.length / step)) + 1
    u = _descent(
        points, density, _floats(known), bounds, jnp.asarray(along.u[at]),
        jnp.asarray(along.tangent(at)), jnp.asarray(step),
    )  # fmt: skip
    return _path(posterior, known, density, np.asarray(u, float), float("nan"))


def _path(posterior: Any, known: Scales, density: Partial, u: np.ndarray, cost: float) -> Path:
    theta = known.centre + known.scale * u
    values = np.asarray(_at(density, jnp.asarray(theta)))
    return Path(posterior.prior.names, theta, u, values, cost)


def _floats(known: Scales) -> Scales:
    return Scales(*(jnp.asarray(part, jnp.result_type(float)) for part in known))


@jax.jit
def _at(density: Partial, theta: Float[Array, "n d"]) -> Float[Array, " n"]:
    return density(theta)


def _curve(waves: Array, points: int, first: Array, last: Array) -> Float[Array, "n d"]:
    s = jnp.linspace(0.0, 1.0, points)
    sines = jnp.sin(jnp.pi * s[:, None] * jnp.arange(1, waves.shape[1] + 1))
    bends = sines @ waves[0] + sines**2 @ waves[1]
    return first + s[:, None] * (last - first) + jnp.linalg.norm(last - first) * bends


def _cost(
    waves: Array,
    points: int,
    density: Partial,
    known: Scales,
    first: Array,
    last: Array,
    zero: Array,
) -> Float[Array, ""]:
    u = _curve(waves, points, first, last)
    low, high = ((end - known.centre) / known.scale for end in (known.low, known.high))
    beyond = jnp.sum(jnp.maximum(low - u, 0.0) + jnp.maximum(u - high, 0.0), axis=1)
    log_p = density(known.centre + known.scale * u)
    rate = jnp.where(jnp.isfinite(log_p), zero - log_p, WALL * (1 + beyond))
    lengths = jnp.sqrt(jnp.sum(jnp.diff(u, axis=0) ** 2, axis=1) + 1e-20)
    return jnp.sum(lengths * (rate[1:] + rate[:-1]) / 2)


_cost_and_gradient = jax.jit(jax.value_and_grad(_cost), static_argnums=1)


def _across(direction: Array, tangent: Array, movable: Array) -> Array:
    """The part of a direction across the tangent that moves only what may move, of length 1."""
    tangent, direction = tangent * movable, direction * movable
    across = direction - tangent * (tangent @ direction) / jnp.maximum(tangent @ tangent, 1e-30)
    return across / jnp.maximum(jnp.linalg.norm(across), 1e-30)


@partial(jax.jit, static_argnums=0)
def _descent(
    points: int,
    density: Partial,
    known: Scales,
    bounds: tuple[Array, Array],
    start: Float[Array, " d"],
    tangent: Float[Array, " d"],
    step: Float[Array, ""],
) -> Float[Array, "n d"]:
    low, high = bounds

    def log_p(u: Array) -> Array:
        return density((known.centre + known.scale * u)[None])[0]

    def move(u: Array, _: None) -> tuple[Array, Array]:
        downhill = -jnp.nan_to_num(jax.grad(log_p)(u))
        reached = u + step * _across(downhill, tangent, jnp.ones_like(u))
        movable = ((reached >= low) & (reached <= high)).astype(u.dtype)
        reached = u + step * _across(downhill, tangent, movable)
        reached = jnp.where(jnp.all((reached >= low) & (reached <= high)), reached, u)
        return reached, reached

    _, rest = jax.lax.scan(move, start, length=points - 1)
    return jnp.concatenate([start[None], rest])
