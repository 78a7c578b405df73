"""What is drawn into one pair of axes: a density, regions of mass .95, .8, .5, a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsbi.plotting import densities
from jaxsbi.plotting.canvas import BLUE, INK, RED, line, matrix, patch, texts

MASSES = (0.95, 0.8, 0.5)
TINTS = ("#C6DDEF", "#6BAED6", "#1B6AA5")
LOOKS = (  # colour, marker, line
    (RED, "o", "-"),
    ("#000000", "s", "--"),
    ("#009E73", "D", "-."),
    ("#CC79A7", "^", ":"),
    ("#E69F00", "v", (0, (5, 1))),
)


def checked(samples, names, units, limits, truth, points) -> tuple:
    """The common arguments of a figure of θ as arrays: samples, names, units, limits, marks."""
    names = list(names)
    d = len(names)
    samples = matrix("samples", samples, d)
    units = [""] * d if units is None else texts("units", units, d)
    marks = {} if truth is None else {"truth": truth}
    marks |= dict(points or {})
    marks = {key: matrix(key, np.reshape(mark, (1, -1)), d)[0] for key, mark in marks.items()}
    if limits is None:
        reach = np.concatenate([np.quantile(samples, [0.001, 0.999], axis=0), *_rows(marks)])
        low, high = reach.min(0), reach.max(0)
        pad = np.where(high > low, 0.05 * (high - low), 0.5 + 0.05 * np.abs(high))
        limits = np.stack([low - pad, high + pad], 1)
    limits = np.asarray(limits, float)
    if limits.shape != (d, 2) or not (limits[:, 0] < limits[:, 1]).all():
        raise ValueError(f"limits: expected ({d}, 2), each low < high, came {limits.tolist()}")
    return samples, names, units, limits, marks


def _rows(marks: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [mark[None] for mark in marks.values()]


def _looks(marks: Mapping[str, np.ndarray]) -> list[tuple]:
    start = 0 if "truth" in marks else 1  # red is the truth's alone
    return [LOOKS[(start + k) % len(LOOKS)] for k in range(len(marks))]


def mark_handles(marks: Mapping[str, np.ndarray], lines_only: bool = False) -> list:
    return [
        line(colour, name, 1.0, None if lines_only else marker, dashes)
        for (colour, marker, dashes), name in zip(_looks(marks), marks, strict=True)
    ]


def mark_lines(axis, marks: Mapping[str, np.ndarray], index: int, width: float = 0.9) -> None:
    for (colour, _, dashes), mark in zip(_looks(marks), marks.values(), strict=True):
        axis.axvline(mark[index], color=colour, lw=width, ls=dashes, zorder=2.5)


def mark_points(axis, marks: Mapping[str, np.ndarray], indices, size: float) -> None:
    for (colour, marker, _), mark in zip(_looks(marks), marks.values(), strict=True):
        axis.plot(
            *(mark[k] for k in indices),
            marker,
            color=colour,
            ms=size,
            mec="white",
            mew=0.1 * size,
            clip_on=False,
            zorder=5,
        )


def marginal(axis, values, limits, colour: str = BLUE, fill: str | None = TINTS[0]) -> float:
    """Draw p(θ_i); its largest value."""
    x, p = densities.density(values, limits)
    x = np.concatenate([[limits[0]], x, [limits[1]]])
    p = np.pad(p, 1, mode="edge")
    if fill:
        axis.fill_between(x, p, color=fill, lw=0)
    axis.plot(x, p, color=colour, lw=0.8)
    axis.set_xlim(*limits)
    return float(p.max())


def regions(axis, pairs: np.ndarray, x_limits, y_limits, coarse: bool = False) -> None:
    """Fill the regions of p(θ_i, θ_j) with mass .95, .8 and .5, the last the darkest.

    coarse: for hundreds of panels; an image in an SVG too, which else has megabytes.
    """
    x, y, p = densities.density_2d(pairs, [x_limits, y_limits], 30 if coarse else 60)
    if p.max() > 0:
        levels = densities.thresholds(p, MASSES)
        keep = np.concatenate([np.diff(levels) > 0, [levels[-1] < p.max()]])
        if keep.any():
            colours = [t for t, k in zip(TINTS, keep, strict=True) if k]
            filled = axis.contourf(x, y, p, [*levels[keep], p.max()], colors=colours)
            filled.set_rasterized(coarse)
        else:  # all mass in one cell
            axis.plot(*pairs.mean(0), ".", color=TINTS[-1], ms=2)
    axis.set_xlim(*x_limits)
    axis.set_ylim(*y_limits)


def region_handles() -> list:
    return [patch(t, f"{100 * m:g} %") for t, m in zip(TINTS[::-1], MASSES[::-1], strict=True)]


def frame(axis) -> None:
    """A thin grey box without ticks."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(visible=True, color="#999999", linewidth=0.4)


def ends(axis, limits, size: float) -> None:
    """Tick labels at the two limits, each inside its own panel."""
    axis.set_xticks(list(limits), [_short(v) for v in limits], fontsize=size)
    axis.tick_params(axis="x", length=1.5, width=0.4, color="#999999", pad=1.5)
    for text, side in zip(axis.get_xticklabels(), ("left", "right"), strict=True):
        text.set_horizontalalignment(side)


def _short(value: float) -> str:
    text = f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def predicted(axis, observed: float, simulated: Sequence[float]) -> None:
    """p(x_i | x_o) as a histogram, its central 95 % as a bar below, the observed value."""
    simulated = np.asarray(simulated, float)
    finite = simulated[np.isfinite(simulated)]
    undefined = 1 - finite.size / max(simulated.size, 1)
    if finite.size:
        low, high = np.quantile(finite, [0.025, 0.975])
        shown = finite[np.abs(finite - np.median(finite)) <= 3 * max(high - low, 1e-12)]
        whole = np.all(shown == np.round(shown)) and np.ptp(shown) < 60
        bins = np.arange(shown.min() - 0.5, shown.max() + 1) if whole else 30
        counts, edges = np.histogram(shown, bins)
        axis.stairs(counts, edges, fill=True, color=TINTS[0])
        axis.stairs(counts, edges, color=BLUE, lw=0.8)
        top = counts.max()
        axis.plot([low, high], [-0.07 * top] * 2, color=BLUE, lw=2.5, solid_capstyle="butt")
        axis.set_ylim(-0.14 * top, 1.05 * top)
    if np.isfinite(observed):
        axis.axvline(observed, color=RED, lw=1.2)
    notes = [] if np.isfinite(observed) else ["observed: undefined"]
    if undefined > 0:
        notes.append(f"{100 * undefined:.3g} % undefined")
    axis.set_title(", ".join(notes), fontsize=6.5, color=INK, pad=2)
    axis.locator_params(axis="x", nbins=4)
