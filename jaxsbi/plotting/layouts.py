"""Where panels stand on the page: in rows, or on and above a diagonal, one for each pair of θ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting.canvas import PAGE, TALL, figure_of, inches, label, short, symbols
from jaxsbi.plotting.parameters import Axes

if TYPE_CHECKING:
    from matplotlib import axes
    from matplotlib.figure import Figure

MANY = 9  # beyond it panels of pairs are too small for tick labels
SMALL = 6.5  # points of the labels of such
FEW = 16  # panels in rows of four; more stand in rows of six


def grid(count: int, height: float, sharey: bool = False) -> tuple[Figure, list[axes.Axes]]:
    """`count` panels in rows of four, or six of many, each `height` inches; (figure, axes)."""
    columns = min(count, 4) if count <= FEW else 6
    rows = -(-count // columns)
    size = max(3.4, PAGE * columns / 4) if count <= FEW else PAGE
    height = 1.9 if count == 1 else min(height, (TALL - 0.45) / rows)
    figure = figure_of(size, 0.45 + rows * height, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07 if count <= FEW else 0.03, h_pad=0.06)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for panel in panels[count:]:
        panel.remove()
    return figure, list(panels[:count])


def name_axes(figure: Figure, panels: list[axes.Axes], x: str, y: str = "") -> None:
    """What all panels share along x and along y: beside them, or at the axes of a single one."""
    if len(panels) == 1:
        panels[0].set(xlabel=x, ylabel=y)
    else:
        figure.supxlabel(x, fontsize=8)
        figure.supylabel(y, fontsize=8)


def small(count: int) -> float:
    """Points of the labels of so many panels."""
    return 8.0 if count <= FEW else 6.0


def legend_above(figure: Figure, handles: list) -> None:
    """Over all panels, in as many columns as the page has room for."""
    widths = [inches(h.get_label(), 7) + 0.35 for h in handles]
    columns = int(min(len(handles), max(1, (figure.get_figwidth() - 0.2) // max(widths))))
    if sum(widths) <= figure.get_figwidth() - 0.2:
        columns = len(handles)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def ticks(axis, count: int) -> None:
    """Few along x, of few digits, and labels in the size of so many panels."""
    size = small(count)
    axis.locator_params(axis="x", nbins=4 if size > 7 else 3, steps=[1, 2, 5, 10])
    axis.tick_params(labelsize=min(7.0, size))


def titled(axis, name: str, unit: str, count: int) -> None:
    """Name and unit above one of so many panels."""
    size = small(count)
    axis.set_title(label(name, unit, " " if size > 7 else "\n"), fontsize=size, pad=3)


def triangle(of: Axes) -> tuple[Figure, dict[tuple[int, int], axes.Axes]]:
    """A panel for each (i, j), i ≤ j, row i and column j, with ranges, named on the diagonal.

    Of many, rows are named there and columns above the first row.
    """
    d, many = of.dim, of.dim > MANY
    left, right, top, bottom = 0.15, 0.15, 0.08, 0.42
    if many:
        said = [f"{label(n, u)}  {_range(r)}" for n, u, r in zip(*of, strict=True)]
        widths, bottom = [inches(text, SMALL) for text in said], 0.1
        top = 0.12 + max(inches(symbols(name), SMALL) for name in of.names)
        for _ in range(5):  # labels of lower rows have room in the empty triangle
            side = (PAGE - left - right) / d
            left = min(2.5, 0.12 + max(w - i * side for i, w in enumerate(widths)))
    elif d == 1:
        top = 0.28
    side = min({1: 2.4, 2: 1.6}.get(d, 1.25), (PAGE - left - right) / d)
    width, height, gap = left + right + d * side, top + bottom + d * side, 0.06 * side
    figure, panels = figure_of(width, height), {}
    for i in range(d):
        for j in range(i, d):
            x, y = left + j * side, height - top - (i + 1) * side
            size = (side - gap) / width, (side - gap) / height
            panels[i, j] = axis = figure.add_axes((x / width, y / height, *size))
            _frame(axis)
            if i == j and many:
                axis.set_ylabel(
                    said[i], fontsize=SMALL, rotation=0, ha="right", va="center", labelpad=3
                )
            elif i == j:
                _ends(axis, of.limits[i])
                axis.set_xlabel(label(of.names[i], of.units[i], "\n"), fontsize=7, labelpad=1)
            if many and i == 0:
                axis.set_title(symbols(of.names[j]), fontsize=SMALL, rotation=90, pad=3)
    return figure, panels


def mark_size(axis: axes.Axes) -> float:
    """Points across of a mark in a panel of a triangle: smaller where panels are."""
    inches_wide = axis.get_position().width * axis.figure.get_figwidth()
    return float(np.clip(3 * inches_wide, 1.3, 4))


def triangle_legend(figure: Figure, handles: list, d: int) -> None:
    """In the empty corner, or above a single panel."""
    if not handles:
        return
    if d == 1:
        figure.legend(handles=handles, loc="upper center", ncols=len(handles))
    else:
        place = (0.1 / figure.get_figwidth(), 0.0)
        figure.legend(handles=handles, loc="lower left", bbox_to_anchor=place)


def _range(limits) -> str:
    low, high = (short(v) for v in limits)
    return f"{low} … {high}"


def _frame(axis) -> None:
    """A thin grey box without ticks."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(visible=True, color="#999999", linewidth=0.4)


def _ends(axis, limits) -> None:
    """Tick labels at the two limits, each inside its own panel."""
    axis.set_xticks(list(limits), [short(v) for v in limits], fontsize=6)
    axis.tick_params(axis="x", length=1.5, width=0.4, color="#999999", pad=1.5)
    for text, side in zip(axis.get_xticklabels(), ("left", "right"), strict=True):
        text.set_horizontalalignment(side)
