"""The figures, the numbers and the page of the study of all recorded cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import report
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.overlaid import marginals
from experiments.predictions import central
from experiments.runs import Run
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from jaxsbi.diagnostics import LEVELS
from jaxsbi.plotting.canvas import BLUE, PAGE, RED, figure_of, label, line, style
from jaxsbi.plotting.densities import thin
from jaxsbi.plotting.layouts import legend_above
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.hodgkin_huxley_cells import Found, Outcome

COLOURS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#222222")
NAMES = [p.name for p in hh.PARAMETERS]


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    groups = {
        number(each): (colour, each.draws)
        for each, colour in zip(outcome.found, COLOURS, strict=True)
    }
    figures = {
        "marginals": marginals(groups),
        "features": features(outcome.found),
        "traces": traces(outcome.found),
        "coverage": plotting.coverage(outcome.calibration),
        "losses": plotting.losses(outcome.learned.every.history),
    }
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def number(found: Found) -> str:
    """The cell's number in the database it is from."""
    return found.cell.name.removeprefix("cell_")


def features(found: Sequence[Found]) -> Figure:
    """Central 95 % and median of each feature of re-simulated draws of each cell, and its own."""
    with style():
        figure = figure_of(PAGE, 3.2, layout="constrained")
        axes = figure.subplots(2, 4, sharex=True).ravel()
        at = np.arange(len(found))
        for i, (axis, of) in enumerate(zip(axes, hh.FEATURES, strict=False)):
            low, high = np.transpose([central(each.predicted)[:, i] for each in found])
            axis.vlines(at, low, high, color=BLUE, lw=4, alpha=0.4)
            middle = [np.nanmedian(each.predicted[:, i]) for each in found]
            axis.plot(at, middle, "_", color=BLUE, ms=7)
            axis.plot(at, [each.cell.x_o[i] for each in found], "o", color=RED, ms=2.5)
            axis.set_title(label(of.name, of.unit), loc="left", fontsize=7)
            axis.set(xlim=(-0.6, len(found) - 0.4))
            axis.set_xticks(at, [number(each)[:3] for each in found], fontsize=6)
        for axis in axes[len(hh.FEATURES) :]:
            axis.remove()
        axes[len(hh.FEATURES) - 4].tick_params(labelbottom=True)
        figure.supxlabel("cell, by the first digits of its number", fontsize=8)
        handles = [line(BLUE, "simulated draws, central 95 % and median", 4.0),
                   line(RED, "recorded", 1.0, "o", "")]  # fmt: skip
        legend_above(figure, handles)
    return figure


def traces(found: Sequence[Found]) -> Figure:
    """V(t) of one draw for each cell, beside the recorded one where any is at hand."""
    recorded = any(each.cell.voltage is not None for each in found)
    with style():
        figure = figure_of(PAGE, 0.4 + 0.95 * len(found), layout="constrained")
        axes = figure.subplots(len(found), 1 + recorded, sharex=True, sharey=True, squeeze=False)
        for each, row in zip(found, axes, strict=True):
            protocol = each.cell.protocol
            if each.cell.voltage is not None:
                row[0].plot(*thin(protocol.time, each.cell.voltage), color=RED, lw=0.6)
            row[-1].plot(*thin(protocol.time, each.voltage), color=BLUE, lw=0.6)
            row[0].set_title(f"cell {number(each)}", loc="left", pad=2)
            row[0].set_ylabel("V [mV]")
            row[0].set_xlim(0, protocol.time[-1])
        for axis in axes[-1]:
            axis.set_xlabel("time [ms]")
        legend_above(figure, [line(RED, "recorded")] * recorded + [line(BLUE, "one draw")])
    return figure


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    reached = outcome.calibration.coverage(LEVELS)
    last = [posterior.history[-1] for posterior in outcome.learned]
    return {
        "targets": in_results(outcome.targets),
        "cells": {number(each): _of_cell(each) for each in outcome.found},
        "features_held": outcome.held,
        "features": outcome.features,
        "nats_lost_by_one_density_for_all": outcome.loss._asdict(),
        "milliseconds_for_the_draws_of_a_cell": _milliseconds(outcome),
        "coverage": dict(zip(map(str, LEVELS), reached, strict=True)),
        "calibration": outcome.calibration.verdict,
        "simulations": sum(each.drawn for each in last),
        "epochs": [each.epochs for each in last],
        "interrupted": any(each.interrupted for each in last),
    }


def _of_cell(found: Found) -> dict[str, Any]:
    names = [f.name for f in hh.FEATURES]
    low, high = central(found.predicted)
    return {
        "x_o": dict(zip(names, np.asarray(found.cell.x_o), strict=True)),
        "low_95": dict(zip(names, low, strict=True)),
        "high_95": dict(zip(names, high, strict=True)),
        "held": dict(zip(names, map(bool, found.held), strict=True)),
        "share_with_as_many_spikes": _as_often(found),
        "posterior": {
            name: {"mean": mean, "sd": sd}
            for name, mean, sd in zip(
                NAMES, found.draws.mean(axis=0), found.draws.std(axis=0), strict=True
            )
        },
    }


def _as_often(found: Found) -> float:
    """Share of draws that fire as many spikes as the cell."""
    return float(np.mean(found.predicted[:, 0] == float(found.cell.x_o[0])))


def _milliseconds(outcome: Outcome) -> float:
    """That the draws of a cell take, median over cells."""
    return 1000 * float(np.median([each.seconds for each in outcome.found]))


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings, config = study.settings, outcome.config
    cells = report.Table(
        ("cell", "spikes", "draws with as many spikes", "features held", "not held"),
        [
            (
                number(each), int(each.cell.x_o[0]), f"{100 * _as_often(each):.0f} %",
                f"{each.held.sum()} of {len(hh.FEATURES)}",
                ", ".join(f.name for f, held in zip(hh.FEATURES, each.held, strict=True)
                          if not held) or "–",
            )
            for each in outcome.found
        ],
        "Each cell: its spikes, and what draws do that are simulated under its current. A feature "
        "is held by the central 95 % of theirs.",
    )  # fmt: skip
    sections = [
        report.Section(
            "What the density says of each cell",
            [f"{config.simulations:,} simulations of the prior, each under a step of its own, "
             "taught the density of the eight parameters given seven features, the current and "
             f"the voltage at the start. {config.draws:,} draws for a cell take "
             f"{_milliseconds(outcome):.0f} ms, once compiled. "
             f"{outcome.held} of {outcome.features} features are held.",
             f"For {outcome.alone} a density was learned from as many simulations under its own "
             "current alone. Over neurons of the prior under that current its log density at the "
             f"true parameters is {outcome.loss.mean:.2f} ± {outcome.loss.error:.2f} nats (mean "
             "and standard error) above that of the density of all currents: what is lost by "
             "serving all of them."],
            [
                report.Figure(figures["features"], "Features of draws, simulated anew under each "
                              "cell's current, and of the cells."),
                report.Figure(figures["traces"], "Recorded voltages, where they are at hand, and "
                              "one draw for each, with its own noise."),
                report.Figure(figures["marginals"], "Posterior of each parameter over its prior "
                              "range, for each cell."),
            ],
            [cells],
            [as_table(outcome.targets)],
        ),
        report.Section(
            "How far to trust it",
            ["Calibration, over neurons and currents as they were drawn to learn from: "
             f"{outcome.calibration.verdict}."],
            [
                report.Figure(figures["coverage"], "Share of true parameters inside the region of "
                              "each credibility; grey: what an exact posterior stays within in "
                              "95 % of such checks, at each level by itself."),
                report.Figure(figures["losses"], "Loss by epoch [nats]."),
            ],
        ),
        what_was_done(
            study, command,
            [("density", said(settings["config"]["estimator"])),
             ("its training", said(settings["config"]["training"]))],
            [(title, posterior, config.training.max_epochs) for title, posterior in
             zip(("all cells", f"{outcome.alone} alone"), outcome.learned, strict=True)],
        ),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "One density for every recorded cell",
        ["Which Hodgkin–Huxley neurons fire like each of six cells of mouse cortex, if the current "
         "that a cell was given is part of the data?",
         f"Preset {settings['preset']}, seed {settings['seed']}."],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 4, supplements.",
        names=NAMES,
    )  # fmt: skip


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    for each in outcome.found:
        print(
            f"  {each.cell.title}: {each.held.sum()} of {len(hh.FEATURES)} features held, "
            f"{100 * _as_often(each):.0f} % of draws fire as often"
        )
    print(f"  lost by one density for all: {outcome.loss.mean:.2f} ± {outcome.loss.error:.2f} nats")
    print(f"  {outcome.calibration.verdict}")


TELLING = Telling(draw, results, write, summarise)
