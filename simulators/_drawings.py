"""One drawing a model: a run of it as a person would look at it, with the features marked.

Each function takes matplotlib's pyplot, a key and theta, and gives a figure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ._marks import bursts, spikes

INK, ACCENT, FAINT, SHADE = "#1f2933", "#c2410c", "#9aa5b1", "#e4e7eb"


def hodgkin_huxley(plt: Any, key: jax.Array, theta: np.ndarray) -> Any:
    """Voltage with its counted spikes, resting level and mean during the step; current below."""
    from . import hodgkin_huxley as hh

    run = hh.trace(key, theta)
    x, v, time = np.asarray(hh.features(run)), np.asarray(run.voltage), run.time
    on, off = float(run.protocol.t_on), float(run.protocol.t_off)
    figure, (top, below) = plt.subplots(
        2, 1, figsize=(9, 5), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    top.axvspan(on, off, color=SHADE, lw=0, zorder=0)
    top.plot(time, v, color=INK, lw=0.8)
    at = spikes(run.voltage, run.protocol)
    top.plot(time[at], v[at], "v", color=ACCENT, ms=6, label=f"{x[0]:.0f} spikes")
    top.hlines(x[1], 0, on, color=ACCENT, lw=2, label=f"rest {x[1]:.1f} ± {x[2]:.2f} mV")
    mean = f"mean {x[3]:.1f} mV, variance {x[4]:.0f} mV²\nskewness {x[5]:.2f}, kurtosis {x[6]:.1f}"
    top.hlines(x[3], on, off, color=ACCENT, lw=1.2, ls="--", label=mean)
    top.margins(x=0.01, y=0.12)
    figure.legend(loc="outside lower left", ncols=3, frameon=False)
    _label(top, "", "voltage [mV]", "Hodgkin–Huxley neuron")
    below.plot(time, np.asarray(run.current), color=INK, lw=1)
    _label(below, "time [ms]", "I [µA/cm²]")
    return figure


def glm(plt: Any, key: jax.Array, theta: np.ndarray) -> Any:
    """Input, firing probability and spikes; the filter beside the spike-triggered average."""
    from . import glm as model

    run = model.trace(key, theta)
    x, y, time = np.asarray(model.features(run)), np.asarray(run.spikes), run.time
    figure, axes = plt.subplot_mosaic(
        "uf;pf", figsize=(10, 4.5), width_ratios=(2.4, 1), layout="constrained"
    )
    edges = np.append(time, time[-1] + 1)
    axes["u"].stairs(np.asarray(run.protocol.stimulus), edges, color=INK, lw=1, baseline=None)
    axes["u"].sharex(axes["p"])
    axes["u"].tick_params(labelbottom=False)
    _label(axes["u"], "", "input u", "Bernoulli neuron with a temporal filter")
    s = 1 / (1 + np.exp(-np.asarray(run.drive)))
    axes["p"].stairs(s, edges, color=SHADE, fill=True)
    axes["p"].stairs(s, edges, color=INK, lw=1, label="spike probability")
    spikes = time[y > 0] + 0.5
    axes["p"].plot(spikes, np.full(len(spikes), 1.08), "|", color=ACCENT, ms=11, mew=1.6,
                   label=f"{x[0]:.0f} spikes", clip_on=False)  # fmt: skip
    axes["p"].set(ylim=(0, 1.15), xlim=(0, edges[-1]), yticks=(0, 0.5, 1))
    _label(axes["p"], "time [ms]", "probability")
    lags = np.arange(model.LAGS)
    axes["f"].axhline(0, color=FAINT, lw=0.8)
    axes["f"].plot(lags, theta[1:], "o-", color=INK, label="filter h")
    axes["f"].plot(lags, x[1:] / max(x[0], 1), "s--", color=ACCENT, mfc="white",
                   label="spike-triggered average (features / count)")  # fmt: skip
    figure.legend(loc="outside lower left", ncols=4, frameon=False)
    _label(axes["f"], "lag [ms]", "", f"filter, b₀ = {theta[0]:.2f}")
    return figure


def gabor(plt: Any, key: jax.Array, theta: np.ndarray) -> Any:
    """Receptive field, spike-triggered average, and the spike counts of the first minute."""
    from . import gabor as model

    run = model.trace(key, theta)
    x = model.features(run)
    cell = model.constrain(theta)
    field, sta = np.asarray(model.receptive_field(cell)), np.asarray(x["sta"])
    figure, axes = plt.subplot_mosaic(
        "rs;tt", figsize=(8.5, 6.5), height_ratios=(2.2, 1), layout="constrained"
    )
    images = {"r": (field, "receptive field"), "s": (sta, "spike-triggered average")}
    for name, (image, title) in images.items():
        bound = float(np.nanmax(np.abs(image), initial=1e-12))
        drawn = axes[name].imshow(
            image, origin="lower", extent=(-1, 1, -1, 1), cmap="RdBu_r", vmin=-bound, vmax=bound
        )
        axes[name].plot(*np.asarray(cell)[7:9], "+", color=INK, ms=10)
        axes[name].set_title(title, loc="left")
        axes[name].set(xlabel="x", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        figure.colorbar(drawn, ax=axes[name], shrink=0.75)
    axes["r"].set_ylabel("y")
    first = run.time < 60
    axes["t"].vlines(run.time[first], 0, np.asarray(run.counts)[first], color=ACCENT, lw=0.8)
    axes["t"].set(xlim=(0, 60), ylim=(0, None))
    axes["t"].yaxis.get_major_locator().set_params(integer=True)
    count, seconds = float(np.sum(run.counts)), len(run.time) * model.DT
    title = f"{count:.0f} spikes in {seconds:.0f} s ({count / seconds:.2f} Hz)"
    _label(axes["t"], "time [s]", "spikes per frame", title)
    return figure


def channels(plt: Any, key: jax.Array, theta: np.ndarray) -> Any:
    """Command voltages above the normalised currents, their means and coefficients below."""
    from . import channels as model

    run = model.trace(key, theta)
    x = np.asarray(model.features(run)).reshape(len(run.currents), -1)
    clamps = run.protocol.clamps
    figure, axes = plt.subplots(3, len(clamps), figsize=(15, 7), layout="constrained", sharey="row")
    for column, (clamp, current) in enumerate(zip(clamps, run.currents, strict=True)):
        command, response, bars = axes[:, column]
        every = max(1, clamp.samples // 4000)
        time = clamp.time[::every] / 1000
        colors = plt.get_cmap("viridis")(np.linspace(0, 0.85, clamp.sweeps))
        for sweep in range(clamp.sweeps):
            style = dict(color=colors[sweep], lw=0.8)
            command.plot(time, np.asarray(clamp.voltage[sweep, ::every]), **style)
            response.plot(time, np.asarray(current[sweep, ::every]), **style)
        mean = float(x[column, -1])
        response.axhline(mean, color=ACCENT, lw=1.2, ls="--")
        response.set_title(f"mean {mean:.3f}", loc="right", color=ACCENT, size="medium")
        command.tick_params(labelbottom=False)
        bars.bar(np.arange(1, 11), x[column, :-1], color=ACCENT)
        bars.axhline(0, color=INK, lw=0.8)
        bars.set_yscale("symlog", linthresh=1)
        bars.set_xticks((1, 5, 10))
        first = column == 0
        _label(command, "", "V [mV]" if first else "", clamp.name)
        _label(response, "time [s]", "I / max" if first else "")
        _label(bars, "component", "coefficient" if first else "")
    return figure


def stg(plt: Any, key: jax.Array, theta: np.ndarray, duration: float = 5000.0) -> Any:
    """Three voltages with their bursts over a few seconds; durations, duties, phases in words."""
    from . import stg as model

    run = model.trace(key, theta, model.Protocol(duration, burn_in=duration / 5))
    out = model.summarise(run)
    x = dict(zip((f.name for f in model.FEATURES), np.asarray(out.features), strict=True))
    voltage, time = np.asarray(run.voltage), run.protocol.time / 1000
    figure, axes = plt.subplots(3, 1, figsize=(10, 6), sharex=True, sharey=True,
                                layout="constrained")  # fmt: skip
    marks = bursts(run.voltage, run.protocol)
    for panel, name, v, found in zip(axes, model.NEURONS, voltage, marks, strict=True):
        panel.axvspan(0, time[run.protocol.start], color=SHADE, lw=0, zorder=0)
        panel.plot(time, v, color=INK, lw=0.6)
        for burst in found:
            panel.plot(time[list(burst)], [60, 60], color=ACCENT, lw=3, solid_capstyle="butt")
        about = f"burst {x[f'burst duration {name}']:.0f} ms, duty {x[f'duty cycle {name}']:.2f}"
        if name != "PM":
            about += f", phase {x[f'phase {name}']:.2f}"
        panel.set_title(about, loc="right", color=ACCENT, size="medium")
        _label(panel, "", f"{name} [mV]")
    kind = "pyloric" if out.pyloric else "not pyloric"
    axes[0].set_title(f"Pyloric circuit, period {x['cycle period']:.0f} ms, {kind}", loc="left")
    axes[-1].set(xlabel="time [s]", xlim=(0, time[-1]))
    return figure


def _label(axes: Any, x: str, y: str, title: str = "") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel=x, ylabel=y)
    if title:
        axes.set_title(title, loc="left")


# A further model adds its function here.
DRAWINGS: dict[str, Callable[[Any, jax.Array, np.ndarray], Any]] = {
    "channels": channels,
    "gabor": gabor,
    "glm": glm,
    "hodgkin_huxley": hodgkin_huxley,
    "stg": stg,
}
