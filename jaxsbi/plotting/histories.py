"""What an inference took: the loss by epoch; simulations, seconds and the loss of each round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.ledger import Ledger
from jaxsbi.plotting.canvas import BLUE, INK, PAGE, RED, figure_of, style
from jaxsbi.plotting.layouts import grid, legend_above, name_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOFT, ORANGE = "#BBBBBB", "#E69F00"


def losses(history: Ledger) -> Figure:
    """−mean log q(z | x) by epoch, training and validation, and whose weights were kept, by round.

    history: a posterior's, `posterior.history`.

    Training losses are of weights in motion.
    """
    rounds = _rounds(history)
    with style():
        figure, axes = grid(len(rounds), 1.75)
        for number, (axis, r) in enumerate(zip(axes, rounds, strict=True), start=1):
            train, valid = (np.asarray(v) for v in (r.training_losses, r.validation_losses))
            axis.plot(
                np.arange(1, train.size + 1), train, "--", color=BLUE, lw=0.8, label="training"
            )
            axis.plot(np.arange(1, valid.size + 1), valid, color=RED, label="validation")
            axis.plot(r.best_epoch + 1, r.best_loss, "o", color=INK, ms=3.5, label="kept", zorder=3)
            axis.set_ylim(*_limits(train, valid))
            axis.locator_params(axis="x", nbins=4, integer=True)
            axis.locator_params(axis="y", nbins=5)
            axis.set_title(f"round {number}" if len(rounds) > 1 else "")
        name_axes(figure, axes, "epoch", "loss [nats]")
        legend_above(figure, axes[-1].get_legend_handles_labels()[0])
    return figure


def ledger(history: Ledger) -> Figure:
    """By round: rows drawn, valid and used; seconds simulated, compiled and trained; the loss kept.

    history: a posterior's, `posterior.history`.

    Rows used are those of all rounds so far.
    """
    from matplotlib.ticker import MaxNLocator

    rounds = _rounds(history)
    number = np.arange(1, len(rounds) + 1)

    def column(name: str) -> np.ndarray:
        return np.array([getattr(r, name) for r in rounds], float)

    with style():
        figure = figure_of(PAGE, 2.0, layout="constrained")
        figure.get_layout_engine().set(wspace=0.06)
        rows, seconds, loss = figure.subplots(1, 3)
        for k, (name, colour) in enumerate((("drawn", SOFT), ("valid", BLUE), ("used", INK))):
            rows.bar(number + 0.27 * (k - 1), column(name), 0.25, color=colour, label=name)
        top = np.zeros(len(rounds))
        for name, colour in (("simulate", BLUE), ("compile", INK), ("train", ORANGE)):
            spent = column(f"{name}_seconds")
            seconds.bar(number, spent, 0.6, bottom=top, color=colour, label=name)
            top = top + spent
        loss.plot(number, column("best_loss"), "o-", color=RED)
        loss.margins(x=0.1, y=0.15)
        for axis, name in (
            (rows, "simulations"),
            (seconds, "time [s]"),
            (loss, "loss kept [nats]"),
        ):
            axis.set(xlabel="round", ylabel=name)
            axis.set_xlim(0.4, len(rounds) + 0.6)
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
            axis.locator_params(axis="y", nbins=5)
        for axis in (rows, seconds):
            axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1)
    return figure


def _rounds(history: Ledger) -> tuple:
    rounds = getattr(history, "rounds", None)
    if not rounds or any(not np.isfinite(r.validation_losses).any() for r in rounds):
        raise ValueError(
            "history: expected a posterior's, of one trained round at least, came "
            f"{'one without a finite loss' if rounds else repr(history)}"
        )
    return rounds


def _limits(training: np.ndarray, validation: np.ndarray) -> tuple[float, float]:
    # The first epochs and outliers of one batch must not flatten the rest.
    both = np.concatenate([training, validation])
    both = both[np.isfinite(both)]
    low, high = both.min(), np.quantile(both, 0.98)
    pad = 0.06 * max(high - low, 1e-6)
    return low - pad, high + pad
