"""The figures, the numbers and the page of the study of how much each feature says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import report
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.overlaid import marginals
from experiments.runs import Run
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from jaxsbi.plotting.canvas import GREY, INK
from simulators import hodgkin_huxley as hh

if TYPE_CHECKING:
    from experiments.hodgkin_huxley_features import Outcome

COLOURS = {7: "#0072B2", 4: "#009E73", 1: "#E69F00"}
NAMES = [p.name for p in hh.PARAMETERS]


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    all_of_them = {named(s.features): (COLOURS[s.features], s.draws) for s in outcome.seen}
    whole = outcome.seen[0]
    figures = {
        "widths": marginals(all_of_them, hh.NOMINAL),
        "posterior": plotting.pairs(whole.draws, whole.posterior.prior, truth=hh.NOMINAL),
        "coverage": plotting.coverage(whole.calibration),
        "losses": plotting.losses(whole.posterior.history),
    }
    if outcome.bred is not None:
        both = {
            "posterior": (GREY, whole.draws),
            "last generation of the genetic algorithm": (INK, outcome.bred.theta),
        }
        figures["evolution"] = marginals(both, hh.NOMINAL)
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def named(features: int) -> str:
    """7 features, 1 feature."""
    return f"{features} feature{'s' * (features > 1)}"


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    bred = outcome.bred
    return {
        "x_o": dict(zip((f.name for f in hh.FEATURES), outcome.x_o, strict=True)),
        "targets": in_results(outcome.targets),
        "subsets": {
            named(s.features): {
                "information_nats": s.information,
                "information_at_x_o_nats": s.at_x_o,
                "sd": dict(zip(NAMES, s.draws.std(axis=0), strict=True)),
                "mean": dict(zip(NAMES, s.draws.mean(axis=0), strict=True)),
                "calibration": s.calibration.verdict,
            }
            for s in outcome.seen
        },
        "evolution": None
        if bred is None
        else {
            "simulations": bred.simulations,
            "individuals": len(bred.theta),
            "share_in_the_region_of_95_percent": bred.held,
            "central_half_over_the_posteriors": dict(zip(NAMES, bred.spread, strict=True)),
        },
    }


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings, config = study.settings, outcome.config
    how = [("density", said(settings["config"]["estimator"])),
           ("its training", said(settings["config"]["training"]))]  # fmt: skip
    trained = [(named(s.features), s.posterior, config.training.max_epochs) for s in outcome.seen]
    widths = report.Table(
        ("parameter", "unit", *(f"sd, {named(s.features)}" for s in outcome.seen)),
        [
            (p.name, p.unit, *(float(s.draws[:, i].std()) for s in outcome.seen))
            for i, p in enumerate(hh.PARAMETERS)
        ],
        "Standard deviation of the posterior of each parameter.",
    )
    information = report.Table(
        ("features", "over data of the prior [nats]", "of this neuron [nats]", "calibration"),
        [(named(s.features), s.information, s.at_x_o, s.calibration.verdict) for s in outcome.seen],
        "What the features say of the parameters: log posterior less log prior density, at the "
        "truth, on average over the prior; and of draws, for this neuron.",
    )
    sections = [
        report.Section(
            "The fewer features, the wider the posterior",
            [f"{config.simulations:,} simulations of the prior taught the posterior density for "
             "all seven features, for the first four, and for the spike count alone."],
            [report.Figure(figures["widths"], "Posterior of each parameter over its prior range.")],
            [widths],
            [as_table(outcome.targets), information],
        ),
        *_evolution(outcome, figures),
        report.Section(
            "How far to trust it",
            figures=[
                report.Figure(figures["posterior"], "Posterior for all seven features: marginals, "
                              "and the regions that hold 50, 80 and 95 % of each pair."),
                report.Figure(figures["coverage"], "For all seven features: share of true "
                              "parameters inside the region of each credibility."),
                report.Figure(figures["losses"], "For all seven features: loss by epoch [nats]."),
            ],
        ),
        what_was_done(study, command, how, trained),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "What each feature says of a neuron",
        ["How much of a Hodgkin–Huxley neuron is known from seven features of its voltage, how "
         "much from four, and how much from its spike count?",
         f"Preset {settings['preset']}, seed {settings['seed']}."],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 4, supplements.",
        names=NAMES,
    )  # fmt: skip


def _evolution(outcome: Outcome, figures: dict[str, Path]) -> list[report.Section]:
    bred = outcome.bred
    if bred is None:
        return []
    rows = [(p.name, float(bred.spread[i])) for i, p in enumerate(hh.PARAMETERS)]
    return [
        report.Section(
            "A genetic algorithm",
            [f"IBEA with {bred.simulations:,} simulations ended with {len(bred.theta):,} distinct "
             f"neurons. {100 * bred.held:.0f} % of them lie in the region that holds 95 % of the "
             f"posterior, {100 * (1 - bred.held):.0f} % outside it: a Pareto set trades features "
             "against each other, and its neurons need not be near in all of them. Their central "
             f"half is {_typical(bred.spread):.2f} times as wide as "
             "the posterior's (geometric mean over parameters): 1 for a set that shows how far "
             "parameters are known."],
            [report.Figure(figures["evolution"], "The last generation, parents and offspring, and "
                           "the posterior for all seven features.")],
            [report.Table(("parameter", "central half over the posterior's"), rows)],
        )
    ]  # fmt: skip


def _typical(ratios: np.ndarray) -> float:
    """Their geometric mean."""
    return float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-12)))))


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    for s in outcome.seen:
        print(f"  {named(s.features)}: {s.information:.2f} nats, {s.calibration.verdict}")
    if outcome.bred is not None:
        print(
            f"  genetic algorithm: {100 * outcome.bred.held:.0f} % in the region of 95 %, "
            f"{_typical(outcome.bred.spread):.2f} times as wide"
        )


TELLING = Telling(draw, results, write, summarise)
