"""The figures, the numbers and the page of the study of compensations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import report
from experiments.account import said, what_was_done
from experiments.compensation_changes import shown
from experiments.conclusion import Telling
from experiments.runs import Run
from experiments.shares import Share
from experiments.stg_drawings import rhythms
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from jaxsbi.plotting.canvas import BLUE, GREY, INK, PAGE, RED, figure_of, label, line, style
from jaxsbi.plotting.layouts import MANY, legend_above

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.compensation import Outcome
    from experiments.compensation_changes import Gain

ARMS, UNCHANGED = ("compensated", "one alone", "opposed"), "unchanged"
LOOKS = ((BLUE, "o"), ("#777777", "s"), (RED, "^"))


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    figures = {
        "correlations": plotting.correlations(outcome.marginal, outcome.conditional),
        "conditionals": conditionals(outcome),
        "slices": slices(outcome),
        "changes": changes(outcome),
        "rhythms": rhythms(outcome.voltages),
    }
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def conditionals(outcome: Outcome) -> Figure:
    """Conditionals of the parameters of the strongest pairs, as many as are legible, in one
    circuit."""
    posterior, circuits = outcome.learned.posterior, outcome.learned.circuits
    found: set[int] = set()
    for pair in outcome.change.pairs:
        both = found | {int(i) for i in pair}
        found = both if len(both) <= MANY else found
    free = [posterior.prior.names[i] for i in sorted(found)]
    return plotting.conditional_pairs(posterior, outcome.circuit, free=free, samples=circuits.theta)


def slices(outcome: Outcome) -> Figure:
    """p(θ_i, θ_j | all others) of the strongest pairs in one circuit, and draws of all circuits."""
    theta, names = outcome.learned.circuits.theta, outcome.learned.posterior.prior.names
    rows = -(-len(outcome.slices) // 3)
    with style():
        figure = figure_of(PAGE, 0.5 + 2.1 * rows, layout="constrained")
        panels = figure.subplots(rows, 3, squeeze=False).ravel()
        for panel in panels[len(outcome.slices) :]:
            panel.remove()
        for k, (axis, found) in enumerate(zip(panels, outcome.slices, strict=False)):
            i, j = (names.index(name) for name in found.names)
            half = [(a[1] - a[0]) / 2 for a in found.axes]
            ends = [(a[0] - h, a[-1] + h) for a, h in zip(found.axes, half, strict=True)]
            axis.imshow(
                found.density.T, origin="lower", aspect="auto", cmap="Blues",
                extent=(*ends[0], *ends[1]),
            )  # fmt: skip
            axis.plot(theta[:, i], theta[:, j], ".", color="#888888", ms=1.5, alpha=0.6)
            axis.plot(outcome.circuit[i], outcome.circuit[j], "o", color=RED, ms=4, mec="white")
            axis.set(xlim=ends[0], ylim=ends[1])
            axis.set_xlabel(label(found.names[0], found.units[0]))
            axis.set_ylabel(label(found.names[1], found.units[1]))
            axis.set_title(f"ρ = {outcome.change.rho[k]:.2f}".replace("-", "−"), loc="left")
            axis.locator_params(nbins=4)
        legend_above(
            figure,
            [line("#6BAED6", "given all others", 4.0), line(RED, "the circuit", 0.0, "o"),
             line("#888888", "draws of the posterior", 0.0, ".")],
        )  # fmt: skip
    return figure


def changes(outcome: Outcome) -> Figure:
    """Share of pyloric runs by how far the first is moved, and what compensation gains by ρ."""
    change, steps = outcome.change, outcome.config.steps
    with style():
        figure = figure_of(PAGE, 2.6, layout="constrained")
        axes = figure.subplots(1, 2, width_ratios=(1, 1.2))
        shift = 0.03 * max(steps)
        for arm, (name, (colour, marker)) in enumerate(zip(ARMS, LOOKS, strict=True)):
            shares = [Share.of(change.flags(arm, s)) for s in range(len(steps))]
            _bars(axes[0], np.array(steps) + (arm - 1) * shift, shares, colour, marker, name)
        _bars(axes[0], np.zeros(1), [Share.of(change.still())], INK, "D", UNCHANGED)
        axes[0].set(ylim=(0, 105), xlim=(-0.1 * max(steps), 1.15 * max(steps)))
        axes[0].set(xlabel="change of the first [sds of the prior]", ylabel="pyloric runs [%]")
        axes[1].axhline(0.0, color=GREY, lw=0.8)
        lesser = {"than alone": (1, INK), "than opposed": (2, RED)}
        for arm, colour in lesser.values():
            for p, rho in enumerate(change.rho):
                if change.used[p].any():
                    more = change.flags(0, pair=p).mean() - change.flags(arm, pair=p).mean()
                    axes[1].plot(abs(rho), 100 * more, "o", color=colour, ms=4)
        axes[1].set(xlabel="|conditional correlation|", ylabel="compensated more by [%]")
        marks = [line(colour, name, 0.0, "o") for name, (_, colour) in lesser.items()]
        legend_above(figure, axes[0].get_legend_handles_labels()[0] + marks)
    return figure


def _bars(axis, at, shares, colour, marker, name) -> None:
    values = 100 * np.array([share.value for share in shares])
    ends = 100 * np.array([share.interval for share in shares])
    axis.errorbar(
        at, values, np.abs(ends.T - values), label=name, color=colour, marker=marker, ms=4, lw=1.0,
        elinewidth=0.8,
    )  # fmt: skip


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    change, names = outcome.change, outcome.learned.posterior.prior.names
    off = ~np.eye(len(names), dtype=bool)
    return {
        "posterior": outcome.learned.source,
        "targets": in_results(outcome.targets),
        "largest_correlation": {
            "marginal": np.abs(outcome.marginal.matrix[off]).max(),
            "conditional": np.abs(outcome.conditional.matrix[off]).max(),
        },
        "root_mean_square_correlation": {
            "marginal": np.sqrt(np.mean(outcome.marginal.matrix[off] ** 2)),
            "conditional": np.sqrt(np.mean(outcome.conditional.matrix[off] ** 2)),
        },
        "share_of_coarse_slices": outcome.conditional.coarse,
        "compensated_less_opposed": outcome.over_opposed._asdict(),
        "compensated_less_alone": outcome.over_alone._asdict(),
        "share_pyloric": {
            UNCHANGED: Share.of(change.still()).numbers,
            **{name: Share.of(change.flags(arm)).numbers for arm, name in enumerate(ARMS)},
        },
        "pyloric": {
            name: {
                str(step): Share.of(change.flags(arm, s)).numbers
                for s, step in enumerate(outcome.config.steps)
            }
            for arm, name in enumerate(ARMS)
        },
        "pairs": [
            {
                "parameters": [names[i], names[j]],
                "conditional": change.rho[p],
                "marginal": outcome.marginal.matrix[i, j],
                "slope": change.slope[p],
                "circuits": int(change.used[p].sum()),
                UNCHANGED: Share.of(change.still(p)).value,
                **{
                    name: Share.of(change.flags(arm, pair=p)).value for arm, name in enumerate(ARMS)
                },
            }
            for p, (i, j) in enumerate(change.pairs)
        ],
    }


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings, config, found = study.settings, outcome.config, results(outcome)
    pairs = report.Table(
        ("first", "second", "conditional", "marginal", "slope", "circuits", UNCHANGED, *ARMS),
        [
            (
                *pair["parameters"], float(pair["conditional"]), float(pair["marginal"]),
                float(pair["slope"]), pair["circuits"],
                *(_percent(pair[name]) for name in (UNCHANGED, *ARMS)),
            )
            for pair in found["pairs"]
        ],
        "The pairs with the strongest conditional correlation: correlations, by how much the "
        "second was changed with the first, in the prior's sds, and the share of runs that were "
        "pyloric after the change, over all steps.",
    )  # fmt: skip
    largest, typical = found["largest_correlation"], found["root_mean_square_correlation"]
    sections = [
        report.Section(
            "What the marginals hide",
            [f"Marginal correlations are at most {largest['marginal']:.2f}, conditional ones "
             f"{largest['conditional']:.2f}; root mean squares {typical['marginal']:.3f} and "
             f"{typical['conditional']:.3f}. Conditional correlations are averages over "
             f"{config.samples} draws of slices of {config.points} × {config.points} cells."],
            [
                report.Figure(figures["correlations"], "Correlations of posterior draws, and of "
                              "two parameters given all others."),
                report.Figure(figures["conditionals"], "One circuit, the parameters of the most "
                              "correlated pairs: density of one, and regions that hold 50, 80 and "
                              "95 % of two, all others held; grey: marginals."),
                report.Figure(figures["slices"], "Density of two parameters, all others those of "
                              "one pyloric circuit, for the most correlated pairs."),
            ],
        ),
        report.Section(
            "Does compensation hold?",
            _of_changes(outcome),
            [report.Figure(figures["changes"], "Left: runs that stayed pyloric, by how far the "
                           "first of a pair was moved, with 95 % intervals. Right: what "
                           "compensation gained in each pair, over each of the other arms."),
             report.Figure(figures["rhythms"], _of_voltages(outcome))],
            [pairs],
            [as_table(outcome.targets)],
        ),
        what_was_done(
            study, command,
            [("posterior", outcome.learned.source),
             ("estimator", said(outcome.learned.posterior.estimator.spec())),
             ("algorithm", said(outcome.learned.posterior.algorithm.spec()))],
            [("rhythm", outcome.learned.posterior, config.inference.training.max_epochs)],
        ),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "What makes up for what in a pyloric circuit",
        [
            "Circuits with one rhythm differ in nearly every conductance. Which changes undo each "
            "other? The learned density answers without further simulations, and simulations "
            "check it.",
            f"Preset {settings['preset']}, seed {settings['seed']}.",
        ],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 6.",
        names=outcome.learned.posterior.prior.names,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else "–"


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points".replace("-", "−") if np.isfinite(difference) else "–"


def _of_changes(outcome: Outcome) -> list[str]:
    change = outcome.change
    compensated, alone, opposed = (Share.of(change.flags(arm)).told for arm in range(len(ARMS)))
    return [
        "In pyloric draws the conductance of a pair that is held more narrowly, given all others, "
        "was moved towards the middle of its range: alone, and as far with the other one, which "
        "followed by the slope of their conditional density (and no farther than the first), or "
        "went the other way.",
        f"Unchanged and run again, {Share.of(change.still()).told} were pyloric; with one changed "
        f"alone {alone}, compensated {compensated}, opposed {opposed}.",
        _of_gain("one changed alone", outcome.over_alone),
        _of_gain("both changed the opposite way", outcome.over_opposed),
    ]


def _of_voltages(outcome: Outcome) -> str:
    change, names = outcome.change, outcome.learned.posterior.prior.names
    pair = shown(change)
    if pair is None:
        return "Voltages of one circuit: in no pair could any be changed both ways."
    first, second = (names[i] for i in change.pairs[pair])
    return (
        f"Voltages of the first circuit that was changed in {first} and {second}: unchanged, and "
        f"after a change by {max(outcome.config.steps):g} sds of the prior in every arm, one run "
        "of each."
    )


def _of_gain(arm: str, gain: Gain) -> str:
    more, low, high = (_points(v) for v in gain[:3])
    pairs = gain.more + gain.as_much + gain.less
    return (
        f"Compensated less {arm}: {more} (95 %: {low} to {high}); compensation kept more in "
        f"{gain.more} of {pairs} pairs, as much in {gain.as_much}, less in {gain.less}."
    )


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    print(f"  {UNCHANGED}: pyloric {Share.of(outcome.change.still()).told}")
    for arm, name in enumerate(ARMS):
        print(f"  {name}: pyloric {Share.of(outcome.change.flags(arm)).told}")
    for target in outcome.targets:
        verdict = "met" if target.met else "missed"
        print(f"  {target.what}: {target.found:.3f} ({target.asked}): {verdict}")


TELLING = Telling(draw, results, write, summarise)
