"""What a posterior says: p(θ_i | x_o), and regions {θ : p(θ | x_o) ≥ c} of mass .5, .8, .95."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting import panels
from jaxsbi.plotting.canvas import PAGE, figure_of, grid, label, line, matrix, patch, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MANY = 9  # beyond it panels are too small for tick labels
PRIOR = "#888888"


def pair_plot(
    samples,
    *,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    limits=None,
    truth=None,
    points: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """p(θ_i) on the diagonal, the 50, 80 and 95 % regions of p(θ_i, θ_j) above it.

    samples: (n, d), d from 1 to 31 and beyond. limits: (d, 2), such as the prior's bounds, where
    densities are mirrored; by default what the samples span. truth and each of points (d,), such
    as {"MAP": …}, are marked.
    """
    samples, names, units, limits, marks = panels.checked(
        samples, names, units, limits, truth, points
    )
    d = len(names)
    many = d > MANY
    left, right, top, bottom = (1.0 if many else 0.15), 0.15, 0.08, (0.1 if many else 0.42)
    if d == 1:
        top = 0.28
    side = min({1: 2.4, 2: 1.6}.get(d, 1.25), (PAGE - left - right) / d)
    width, height = left + right + d * side, top + bottom + d * side
    gap = 0.06 * side
    with style():
        figure = figure_of(width, height)
        for i in range(d):
            for j in range(i, d):
                x, y = left + j * side, height - top - (i + 1) * side
                axis = figure.add_axes(
                    (x / width, y / height, (side - gap) / width, (side - gap) / height)
                )
                panels.frame(axis)
                if i == j:
                    panels.mark_lines(axis, marks, i, 0.5 if many else 0.9)
                    peak = panels.marginal(axis, samples[:, i], limits[i])
                    axis.set_ylim(0, 1.08 * peak if peak > 0 else 1)
                    _name_diagonal(axis, names[i], units[i], limits[i], many)
                else:
                    pairs = samples[:, [j, i]]
                    panels.regions(axis, pairs, limits[j], limits[i], many)
                    panels.mark_points(axis, marks, (j, i), 1.2 if many else 4)
        handles = panels.region_handles() if d > 1 else []
        handles += panels.mark_handles(marks, lines_only=d == 1)
        if d == 1:
            figure.legend(handles=handles, loc="upper center", ncols=3)
        else:
            figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.1 / width, 0.0))
    return figure


def _name_diagonal(axis, name: str, unit: str, limits, many: bool) -> None:
    # The lower triangle is empty: the labels of a diagonal panel stand there, below or beside it.
    if many:
        axis.set_ylabel(
            label(name, unit), fontsize=5.5, rotation=0, ha="right", va="center", labelpad=3
        )
    else:
        panels.ends(axis, limits, 6)
        axis.set_xlabel(label(name, unit, "\n"), fontsize=7, labelpad=1)


def marginals(
    samples,
    *,
    names: Sequence[str],
    units: Sequence[str] | None = None,
    limits=None,
    truth=None,
    points: Mapping[str, np.ndarray] | None = None,
    prior=None,
) -> Figure:
    """p(θ_i | x_o) for each i in small panels; samples (n, d), samples of the prior (m, d) in grey.

    limits, truth and points as for `pair_plot`.
    """
    samples, names, units, limits, marks = panels.checked(
        samples, names, units, limits, truth, points
    )
    prior = None if prior is None else matrix("prior", prior, len(names))
    with style():
        figure, axes = grid(len(names), 1.25)
        for i, axis in enumerate(axes):
            if prior is not None:
                panels.marginal(axis, prior[:, i], limits[i], PRIOR, fill=None)
            panels.marginal(axis, samples[:, i], limits[i])
            panels.mark_lines(axis, marks, i)
            axis.set(xlabel=label(names[i], units[i]), yticks=[], ylim=(0, None))
            axis.locator_params(axis="x", nbins=4)
            axis.spines["left"].set_visible(False)
        handles = [patch(panels.TINTS[0], "posterior")]
        handles += [] if prior is None else [line(PRIOR, "prior")]
        handles += panels.mark_handles(marks, lines_only=True)
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure
