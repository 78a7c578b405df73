"""The figures of the study of potassium channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments import closeup, one_posterior
from experiments.channels_targets import DRAWN, FAMILIES
from jaxsbi import plotting
from jaxsbi.plotting.canvas import BLUE, GREY, PAGE, figure_of, line, patch, style
from jaxsbi.plotting.layouts import legend_above

if TYPE_CHECKING:
    from experiments.channels import Outcome

SHADE = "#888888"
LEAST = 1e-5
"""Of one less a correlation, drawn."""


def reached(outcome: Outcome) -> np.ndarray:
    """Which of the n channels the prior reaches."""
    return outcome.reach.reached[outcome.channels.distinct[1]]


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    of = outcome.posterior.prior
    more = {}
    for i, d in enumerate(outcome.details[1:]):  # the first is among the figures every study has
        truth, mode = outcome.channels.theta[d.row], outcome.modes[d.row]
        near = closeup.limits(d.draws, of, truth, mode)
        more[f"posterior_{i + 2}"] = plotting.pairs(
            d.draws, of, limits=near, truth=truth, points={"MAP": mode}
        )
    return one_posterior.draw(
        folder, outcome.found, correlations=correlations(outcome), currents=currents(outcome),
        **more,
    )  # fmt: skip


def correlations(outcome: Outcome):
    """One less the correlation: a histogram over all channels, and every channel by its family."""
    within, far = reached(outcome), np.clip(1 - outcome.correlations, LEAST, None)
    families = np.array(outcome.channels.families)
    kinds = [f for f in (*FAMILIES, DRAWN) if f in families]
    with style():
        figure = figure_of(PAGE, 2.6, layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True)
        bins = np.geomspace(LEAST, 2, 40)
        left.hist([far[within], far[~within]], bins, stacked=True, color=[BLUE, GREY])
        left.set(ylabel="channels")
        shifts = np.random.default_rng(0).uniform(-0.3, 0.3, len(far))
        for row, kind in enumerate(kinds):
            for side, colour in ((within, BLUE), (~within, SHADE)):
                some = (families == kind) & side
                right.plot(
                    far[some], row + shifts[some], "o", ms=2.5, mew=0, alpha=0.6, color=colour
                )
        right.set(yticks=range(len(kinds)), yticklabels=kinds, ylim=(len(kinds) - 0.5, -0.5))
        right.set(xscale="log", xlim=(2, LEAST))
        figure.supxlabel("1 − correlation of the currents", fontsize=8)
        handles = [patch(BLUE, "the prior reaches the channel")]
        if not within.all():
            handles.append(patch(GREY, "it does not"))
        legend_above(figure, handles)
    return figure


def currents(outcome: Outcome):
    """Of each detailed channel a run under each protocol, and one of the mode."""
    details, names = outcome.details, outcome.config.clamps
    with style():
        figure = figure_of(PAGE, 0.6 + 1.2 * len(details), layout="constrained")
        axes = figure.subplots(len(details), len(names), sharex="col", sharey=True, squeeze=False)
        for row, d in zip(axes, details, strict=True):
            for axis, time, one, other in zip(row, d.times, d.current, d.of_mode, strict=True):
                axis.plot(time, one.T, color=SHADE, lw=1.6)
                axis.plot(time, other.T, color=BLUE, lw=0.6)
                axis.locator_params(axis="x", nbins=3)
            short = re.sub(r"^\d+_", "", bare(outcome, d.row))
            row[0].set_ylabel(f"{short}\nI / max I", fontsize=7)
        for axis, name in zip(axes[0], names, strict=True):
            axis.set_title(name)
        figure.supxlabel("t [ms]", fontsize=8)
        legend_above(
            figure, [line(SHADE, "channel", 1.6), line(BLUE, "mode of its posterior", 0.8)]
        )
    return figure


def bare(outcome: Outcome, row: int) -> str:
    """The name of a channel without the ending of its file."""
    return outcome.channels.names[row].removesuffix(".mod")
