"""What a posterior says: p(θ_i | x_o), and regions {θ : p(θ | x_o) ≥ c} of mass .5, .8, .95."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxsbi.analysis import condition
from jaxsbi.analysis.densities import indices
from jaxsbi.plotting import panels
from jaxsbi.plotting.canvas import BLUE, label, line, patch, style
from jaxsbi.plotting.densities import edged
from jaxsbi.plotting.layouts import (
    MANY,
    grid,
    legend_above,
    mark_size,
    small,
    ticks,
    triangle,
    triangle_legend,
)
from jaxsbi.plotting.parameters import axes_of, curves, marked, matrix
from jaxsbi.types import Data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRIOR = "#888888"
PRIOR_DRAWS = 20_000


def pairs(
    samples,
    prior: Any = None,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    limits=None,
    truth=None,
    points: Mapping[str, np.ndarray] | None = None,
    paths: Mapping[str, Any] | None = None,
) -> Figure:
    """p(θ_i) on the diagonal, the 50, 80 and 95 % regions of p(θ_i, θ_j) above it.

    samples: (n, d), d from 1 to 31 and beyond.
    prior: gives names, units and, by its bounds, the range drawn, at which densities are mirrored;
        without bounds, or without a prior, the range is that of the samples.
    names, units, limits: (d,), (d,) and (d, 2), in place of the prior's.
    truth, points: θ (d,) to be marked, and others by name, such as {"MAP": …}.
    paths: θ (n, d) by name, or what `jaxsbi.analysis.path` gives.
    """
    samples = matrix("samples", samples)
    marks = marked(truth, points, samples.shape[1])
    trails = curves(paths, samples.shape[1])
    rows = [m[None] for m in marks.values()]
    of = axes_of(prior, names, units, limits, samples, *rows, *trails.values())
    d, many = of.dim, of.dim > MANY
    with style():
        figure, axes = triangle(of)
        for (i, j), axis in axes.items():
            if i == j:
                peak = panels.marginal(axis, samples[:, i], of.limits[i])
                panels.mark_lines(axis, marks, i, 0.5 if many else 0.9)
                axis.set_ylim(0, 1.08 * peak if peak > 0 else 1)
            else:
                panels.regions(axis, samples[:, [j, i]], of.limits[j], of.limits[i], many)
                panels.mark_trails(axis, trails, (j, i), mark_size(axis))
                panels.mark_points(axis, marks, (j, i), mark_size(axis))
        handles = panels.region_handles() if d > 1 else []
        handles += panels.mark_handles(marks, lines_only=d == 1)
        triangle_legend(figure, handles + (panels.trail_handles(trails) if d > 1 else []), d)
    return figure


def conditional_pairs(
    posterior: Any,
    theta,
    *,
    free: Sequence[str] | None = None,
    samples=None,
    resolution: int = 50,
    limits=None,
    x: Data | None = None,
) -> Figure:
    """p(θ_i | all other θ) on the diagonal, the regions of p(θ_i, θ_j | all other θ) above it.

    theta: (d,), the values at which the others are held, such as a posterior draw; marked.
    free: the parameters that are drawn, by name, in that order; all of them by default.
    samples: (n, d), posterior draws, whose marginals are drawn in grey on the diagonal.
    resolution, limits: cells of a slice along each parameter within (d, 2), by default the prior's
        range.
    """
    prior = posterior.prior
    theta = matrix("theta", np.reshape(theta, (1, -1)), prior.dim)
    samples = None if samples is None else matrix("samples", samples, prior.dim)
    drawn = np.asarray(prior.sample(jax.random.key(0), PRIOR_DRAWS), float)
    every = axes_of(prior, None, None, limits, drawn, theta)
    at = list(range(every.dim) if free is None else indices("free", free, prior))
    of, held = every.at(at), {"held at": theta[0, at]}
    many = of.dim > MANY

    def cut(*places: int):
        given = condition(posterior, theta[0], free=[of.names[i] for i in places], x=x)
        return given.grid(resolution, limits=tuple(every.limits.T))

    with style():
        figure, axes = triangle(of)
        for (i, j), axis in axes.items():
            if i == j:
                found = cut(i)
                peak = panels.curve(axis, found.axes[0], found.density, of.limits[i])
                if samples is not None:
                    grey = panels.marginal(axis, samples[:, at[i]], of.limits[i], PRIOR, fill=None)
                    peak = max(peak, grey)
                axis.set_ylim(0, 1.08 * peak)
                panels.mark_lines(axis, held, i, 0.5 if many else 0.9)
            else:
                found = cut(j, i)
                within = of.limits[j], of.limits[i]
                panels.surface(axis, *edged(*found.axes, found.density.T, *within), *within, many)
                panels.mark_points(axis, held, (j, i), mark_size(axis))
        handles = panels.region_handles() if of.dim > 1 else []
        handles += panels.mark_handles(held, lines_only=of.dim == 1)
        handles += [line(BLUE, "conditional")]
        handles += [] if samples is None else [line(PRIOR, "marginal")]
        triangle_legend(figure, handles, of.dim)
    return figure


def marginals(
    samples,
    prior: Any = None,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    limits=None,
    truth=None,
    points: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """p(θ_i | x_o) for each i in small panels, p(θ_i) of the prior, if given, in grey.

    samples (n, d); names, units, limits, truth and points as for `pairs`.
    """
    samples = matrix("samples", samples)
    marks = marked(truth, points, samples.shape[1])
    of = axes_of(prior, names, units, limits, samples, *(m[None] for m in marks.values()))
    before = None if prior is None else _spread(prior)
    with style():
        figure, axes = grid(of.dim, 1.25)
        for i, axis in enumerate(axes):
            if before is not None:
                panels.marginal(axis, before[:, i], of.limits[i], PRIOR, None)
            panels.marginal(axis, samples[:, i], of.limits[i])
            panels.mark_lines(axis, marks, i)
            axis.set_xlabel(label(of.names[i], of.units[i]), fontsize=small(of.dim))
            axis.set(yticks=[], ylim=(0, None))
            ticks(axis, of.dim)
            axis.spines["left"].set_visible(False)
        handles = [patch(panels.TINTS[0], "posterior")]
        handles += [] if before is None else [line(PRIOR, "prior")]
        handles += panels.mark_handles(marks, lines_only=True)
        legend_above(figure, handles)
    return figure


def _spread(prior: Any) -> np.ndarray:
    """Draws (n, d) of the prior, evenly spread where it has quantiles: a curve without ripples."""
    from scipy import stats

    if not getattr(prior, "gaussian", False):
        return np.asarray(prior.sample(jax.random.key(0), PRIOR_DRAWS), float)
    shares = stats.qmc.LatinHypercube(prior.dim, rng=0).random(PRIOR_DRAWS)
    return np.asarray(prior.to_theta(stats.norm.ppf(shares)), float)
