"""Recorded and simulated voltages V(t), one above the other on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting.canvas import BLUE, INK, PAGE, figure_of, style
from jaxsbi.plotting.densities import thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def traces(
    time,
    observed,
    simulated: Mapping[str, np.ndarray],
    *,
    current=None,
    time_unit: str = "ms",
    voltage_unit: str = "mV",
    current_unit: str = "µA/cm²",
    observed_label: str = "observed",
) -> Figure:
    """V(t), one row per trace on one scale: the observed one (None: left out), then each simulated.

    time (n,); observed (n,); simulated {label: (n,)}; current (n,), drawn below.
    """
    time = np.asarray(time, float)
    rows = {} if observed is None else {observed_label: (np.asarray(observed, float), INK)}
    rows |= {label: (np.asarray(v, float), BLUE) for label, v in simulated.items()}
    lines = [v for v, _ in rows.values()] + ([] if current is None else [np.asarray(current)])
    if time.ndim != 1 or not lines or any(v.shape != time.shape for v in lines):
        raise ValueError(
            f"traces: expected time, observed, simulated and current of one shape (n,), came "
            f"{time.shape} and {[v.shape for v in lines]}"
        )
    finite = np.concatenate([v[np.isfinite(v)] for v, _ in rows.values()] or [np.zeros(1)])
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 1.0)
    pad = 0.05 * max(high - low, 1e-6)
    with style():
        heights = [1.0] * len(rows) + ([] if current is None else [0.7])
        figure = figure_of(PAGE, 0.5 + 0.85 * sum(heights), layout="constrained")
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        axes = axes[:, 0]
        for axis, (label, (voltage, colour)) in zip(axes, rows.items(), strict=False):
            axis.plot(*thin(time, voltage), color=colour, lw=0.7)
            axis.set_ylim(low - pad, high + pad)
            axis.set_ylabel(f"V [{voltage_unit}]")
            axis.set_title(label, loc="left", color=colour, pad=2)
        if current is not None:
            axes[-1].plot(*thin(time, np.asarray(current, float)), color=INK, lw=0.8)
            axes[-1].set_ylabel(f"I\n[{current_unit}]")
        for axis in axes[:-1]:
            axis.spines["bottom"].set_visible(False)
            axis.tick_params(bottom=False)
        figure.align_ylabels(axes)
        axes[-1].set_xlabel(f"time [{time_unit}]")
        axes[-1].set_xlim(time[0], time[-1])
    return figure
