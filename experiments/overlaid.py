"""Marginals of several posteriors of a Hodgkin–Huxley neuron, one over the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting.canvas import GREY, PAGE, RED, figure_of, label, line, patch, style
from jaxsbi.plotting.layouts import legend_above
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40


def marginals(
    groups: Mapping[str, tuple[str, np.ndarray]], truth: Sequence[float] | None = None
) -> Figure:
    """p(θ_i) of groups of draws (n, 8) by name, each in its colour; grey ones are filled.

    truth: the parameters (8,) behind the observation, if they are known.
    """
    with style():
        figure = figure_of(PAGE, 3.4, layout="constrained")
        for i, (axis, of) in enumerate(
            zip(figure.subplots(2, 4).ravel(), hh.PARAMETERS, strict=True)
        ):
            bins = np.linspace(of.low, of.high, BINS)
            for colour, draws in groups.values():
                counts, edges = np.histogram(draws[:, i], bins, density=True)
                axis.stairs(counts, edges, color=colour, fill=colour == GREY, lw=1.1)
            if truth is not None:
                axis.axvline(truth[i], color=RED, lw=1.0)
            axis.set_xlabel(label(of.name, of.unit))
            axis.set(yticks=[], ylim=(0, None), xlim=(of.low, of.high))
            axis.spines["left"].set_visible(False)
            axis.locator_params(axis="x", nbins=4)
        handles = [
            (patch if colour == GREY else line)(colour, name)
            for name, (colour, _) in groups.items()
        ]
        legend_above(figure, handles + ([] if truth is None else [line(RED, "truth")]))
    return figure
