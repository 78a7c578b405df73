"""Figures of circuits: their voltages, how they fare along paths, what each round simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.shares import Share
from experiments.stg_circuits import Voltages, Ways
from experiments.stg_presets import COMPLETE_SHARE, PAPER_ACROSS
from jaxsbi.plotting.canvas import BLUE, INK, PAGE, RED, figure_of, line, style, symbols
from jaxsbi.plotting.layouts import legend_above
from simulators import stg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AVERAGED = 5  # neighbouring points


def rhythms(voltages: Voltages) -> Figure:
    """V(t) of the three neurons of each of up to four circuits, one a panel, on one scale."""
    shift, rows = 1.2 * max(1.0, np.ptp(voltages.voltage)), -(-len(voltages.names) // 2)
    with style():
        figure = figure_of(PAGE, 1.95 * rows, layout="constrained")
        panels = figure.subplots(rows, 2, sharex=True, sharey=True).ravel()
        for panel in panels[len(voltages.names) :]:
            panel.remove()
        panels = panels[: len(voltages.names)]
        for axis, name, circuit in zip(panels, voltages.names, voltages.voltage, strict=True):
            for i, (neuron, voltage) in enumerate(zip(stg.NEURONS, circuit, strict=True)):
                axis.plot(voltages.time / 1000, voltage - i * shift, color=INK, lw=0.4)
                axis.annotate(
                    neuron, (0, np.median(voltage) - i * shift), (-4, 0), ha="right", va="center",
                    xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7,
                )  # fmt: skip
            axis.set_title(symbols(name), loc="left", pad=2)
            axis.set(yticks=[], xlim=(voltages.time[0] / 1000, voltages.time[-1] / 1000))
            axis.spines["left"].set_visible(False)
        end = voltages.time[-1] / 1000
        bottom = -2 * shift + np.min(voltages.voltage)
        panels[0].plot([end, end], [bottom, bottom + 50], color=RED, lw=1.2, clip_on=False)
        panels[0].annotate("50 mV", (end, bottom + 25), (3, 0), textcoords="offset points",
                           va="center", fontsize=6.5, annotation_clip=False)  # fmt: skip
        for axis in panels[-2:]:
            axis.set_xlabel("time [s]")
    return figure


def on_the_way(ways: Ways) -> Figure:
    """Share of pyloric runs at each point, and the mean of neighbouring points.

    Across the path, dotted: the length of the paper's.
    """
    both = (("path of high probability", ways.path, ways.along, BLUE),
            ("path across it", ways.orthogonal, ways.across, RED))  # fmt: skip
    lengths = [path.length for _, path, _, _ in both]
    with style():
        figure = figure_of(PAGE, 2.1, layout="constrained")
        axes = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1.2))
        for axis, (name, path, circuits, colour), length in zip(axes, both, lengths, strict=True):
            steps = np.linalg.norm(np.diff(path.u, axis=0), axis=1)
            at = np.concatenate([[0.0], np.cumsum(steps)])
            shares = circuits.pyloric.mean(axis=1)
            axis.plot(at, shares, ".", color=colour, ms=3, alpha=0.5, clip_on=False)
            axis.plot(at, smoothed(shares), color=colour, lw=1.2)
            axis.set_title(name, loc="left", color=colour)
            axis.set(ylim=(-0.03, 1.03), xlim=(0, max(length, 1e-3)))
            axis.locator_params(axis="x", nbins=5)
        axes[1].axvline(PAPER_ACROSS.share * lengths[0], color=INK, lw=0.6, ls=":")
        axes[0].set_ylabel("share of pyloric runs")
        figure.supxlabel("length in the prior's standard coordinates", fontsize=8)
    return figure


def smoothed(shares: np.ndarray, width: int = AVERAGED) -> np.ndarray:
    """Means over `width` neighbouring points, over fewer at the ends."""
    window = np.ones(min(width, len(shares)))
    total = np.convolve(shares, window, "same")
    return total / np.convolve(np.ones(len(shares)), window, "same")


def by_round(shares: Sequence[Share]) -> Figure:
    """Share of the simulations of each round that had all features, with its interval."""
    number = np.arange(1, len(shares) + 1)
    values = np.array([share.value for share in shares])
    ends = np.array([share.interval for share in shares])
    with style():
        figure = figure_of(3.4, 2.2, layout="constrained")
        axis = figure.subplots()
        axis.axhline(100 * COMPLETE_SHARE, color=INK, lw=0.6, ls="--")
        axis.errorbar(number, 100 * values, 100 * np.abs(ends.T - values), fmt="o-", color=BLUE,
                      ms=3.5, lw=1.0, elinewidth=0.8)  # fmt: skip
        axis.set(xlabel="round", ylabel="with all features [%]", ylim=(0, None))
        axis.set_xticks(number[:: max(1, len(number) // 10)])
        handles = [line(BLUE, "simulations", 1.0, "o"),
                   line(INK, "of the prior", 0.6, None, "--")]  # fmt: skip
        legend_above(figure, handles)
    return figure
