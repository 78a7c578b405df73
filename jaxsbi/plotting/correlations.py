"""Matrices of corr(θ_i, θ_j): marginal, and beside it conditional on all other parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.analysis import Correlations
from jaxsbi.plotting.canvas import GREY, PAGE, figure_of, inches, style, symbols
from jaxsbi.plotting.parameters import texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "PuOr_r"  # told apart by all kinds of colour vision
NUMBERED = 9  # parameters up to which cells hold numbers


def correlations(
    marginal: Correlations,
    conditional: Correlations | None = None,
    *,
    titles: tuple[str, str] = ("marginal", "conditional on all others"),
) -> Figure:
    """corr(θ_i, θ_j) as colours from −1 to 1, the conditional matrix beside the marginal one.

    Of `jaxsbi.analysis.marginal_correlations` and `conditional_correlations`. Pairs that were not
    asked for (NaN) stay grey.
    """
    found = [c for c in (marginal, conditional) if c is not None]
    names = texts("conditional.names", found[-1].names, len(marginal.names))
    d = len(names)
    size = 7.0 if d <= NUMBERED else max(4.2, min(7.0, 160 / d))
    said = [symbols(name) for name in names]
    with style():
        margin = max(inches(name, size) for name in said) + 0.15
        bar, gap, top = 0.62, 0.14, 0.24
        side = min((PAGE - margin - bar - gap) / 2, 0.45 * d + 0.6)
        width = margin + len(found) * side + (len(found) - 1) * gap + bar
        height = side + margin + top
        figure = figure_of(width, height)

        def place(x: float, w: float):
            return figure.add_axes((x / width, margin / height, w / width, side / height))

        for k, each in enumerate(found):
            axis = place(margin + k * (side + gap), side)
            image = _matrix(axis, each.matrix, d)
            axis.set_xticks(range(d), said, rotation=90, fontsize=size)
            axis.set_yticks(range(d), said if k == 0 else [""] * d, fontsize=size)
            axis.tick_params(length=0, pad=2)
            axis.set_title(titles[k], pad=4)
        colours = figure.colorbar(
            image, cax=place(width - bar + 0.1, 0.1), ticks=[-1, -0.5, 0, 0.5, 1]
        )
        colours.ax.set_yticklabels(["−1", "−½", "0", "½", "1"])
        colours.set_label("correlation", labelpad=0)
        colours.outline.set_linewidth(0.4)
    return figure


def _matrix(axis, values: np.ndarray, d: int):
    shown = np.where(np.eye(d, dtype=bool), np.nan, values)
    axis.set_facecolor(GREY)
    image = axis.imshow(shown, cmap=COLOURS, vmin=-1, vmax=1, aspect="auto")
    for spine in axis.spines.values():
        spine.set(visible=True, linewidth=0.4, color="#999999")
    if d <= NUMBERED:
        for i, j in np.argwhere(np.isfinite(shown)):
            ink = "white" if abs(shown[i, j]) > 0.65 else "black"
            text = f"{shown[i, j]:z.2f}".replace("-", "−")
            axis.text(j, i, text, ha="center", va="center", fontsize=6, color=ink)
    return image
