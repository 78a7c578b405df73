"""Along a path through the posterior: log p(θ | x) and every θ_i against the length travelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsbi.analysis import Path
from jaxsbi.plotting.canvas import INK, line, style
from jaxsbi.plotting.layouts import grid, legend_above, small, ticks, titled
from jaxsbi.plotting.parameters import axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def paths(found: Path | Mapping[str, Path], prior: Any = None, *, limits=None) -> Figure:
    """log p(θ | x), and each θ_i, along paths by name, such as a ridge and the way down from it.

    found: of `jaxsbi.analysis.path` and `orthogonal_path`. Lengths are in the prior's standard
        coordinates, from each path's start.
    prior: gives units, and the ranges drawn.
    """
    named = {"path": found} if isinstance(found, Path) else dict(found)
    if not named or not all(isinstance(each, Path) for each in named.values()):
        raise ValueError(f"found: expected paths such as analysis.path gives, came {found!r:.80}")
    thetas = [each.theta for each in named.values()]
    names = next(iter(named.values())).names
    of = axes_of(prior, names, None, limits, np.concatenate(thetas))
    peak = max(np.max(each.log_prob) for each in named.values())
    with style():
        figure, axes = grid(1 + of.dim, 1.3)
        size = small(1 + of.dim)
        axes[0].set_title("log p(θ | x) − max", fontsize=size, color=INK, pad=3)
        for i, axis in enumerate(axes[1:]):
            titled(axis, of.names[i], of.units[i], 1 + of.dim)
            axis.set_ylim(*of.limits[i])
        for each, colour in zip(named.values(), COLOURS * len(named), strict=False):
            steps = np.linalg.norm(np.diff(each.u, axis=0), axis=1)
            length = np.concatenate([[0.0], np.cumsum(steps)])
            for axis, values in zip(axes, [each.log_prob - peak, *each.theta.T], strict=True):
                axis.plot(length, values, color=colour)
                axis.plot(length[-1], values[-1], "o", color=colour, ms=2.5)
        for axis in axes:
            axis.locator_params(axis="y", nbins=4 if size > 7 else 3)
            ticks(axis, 1 + of.dim)
        figure.supxlabel("length in standard coordinates", fontsize=8)
        legend_above(
            figure, [line(c, name) for c, name in zip(COLOURS * len(named), named, strict=False)]
        )
    return figure
