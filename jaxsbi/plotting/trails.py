"""Along a path through the posterior: log p(θ | x) and every θ_i against the length travelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsbi.analysis import Path
from jaxsbi.plotting.canvas import line, style
from jaxsbi.plotting.layouts import grid, legend_above, name_axes, small, ticks, titled
from jaxsbi.plotting.panels import within
from jaxsbi.plotting.parameters import axes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


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
        titled(axes[0], "log p(θ | x) − max", "nats", 1 + of.dim)
        for i, axis in enumerate(axes[1:]):
            titled(axis, of.names[i], of.units[i], 1 + of.dim)
            axis.set_ylim(*of.limits[i])
        looks = LOOKS * len(named)
        for each, (colour, dashes) in zip(named.values(), looks, strict=False):
            steps = np.linalg.norm(np.diff(each.u, axis=0), axis=1)
            length = np.concatenate([[0.0], np.cumsum(steps)])
            for axis, values in zip(axes, [each.log_prob - peak, *each.theta.T], strict=True):
                axis.plot(length, values, dashes, color=colour)
                cut = not within(values[-1], axis.get_ylim())
                axis.plot(length[-1], values[-1], "o", color=colour, ms=2.5, clip_on=cut)
        for axis in axes:
            axis.locator_params(axis="y", nbins=4 if size > 7 else 3)
            ticks(axis, 1 + of.dim)
        name_axes(figure, axes, "length in standard coordinates; a dot where the path ends")
        handles = (line(c, name, dashes=s) for name, (c, s) in zip(named, looks, strict=False))
        legend_above(figure, list(handles))
    return figure
