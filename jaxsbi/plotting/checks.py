"""Whether to believe it: ranks uniform on 0 … L, coverage = level, x_o within p(x | x_o)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsbi.diagnostics import TARP, Calibration
from jaxsbi.diagnostics.significance import CHANCE, in_words, scattered
from jaxsbi.plotting import panels
from jaxsbi.plotting.canvas import (
    BLUE,
    GREY,
    INK,
    PAGE,
    RED,
    figure_of,
    inches,
    label,
    line,
    patch,
    style,
    symbols,
)
from jaxsbi.plotting.layouts import grid, legend_above, name_axes, small, ticks
from jaxsbi.plotting.parameters import texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = np.linspace(0.02, 0.98, 49)
SHARE = "share of posterior draws below the true parameter"
KEPT, REJECTED = (BLUE, 0.9), (RED, 1.4)  # told apart by width in print without colours, too
EXACT = "95 % at each level if exact"


def ecdf(found: Calibration, *, level: float = CHANCE) -> Figure:
    """F_n(u) − u, the ranks' distribution less the uniform one; in grey where the test keeps it.

    found: of `jaxsbi.diagnostics.sbc`.

    The band is the Kolmogorov–Smirnov test under Holm's
    procedure at the family-wise `level`: its half-width is the critical value at
    level / (d − rejected), the last step, so a curve that leaves it is one that is rejected.
    Above 0 on the left: θ_i lies low among the draws. A wave: the posterior is too narrow or wide.
    """
    from scipy import stats

    n, d = found.ranks.shape
    hits = found.rejected(level)
    half = stats.kstwo.isf(level / max(d - hits.sum(), 1), n)
    u = np.arange(found.samples + 2) / (found.samples + 1)
    with style():
        figure, axes = grid(d, 1.3, sharey=True)
        for i, axis in enumerate(axes):
            below = np.searchsorted(np.sort(found.ranks[:, i]), np.arange(found.samples + 2)) / n
            axis.fill_between(u, -half, half, color=GREY, lw=0)
            axis.axhline(0.0, color=INK, lw=0.5)
            colour, width = REJECTED if hits[i] else KEPT
            axis.plot(u, below - u, color=colour, lw=width)
            _name_ranks(axis, found, i)
        name_axes(figure, axes, SHARE, "ECDF − uniform")
        _legend(figure, found, level, ", all panels at once" if d > 1 else "", hits)
    return figure


def ranks(found: Calibration, *, level: float = CHANCE, bins: int = 20) -> Figure:
    """Histograms of the ranks, in grey what uniform ones stay within; red: rejected by the test.

    found and colours as for `ecdf`, which shows the same with more power. The band holds all bars
    of all panels with probability 1 − level (Bonferroni). A ∪: the posterior is too narrow; a ∩:
    too wide; a slope: shifted.
    """
    from scipy import stats

    n, d = found.ranks.shape
    hits = found.rejected(level)
    tail = level / (2 * bins * d)
    low, high = stats.binom.ppf([tail, 1 - tail], n, 1 / bins)
    with style():
        figure, axes = grid(d, 1.3, sharey=True)
        columns = scattered(found.ranks, found.samples).T
        counts = [np.histogram(column, bins, (0, 1))[0] for column in columns]
        edges = np.linspace(0, 1, bins + 1)
        for i, axis in enumerate(axes):
            axis.fill_between([0, 1], low, high, color=GREY, lw=0)
            colour, width = REJECTED if hits[i] else KEPT
            axis.stairs(counts[i], edges, baseline=None, color=colour, lw=width)
            _name_ranks(axis, found, i)
        axes[0].set_ylim(0, 1.05 * max(high, np.max(counts)))
        name_axes(figure, axes, SHARE, "simulations")
        _legend(figure, found, level, ", all bars at once", hits)
    return figure


def coverage(found: Calibration | TARP | Mapping[str, Calibration | TARP]) -> Figure:
    """P(θ in its level-α region) against α; below the diagonal the posterior is too narrow.

    found: of `jaxsbi.diagnostics.sbc` (regions of highest density) or `tarp` (balls), or several by
        name.

    Grey: the central 95 % at each level of an exact posterior's, for as many rows.
    """
    from scipy import stats

    named = dict(found) if isinstance(found, Mapping) else {"joint": found}
    n = min(len(each.credibility) for each in named.values())
    nominal = np.linspace(0, 1, 101)
    with style():
        inside = len(named) <= 4
        beside = 0.6 + max(inches(text, 7) for text in [EXACT, *map(symbols, named)])
        figure = figure_of(3.0 if inside else min(PAGE, 2.55 + beside), 2.8, layout="constrained")
        axis = figure.subplots()
        band = [stats.binom.ppf(q, n, nominal) / n for q in (0.025, 0.975)]
        axis.fill_between(nominal, *band, color=GREY, lw=0, label=EXACT)
        axis.plot([0, 1], [0, 1], color=INK, lw=0.6)
        styles = ("-", "--", ":", "-.")
        for i, (name, each) in enumerate(named.items()):
            axis.plot(
                [0, *LEVELS, 1],
                [0, *each.coverage(LEVELS), 1],
                styles[(i % 7 + i // 7) % 4],
                color=f"C{i % 7}",
                label=symbols(name),
            )
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.set_xlabel("nominal level")
        axis.set_ylabel("share that covers θ")
        axis.legend(
            loc="lower right" if inside else "center left",
            bbox_to_anchor=None if inside else (1.02, 0.5),
        )
    return figure


def predictive(
    observed,
    simulated,
    features: Sequence[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> Figure:
    """p(x_i | x_o) from re-simulated posterior samples, its central 95 %, and x_o.

    observed (k,); simulated (n, k), NaN where a feature is undefined: left out, its share told.
    features: with name and unit, such as a model's FEATURES; or `names` and `units`.
    """
    observed = np.asarray(observed, float)
    simulated = np.asarray(simulated, float)
    if simulated.ndim != 2 or simulated.shape[1:] != observed.shape:
        raise ValueError(
            f"simulated: expected (n, {observed.size}) beside observed {observed.shape}, "
            f"came {simulated.shape}"
        )
    k = observed.size
    if features is not None:
        names, units = names or [f.name for f in features], units or [f.unit for f in features]
    names = texts("names", names or [f"x_{i}" for i in range(k)], k)
    units = texts("units", units or [""] * k, k)
    with style():
        figure, axes = grid(k, 1.45)
        for i, axis in enumerate(axes):
            panels.predicted(axis, observed[i], simulated[:, i], min(6.5, small(k)))
            axis.set_xlabel(label(names[i], units[i]), fontsize=small(k))
            axis.set_yticks([])
            ticks(axis, k)
            axis.spines["left"].set_visible(False)
        handles = [patch(panels.TINTS[0], "simulated"), line(BLUE, "central 95 %", 2.5)]
        handles.append(line(RED, "observed", 1.2))
        legend_above(figure, handles)
    return figure


def _name_ranks(axis, found: Calibration, i: int) -> None:
    size, p = small(len(found.names)), found.p_values[i]
    between = ", " if size > 7 else "\n"
    axis.set_title(symbols(found.names[i]) + between + in_words(p), pad=3, fontsize=size)
    axis.tick_params(labelsize=min(7.0, size))
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])


def _legend(figure, found: Calibration, level: float, what: str, hits: np.ndarray) -> None:
    handles = [patch(GREY, f"{100 * (1 - level):g} % of uniform ranks{what}")]
    drawn, rejected = f"{len(found.ranks)} simulations", "uniformity rejected"
    if hits.all():
        rejected = f"{drawn}, {rejected}"
    else:
        handles.append(line(KEPT[0], drawn, KEPT[1]))
    if hits.any():
        handles.append(line(REJECTED[0], rejected, REJECTED[1]))
    legend_above(figure, handles)
