"""Whether to believe it: losses, ranks uniform on 0 … L, coverage = level, x_o within p(x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.plotting import panels
from jaxsbi.plotting.canvas import (
    BLUE,
    GREY,
    INK,
    PAGE,
    RED,
    figure_of,
    grid,
    label,
    line,
    matrix,
    patch,
    style,
    symbols,
    texts,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curves(training, validation, *, best: Sequence[int] | int | None = None) -> Figure:
    """−mean log q(z | x) by epoch, training and validation; a panel per round.

    training, validation: (epochs,), or a sequence of those, one per round. best: the epochs
    (counted from 0) whose weights were kept, by default the lowest of validation.
    """
    rounds = [
        (np.atleast_1d(np.asarray(t, float)), np.atleast_1d(np.asarray(v, float)))
        for t, v in zip(_rounds(training), _rounds(validation), strict=True)
    ]
    if not all(v.ndim == 1 and np.isfinite(v).any() for _, v in rounds):
        raise ValueError("validation: expected one finite loss per epoch, came none")
    kept = [int(np.nanargmin(v)) for _, v in rounds] if best is None else np.atleast_1d(best)
    with style():
        count = len(rounds)
        figure = figure_of(min(PAGE, 3.4 * count), 2.2, layout="constrained")
        axes = figure.subplots(1, count, squeeze=False)[0]
        for number, (axis, (train, valid), epoch) in enumerate(
            zip(axes, rounds, kept, strict=True), start=1
        ):
            axis.plot(np.arange(1, train.size + 1), train, color=BLUE, label="training")
            axis.plot(np.arange(1, valid.size + 1), valid, color=RED, label="validation")
            axis.plot(epoch + 1, valid[epoch], "o", color=INK, ms=3.5, label="kept", zorder=3)
            axis.set_ylim(*_loss_limits(train, valid))
            axis.set_xlabel("epoch")
            axis.set_title(f"round {number}" if count > 1 else "")
        axes[0].set_ylabel("loss [nats]")
        axes[-1].legend()
    return figure


def sbc_ranks(
    ranks,
    n_samples: int,
    names: Sequence[str],
    *,
    p_values: Sequence[float] | None = None,
    rejected: Sequence[bool] | None = None,
    level: float = 0.01,
) -> Figure:
    """F_n(u) − u, the ranks' distribution less the uniform one; in grey where the test keeps it.

    ranks: (n, d), how many of `n_samples` posterior draws lie below θ_i. p_values, rejected: (d,),
    Kolmogorov–Smirnov by parameter and Holm's verdict at the family-wise `level`; shown if given.
    The band is that test: its half-width is the critical value at level / (d − rejected), Holm's
    last step, so a curve that leaves it is one that is rejected (Bonferroni's while none is).
    Above 0 on the left: θ_i lies low among the draws. A wave: the posterior is too narrow or wide.
    """
    from scipy import stats

    ranks = matrix("ranks", ranks, len(names))
    if ranks.min() < 0 or ranks.max() > n_samples:
        raise ValueError(
            f"ranks: expected 0 … {n_samples} (n_samples), came {ranks.min():g} … {ranks.max():g}"
        )
    n, d = ranks.shape
    notes = [""] * d if p_values is None else [_p(p) for p in _each("p_values", p_values, d)]
    hits = np.zeros(d, bool) if rejected is None else _each("rejected", rejected, d).astype(bool)
    half = stats.kstwo.isf(level / max(d - hits.sum(), 1), n)
    u = np.arange(n_samples + 2) / (n_samples + 1)
    with style():
        figure, axes = grid(d, 1.3, sharey=True)
        for i, axis in enumerate(axes):
            below = np.searchsorted(np.sort(ranks[:, i]), np.arange(n_samples + 2)) / n
            axis.fill_between(u, -half, half, color=GREY, lw=0)
            axis.axhline(0.0, color=INK, lw=0.5)
            axis.plot(u, below - u, color=RED if hits[i] else BLUE)
            axis.set_title(symbols(names[i]) + notes[i], pad=3)
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        figure.supxlabel("share of posterior draws below the true parameter", fontsize=8)
        figure.supylabel("ECDF − uniform", fontsize=8)
        handles = [patch(GREY, f"{100 * (1 - level):g} % of uniform ranks, all panels at once")]
        handles.append(line(BLUE, f"{n} simulations"))
        if hits.any():
            handles.append(line(RED, "rejected"))
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def coverage(
    levels, empirical, *, n: int | None = None, names: Sequence[str] | None = None
) -> Figure:
    """P(θ in its level-α region) against α; below the diagonal the posterior is too narrow.

    levels (k,); empirical (k,) for joint regions or (k, d) for each of names. n: on how many
    simulations the shares rest, for the binomial 95 % band.
    """
    from scipy import stats

    levels = np.asarray(levels, float)
    empirical = np.asarray(empirical, float)
    if levels.ndim != 1 or empirical.shape[:1] != levels.shape or empirical.ndim > 2:
        raise ValueError(
            f"empirical: expected (k,) or (k, d) beside levels (k,), came {empirical.shape} "
            f"beside {levels.shape}"
        )
    curves = empirical.reshape(len(levels), -1)
    names = ["joint"] * curves.shape[1] if names is None else list(names)
    if len(names) != curves.shape[1]:
        raise ValueError(f"names: expected {curves.shape[1]}, came {len(names)}")
    with style():
        inside = len(names) <= 4
        figure = figure_of(3.0 if inside else 3.9, 2.8, layout="constrained")
        axis = figure.subplots()
        if n is not None:
            nominal = np.linspace(0, 1, 101)
            axis.fill_between(
                nominal,
                *(stats.binom.ppf(q, n, nominal) / n for q in (0.025, 0.975)),
                color=GREY,
                lw=0,
                label="95 % if exact",
            )
        axis.plot([0, 1], [0, 1], color=INK, lw=0.6)
        styles = ("-", "--", ":", "-.")
        for i, name in enumerate(names):
            axis.plot(
                levels,
                curves[:, i],
                styles[(i + i // 7) % 4],
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
    observed, simulated, names: Sequence[str], units: Sequence[str] | None = None
) -> Figure:
    """p(x_i | x_o) from re-simulated posterior samples, its central 95 %, and x_o.

    observed (k,); simulated (n, k), NaN where a feature is undefined: left out, its share told.
    """
    observed = np.asarray(observed, float)
    simulated = np.asarray(simulated, float)
    if simulated.ndim != 2 or simulated.shape[1:] != observed.shape:
        raise ValueError(
            f"simulated: expected (n, {observed.size}) beside observed {observed.shape}, "
            f"came {simulated.shape}"
        )
    units = texts("units", units or [""] * observed.size, observed.size)
    names = texts("names", names, observed.size)
    with style():
        figure, axes = grid(observed.size, 1.45)
        for i, axis in enumerate(axes):
            panels.predicted(axis, observed[i], simulated[:, i])
            axis.set_xlabel(label(names[i], units[i]))
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
        handles = [patch(panels.TINTS[0], "simulated"), line(BLUE, "central 95 %", 2.5)]
        handles.append(line(RED, "observed", 1.2))
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _rounds(losses) -> list[np.ndarray]:
    nested = len(losses) > 0 and np.ndim(losses[0]) > 0
    return [np.asarray(r, float) for r in (losses if nested else [losses])]


def _loss_limits(training: np.ndarray, validation: np.ndarray) -> tuple[float, float]:
    # The first epochs and outliers of one batch must not flatten the rest.
    both = np.concatenate([training, validation])
    both = both[np.isfinite(both)]
    low, high = both.min(), np.quantile(both, 0.98)
    pad = 0.06 * max(high - low, 1e-6)
    return low - pad, high + pad


def _each(name: str, values, count: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(f"{name}: expected one for each of {count} names, came {values.shape}")
    return values


def _p(value: float) -> str:
    return f", p = {value:.2g}" if value >= 1e-3 else ", p < 0.001"
