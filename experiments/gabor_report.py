"""The figures, the numbers and the page of the study of receptive fields."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments import checks, report
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.gabor_presets import DEVIATIONS
from experiments.runs import Run
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from jaxsbi.plotting.canvas import BLUE, GREY, INK, PAGE, RED, figure_of, label, line, patch, style
from jaxsbi.plotting.layouts import legend_above
from simulators import gabor

if TYPE_CHECKING:
    from experiments.gabor import Outcome

NAMES = ("bias", "A", "phi", "f", "alpha", "gamma", "b", "x_0", "y_0")
UNITS = ("", "", "°", "1/half screen", "°", "", "octaves", "", "")
DEGREES = np.array([180 / np.pi if unit == "°" else 1.0 for unit in UNITS])
LEAST = np.array([-np.inf, 0, 0, 0, 0, 0, 0, -1, -1])
MOST = np.array([np.inf, np.inf, 180, np.inf, 360, np.inf, np.inf, 1, 1])
GREEN = "#009E73"
WHOSE = ("learned", "exact")
SHOWN = 3  # draws of each mode
CONTOURS = 20  # draws whose outlines lie over the average


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    figures = {
        "fields": fields(outcome),
        "marginals": marginals(outcome),
        "posterior": plotting.pairs(
            outcome.draws * DEGREES, names=NAMES, units=UNITS,
            limits=_limits(outcome), truth=outcome.neuron.truth * DEGREES,
        ),
        "losses": plotting.losses(outcome.posterior.history),
    }  # fmt: skip
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def turned(outcome: Outcome, cells: np.ndarray) -> np.ndarray:
    """Whether angles lie nearer to α + π than to α (n,)."""
    return np.cos(cells[:, 4] - outcome.neuron.truth[4]) < 0


def fields(outcome: Outcome):
    """The field, what is left of it in the data, under outlines of draws, and draws of both modes.

    An outline is where a field is half as large as at its peak; on all panels the true one's.
    """
    neuron = outcome.neuron
    pixels = neuron.protocol.frames.shape[1]
    field = jax.jit(jax.vmap(lambda cell: gabor.receptive_field(cell, pixels, pixels)))
    of_mode = [outcome.draws[turned(outcome, outcome.draws) == side] for side in (False, True)]
    cells = np.concatenate([draws[:SHOWN] for draws in of_mode])
    truth, *drawn = np.asarray(field(np.concatenate([neuron.truth[None], cells])))
    signs = ["nearer to α"] * len(of_mode[0][:SHOWN]) + ["nearer to α + π"] * SHOWN
    top, grid = np.max(np.abs(truth)), np.linspace(-1, 1, pixels)
    images = [("true field", truth, top), ("spike-triggered average", neuron.x_o["sta"], None)]
    images += [(name, each, top) for name, each in zip(signs, drawn, strict=False)]
    with style():
        figure = figure_of(PAGE, 3.9, layout="constrained")
        axes = figure.subplots(2, 4).ravel()
        for axis in axes[len(images) :]:
            axis.remove()
        for axis, (name, image, most) in zip(axes, images, strict=False):
            most = np.max(np.abs(image)) if most is None else most
            axis.imshow(
                image, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower", extent=(-1, 1, -1, 1)
            )
            outline(axis, grid, truth, INK, 0.7)
            axis.set_title(name)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(visible=True, color="#999999", linewidth=0.4)
        for drawn in np.asarray(field(outcome.draws[:CONTOURS])):
            outline(axes[1], grid, drawn, GREEN, 0.3)
        axes[0].set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel="x", ylabel="y")
    return figure


def outline(axis, grid: np.ndarray, field: np.ndarray, colour: str, width: float) -> None:
    """Where a field (m, m) on a grid (m,) is half as large as at its peak."""
    half = np.max(np.abs(field)) / 2
    if half > 0:
        axis.contour(grid, grid, field, [-half, half], colors=colour, linewidths=width)


def marginals(outcome: Outcome):
    """p(θ_i | x_o), learned and exact, in units of the field."""
    with style():
        figure = figure_of(PAGE, 3.6, layout="constrained")
        panels = figure.subplots(2, 5).ravel()
        panels[-1].remove()
        limits = _limits(outcome)
        for i, axis in enumerate(panels[: len(NAMES)]):
            bins = np.linspace(*limits[i], 50)
            for draws, look in (
                (outcome.exact, {"color": GREY, "fill": True}),
                (outcome.draws, {"color": BLUE, "lw": 1.0}),
            ):
                counts, edges = np.histogram(draws[:, i] * DEGREES[i], bins, density=True)
                axis.stairs(counts, edges, **look)
            axis.axvline(outcome.neuron.truth[i] * DEGREES[i], color=RED, lw=1.0)
            axis.set_xlabel(label(NAMES[i], UNITS[i]))
            axis.set(yticks=[], ylim=(0, None), xlim=limits[i])
            axis.spines["left"].set_visible(False)
            axis.locator_params(axis="x", nbins=4)
        legend_above(figure, [patch(GREY, "exact"), line(BLUE, "learned"), line(RED, "truth")])
    return figure


def _limits(outcome: Outcome) -> np.ndarray:
    """What holds nearly all draws of both (9, 2); of the angle the full circle."""
    both = np.concatenate([outcome.exact, outcome.draws, outcome.neuron.truth[None]]) * DEGREES
    limits = np.quantile(both, [0.005, 0.995], axis=0).T
    truth = outcome.neuron.truth * DEGREES
    limits = np.stack([np.minimum(limits[:, 0], truth), np.maximum(limits[:, 1], truth)], axis=1)
    margin = 0.05 * np.ptp(limits, axis=1)
    limits = limits + np.stack([-margin, margin], axis=1)
    limits[4] = 0.0, 360.0
    return np.clip(limits, LEAST[:, None], MOST[:, None])


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    history = outcome.posterior.history
    return {
        "cell": outcome.neuron.cell,
        "spikes": outcome.neuron.x_o["count"],
        "targets": in_results(outcome.targets),
        "diagnostics": checks.in_results(outcome.checks),
        "share_at_alpha_plus_pi": dict(zip(WHOSE, outcome.turned, strict=True)),
        "share_on_the_axis": dict(zip(WHOSE, outcome.found, strict=True)),
        "c2st_mlp": outcome.score.mlp,
        "c2st_rf": outcome.score.rf,
        "rows": outcome.score.rows,
        "correlation_of_fields": {
            name: dict(zip(("low_5", "median"), np.quantile(c, [0.05, 0.5]), strict=True))
            for name, c in zip((*WHOSE, "prior"), outcome.alike, strict=True)
        },
        "predicted_spikes": dict(
            zip(("low_95", "high_95"), np.quantile(outcome.counts, [0.025, 0.975]), strict=True)
        ),
        "posterior": {
            name: {
                "truth": outcome.neuron.truth[i],
                "learned": _told(outcome.draws[:, i]),
                "exact": _told(outcome.exact[:, i]),
            }
            for i, name in enumerate(NAMES)
        },
        "sampler": outcome.sampler,
        "drawn_by_round": [r.drawn for r in history.rounds],
        "epochs": [r.epochs for r in history.rounds],
        "train_seconds": [r.train_seconds for r in history.rounds],
        "interrupted": history.rounds[-1].interrupted,
    }


def _told(values: np.ndarray) -> dict[str, float]:
    return {"mean": values.mean(), "sd": values.std()}


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings, config = study.settings, outcome.config
    spikes = int(outcome.neuron.x_o["count"])
    captions = {
        "fields": "The true field, what spikes leave of it, and draws of the learned posterior, "
        "some of each mode. Lines: where the true field is half as large as at its peak; over the "
        f"average, in green, the same of {CONTOURS} draws.",
        "marginals": "Marginals of the learned posterior and of the exact one. The angle has two "
        "modes half a circle apart.",
        "posterior": "The learned posterior: marginals, and the regions that hold 50, 80 and 95 % "
        "of each pair.",
        "losses": "Loss by epoch of each round [nats].",
    }
    learned, exact = (f"{100 * share:.0f} %" for share in outcome.turned)
    like = [np.median(correlations) for correlations in outcome.alike]
    table = report.Table(
        ("parameter", "unit", "truth", "learned mean", "sd", "exact mean", "sd"),
        [
            (
                name, UNITS[i], float(outcome.neuron.truth[i] * DEGREES[i]),
                *(float(v) * DEGREES[i] for v in _told(outcome.draws[:, i]).values()),
                *(float(v) * DEGREES[i] for v in _told(outcome.exact[:, i]).values()),
            )
            for i, name in enumerate(NAMES)
        ],
        "Means and standard deviations; of the angle they span both modes.",
    )  # fmt: skip
    how = [("density", said(settings["config"]["estimator"])),
           ("its training", said(settings["config"]["training"])),
           ("algorithm", said(settings["config"]["algorithm"]))]  # fmt: skip
    sections = [
        report.Section(
            "Fields that agree with the spikes",
            [f"Cell {outcome.neuron.cell} fired {spikes} spikes. Of the learned posterior "
             f"{learned} lie nearer to the angle α + π than to α, of the exact one {exact}. Its "
             f"fields correlate with the true one by {like[0]:.3f} (median), exact ones by "
             f"{like[1]:.3f}, those of the prior by {like[2]:.3f}."],
            [report.Figure(figures[kind], captions[kind]) for kind in ("fields", "marginals")],
            [table],
            [as_table(outcome.targets)],
        ),
        report.Section(
            "How far to trust it",
            [f"Classifiers told learned draws from exact ones in {100 * outcome.score.mlp:.0f} % "
             f"(perceptron) and {100 * outcome.score.rf:.0f} % (random forest) of "
             f"{outcome.score.rows:,} cases, where guessing makes 50.",
             "The exact draws were chosen by their weights among "
             f"{outcome.sampler['proposed']:,.0f} of a mixture fitted to the posterior, "
             f"worth {outcome.sampler['ess']:,.0f} "
             f"(Pareto shape {outcome.sampler['pareto_k']:.2f}; below 0.7 is reliable). They know "
             "the spikes, the network only their number and average."],
            [report.Figure(figures[kind], captions[kind]) for kind in ("posterior", "losses")],
            summary=[checks.as_table(outcome.checks)],
        ),
        what_was_done(
            study, command, how,
            [(f"cell {outcome.neuron.cell}", outcome.posterior, config.training.max_epochs)],
            deviations=DEVIATIONS,
        ),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "The receptive field behind these spikes",
        [
            "Which Gabor fields agree with the spikes of a neuron that was shown white noise? A "
            "network looks at the average frame before a spike, an image, and gives a density "
            "over nine parameters.",
            f"Preset {settings['preset']}, seed {settings['seed']}.",
        ],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 2.",
        names=NAMES,
    )


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    learned, exact = outcome.turned
    print(f"  at α + π: {learned:.3f} of learned draws, {exact:.3f} of exact ones")
    print(f"  C2ST {outcome.score.mlp:.3f} {outcome.score.rf:.3f}")
    print(
        f"  exact draws: worth {outcome.sampler['ess']:,.0f} of {outcome.sampler['proposed']:,.0f}"
    )


TELLING = Telling(draw, results, write, summarise)
