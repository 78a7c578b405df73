"""V(t), recorded and simulated: one above the other on one scale, or within predictive bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting.canvas import BLUE, INK, PAGE, RED, figure_of, label, line, line_on, style
from jaxsbi.plotting.densities import thin
from jaxsbi.plotting.layouts import legend_above
from jaxsbi.plotting.panels import MASSES, TINTS, region_handles
from jaxsbi.plotting.parameters import texts

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
    rows = {} if observed is None else {observed_label: (np.asarray(observed, float), RED)}
    rows |= {name: (np.asarray(v, float), BLUE) for name, v in simulated.items()}
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
        heights = [1.0] * len(rows) + ([] if current is None else [0.85])
        figure = figure_of(PAGE, 0.5 + 0.85 * sum(heights), layout="constrained")
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        axes = axes[:, 0]
        for axis, (name, (voltage, colour)) in zip(axes, rows.items(), strict=False):
            axis.plot(*thin(time, voltage), color=colour, lw=0.7)
            axis.set_ylim(low - pad, high + pad)
            axis.set_ylabel(f"V [{voltage_unit}]")
            axis.set_title(name, loc="left", color=colour, pad=2)
        if current is not None:
            axes[-1].plot(*thin(time, np.asarray(current, float)), color=INK, lw=0.8)
            axes[-1].set_ylabel(f"I [{current_unit}]")
        for axis in axes[:-1]:
            axis.spines["bottom"].set_visible(False)
            axis.tick_params(bottom=False)
        figure.align_ylabels(axes)
        axes[-1].set_xlabel(f"time [{time_unit}]")
        axes[-1].set_xlim(time[0], time[-1])
    return figure


def bands(
    time,
    observed,
    simulated,
    *,
    names: Sequence[str] = ("V",),
    units: Sequence[str] = ("mV",),
    time_unit: str = "ms",
) -> Figure:
    """The central 50, 80 and 95 % of p(x(t) | x_o) at each t, its median, and the observed x(t).

    time (n,); simulated (m, n), traces at posterior draws, or (m, n, k) of k signals; observed
    (n,) or (n, k), dots at their times where few, else a line; None: left out. NaN is left out.
    """
    time, simulated = np.asarray(time, float), np.asarray(simulated, float)
    simulated = simulated[..., None] if simulated.ndim == 2 else simulated
    if time.ndim != 1 or simulated.ndim != 3 or simulated.shape[1] != time.size:
        raise ValueError(
            f"simulated: expected (m, {time.size}) or (m, {time.size}, k) beside time "
            f"{time.shape}, came {simulated.shape}"
        )
    k = simulated.shape[2]
    if observed is not None:
        observed = np.asarray(observed, float)
        if observed.size != time.size * k:
            raise ValueError(f"observed: expected ({time.size}, {k}), came {observed.shape}")
        observed = observed.reshape(time.size, k)
    names, units = texts("names", names, k), texts("units", units, k)
    dots = {"marker": "o", "ls": "", "ms": 3, "mec": "white", "mew": 0.3, "clip_on": False}
    look = dots if time.size <= 60 else {"lw": 0.8}
    with style():
        figure = figure_of(PAGE, 0.55 + 1.15 * k, layout="constrained")
        axes = figure.subplots(k, 1, sharex=True, squeeze=False)[:, 0]
        for i, axis in enumerate(axes):
            for mass, tint in zip(MASSES, TINTS, strict=True):
                edges = np.nanquantile(simulated[..., i], [0.5 - mass / 2, 0.5 + mass / 2], axis=0)
                axis.fill_between(time, *edges, color=tint, lw=0)
            axis.plot(time, np.nanmedian(simulated[..., i], axis=0), color="white", lw=0.8)
            if observed is not None:
                axis.plot(time, observed[:, i], color=RED, zorder=3, **look)
            axis.set_ylabel(label(names[i], units[i]))
        figure.align_ylabels(axes)
        axes[-1].set_xlabel(f"time [{time_unit}]")
        axes[-1].set_xlim(time[0], time[-1])
        handles = [*region_handles("central {:g} %"), line_on(TINTS[-1], "white", "median")]
        if observed is not None:
            handles.append(line(RED, "observed", 1.0, look.get("marker"), look.get("ls", "-")))
        legend_above(figure, handles)
    return figure
