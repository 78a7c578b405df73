"""What is drawn into one pair of axes: a density, regions of mass .95, .8, .5, marks, paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsbi.plotting import densities
from jaxsbi.plotting.canvas import BLUE, INK, RED, line, patch

MASSES = (0.95, 0.8, 0.5)
TINTS = ("#C6DDEF", "#6BAED6", "#1B6AA5")
LOOKS = (  # colour, marker, line
    (RED, "o", "-"),
    ("#000000", "s", "--"),
    ("#009E73", "D", "-."),
    ("#CC79A7", "^", ":"),
    ("#E69F00", "v", (0, (5, 1))),
)
TRAILS = ("#E69F00", "#000000", "#009E73", "#CC79A7")


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
        cut = not within(mark[index], axis.get_xlim())
        axis.axvline(mark[index], color=colour, lw=width, ls=dashes, clip_on=cut, zorder=2.5)


def mark_points(axis, marks: Mapping[str, np.ndarray], indices, size: float) -> None:
    view = axis.get_xlim(), axis.get_ylim()
    for (colour, marker, _), mark in zip(_looks(marks), marks.values(), strict=True):
        axis.plot(
            *(mark[k] for k in indices),
            marker,
            color=colour,
            ms=size,
            mec="white",
            mew=max(0.1 * size, 0.25),
            clip_on=not all(within(mark[k], v) for k, v in zip(indices, view, strict=True)),
            zorder=5,
        )


def within(value: float, limits: tuple[float, float]) -> bool:
    """Whether a mark is seen there: at a limit as well, and then whole, not the half inside."""
    slack = 1e-6 * (limits[1] - limits[0])
    return limits[0] - slack <= value <= limits[1] + slack


def trail_handles(trails: Mapping[str, np.ndarray]) -> list:
    return [line(_trail(k), name, 1.2) for k, name in enumerate(trails)]


def mark_trails(axis, trails: Mapping[str, np.ndarray], indices, size: float) -> None:
    """Each path as a line, a dot at either end."""
    for k, trail in enumerate(trails.values()):
        x, y = (trail[:, i] for i in indices)
        axis.plot(x, y, color="white", lw=0.55 * size, zorder=3)
        axis.plot(x, y, color=_trail(k), lw=0.3 * size, zorder=3.5)
        axis.plot(x[[0, -1]], y[[0, -1]], "o", color=_trail(k), ms=0.7 * size, mew=0, zorder=4)


def _trail(k: int) -> str:
    return TRAILS[k % len(TRAILS)]


def marginal(axis, values, limits, colour: str = BLUE, fill: str | None = TINTS[0]) -> float:
    """Draw p(θ_i) of samples; its largest value."""
    return curve(axis, *densities.density(values, limits), limits, colour, fill)


def curve(axis, x, p, limits, colour: str = BLUE, fill: str | None = TINTS[0]) -> float:
    """Draw a density known at centres of cells as far as the limits; its largest value."""
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
    grid = densities.density_2d(pairs, [x_limits, y_limits], 30 if coarse else 60)
    surface(axis, *grid, x_limits, y_limits, coarse)


def surface(axis, x, y, p, x_limits, y_limits, coarse: bool = False) -> None:
    """The same of p (m, m) over (y, x) at points x (m,), y (m,) that reach the limits."""
    if p.max() > 0:
        levels = densities.thresholds(p, MASSES)
        keep = np.concatenate([np.diff(levels) > 0, [levels[-1] < p.max()]])
        if keep.any():
            colours = [t for t, k in zip(TINTS, keep, strict=True) if k]
            filled = axis.contourf(x, y, p, [*levels[keep], p.max()], colors=colours)
            filled.set_rasterized(coarse)
        else:  # all mass in one cell
            row, column = np.unravel_index(np.argmax(p), p.shape)
            axis.plot(x[column], y[row], ".", color=TINTS[-1], ms=2)
    axis.set_xlim(*x_limits)
    axis.set_ylim(*y_limits)


def region_handles(words: str = "{:g} % region") -> list:
    shades = zip(TINTS[::-1], MASSES[::-1], strict=True)
    return [patch(tint, words.format(100 * mass)) for tint, mass in shades]


def predicted(axis, observed: float, simulated: Sequence[float], size: float = 6.5) -> None:
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
        axis.locator_params(axis="x", integer=bool(whole))
    if np.isfinite(observed):
        axis.axvline(observed, color=RED, lw=1.2)
    notes = [] if np.isfinite(observed) else ["observed: undefined"]
    if undefined > 0:
        notes.append(f"simulated: {100 * undefined:.3g} % undefined")
    axis.set_title("\n".join(notes), fontsize=size, color=INK, pad=2)
