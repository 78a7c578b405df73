"""The figures, the numbers and the page of the study of the pyloric circuit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import report
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.runs import Run
from experiments.shares import Share
from experiments.stg_drawings import by_round, on_the_way, rhythms
from experiments.stg_presets import COMPLETE_SHARE, DEVIATIONS, PRIOR_SHARE
from experiments.stg_rhythms import FEATURE_NAMES, SCATTER, TIMED, within_scatter
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from simulators import stg

if TYPE_CHECKING:
    from experiments.stg import Outcome
    from jaxsbi.posteriors import Posterior

LAST = 5
"""Points at the end of the path across, where the rhythm is to be lost."""
PUBLISHED = (
    "In the paper's data 94 % of runs were pyloric along the path; across it, 64 % over the first "
    "five points and 11 % over the last five of a path as long as a 27th of the other"
)


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    ways, circuits = outcome.ways, outcome.circuits
    some = circuits.pyloric if circuits.pyloric.sum() > 1 else np.ones(len(circuits.theta), bool)
    both = {"path": ways.path, "across it": ways.orthogonal}
    ends = {"first": ways.path.theta[0], "second": ways.path.theta[-1]}
    figures = {
        "rhythms": rhythms(outcome.voltages),
        "posterior": plotting.pairs(
            circuits.theta, outcome.learned.posterior.prior, points=ends, paths={"path": ways.path}
        ),
        "features": plotting.predictive(outcome.rhythm.x_o, circuits.features[some], stg.FEATURES),
        "way": on_the_way(ways),
        "paths": plotting.paths(both, outcome.learned.posterior.prior),
        "rounds": by_round(outcome.by_round),
        "losses": plotting.losses(outcome.learned.search.history),
        "ledger": plotting.ledger(outcome.learned.search.history),
    }
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    search, posterior = outcome.learned
    rounds, ways, theta = search.history.rounds, outcome.ways, outcome.circuits.theta
    near = within_scatter(outcome.circuits.features, outcome.rhythm.x_o)
    return {
        "observation": outcome.rhythm.name,
        "x_o": dict(zip(FEATURE_NAMES, outcome.rhythm.x_o, strict=True)),
        "targets": in_results(outcome.targets),
        "share_pyloric": outcome.share.numbers,
        "share_pyloric_of_prior": PRIOR_SHARE,
        "share_all_features": _complete(outcome).numbers,
        "share_all_features_of_prior": COMPLETE_SHARE,
        "draws_within_scatter": {
            "all together": Share.of(near.all(axis=1)).numbers,
            **dict(zip(FEATURE_NAMES, near.mean(axis=0), strict=False)),
        },
        "features_of_pyloric_draws": {row[0]: dict(zip(COLUMNS, row[2:], strict=True))
                                      for row in _features(outcome)},
        "pair": ways.pair._asdict(),
        "path": {
            "length": ways.path.length,
            "pyloric": Share.of(ways.along.pyloric).numbers,
        },
        "orthogonal_path": {
            "length": ways.orthogonal.length,
            "pyloric": Share.of(ways.across.pyloric).numbers,
            "pyloric_within_a_27th": Share.of(ways.near).numbers,
            "pyloric_at_its_end": Share.of(ways.across.pyloric[-LAST:]).numbers,
        },
        "posterior": {
            name: {"mean": mean, "sd": sd}
            for name, mean, sd in zip(
                posterior.prior.names, theta.mean(axis=0), theta.std(axis=0), strict=True
            )
        },
        "simulations": sum(r.drawn for r in rounds),
        "all_features_by_round": [share._asdict() for share in outcome.by_round],
        "drawn_by_round": [r.drawn for r in rounds],
        "epochs": [r.epochs for r in rounds],
        "simulate_seconds": sum(r.simulate_seconds for r in rounds),
        "train_seconds": sum(r.train_seconds for r in rounds),
        "interrupted": rounds[-1].interrupted,
    }  # fmt: skip


COLUMNS = ("observed", "scatter", "median", "low_68", "high_68", "within", "draws_within")


def _complete(outcome: Outcome) -> Share:
    return Share.of(np.all(np.isfinite(outcome.circuits.features), axis=1))


def _features(outcome: Outcome) -> list[tuple[Any, ...]]:
    """Each feature's name, unit, observed value, scatter, and quantiles over pyloric draws."""
    x_o = np.asarray(outcome.rhythm.x_o, float)
    x = outcome.circuits.features[outcome.circuits.pyloric]
    x = x if len(x) else np.full((1, len(x_o)), np.nan)
    low, median, high = np.quantile(x, [0.16, 0.5, 0.84], axis=0)
    scatter = [*map(float, SCATTER), *[None] * (len(x_o) - TIMED)]
    within = [
        None if s is None else bool(abs(m - o) <= s)
        for s, m, o in zip(scatter, median, x_o, strict=True)
    ]
    numbers = (map(float, column) for column in (median, low, high))
    near = within_scatter(outcome.circuits.features, x_o).mean(axis=0)
    draws = [*map(float, near), *[None] * (len(x_o) - TIMED)]
    names, units = FEATURE_NAMES, [f.unit for f in stg.FEATURES]
    return list(zip(names, units, map(float, x_o), scatter, *numbers, within, draws, strict=True))


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings = study.settings
    simulations = sum(r.drawn for r in outcome.learned.search.history.rounds)
    near = within_scatter(outcome.circuits.features, outcome.rhythm.x_o)
    together = Share.of(near.all(axis=1))
    table = report.Table(
        ("feature", "unit", "observed", "scatter", "median", "16 %", "84 %", "within", "draws [%]"),
        [
            (
                *row[:-2],
                {None: "", True: "yes", False: "no"}[row[-2]],
                None if row[-1] is None else 100 * row[-1],
            )
            for row in _features(outcome)
        ],
        "Features of the draws that were pyloric when simulated anew: median and central 68 %. "
        "Scatter: standard deviation across preparations; within: whether the median is within "
        "one of the observed; draws: of all draws, pyloric or not, those that are. Plateaus "
        "cannot be seen from outside a cell; they are taken to be those of single spikes.",
    )
    sections = [
        report.Section(
            "Circuits that make this rhythm",
            [f"Of {outcome.share.runs:,} circuits drawn from the posterior and simulated anew, "
             f"{outcome.share.told} were pyloric, where of the prior's {100 * PRIOR_SHARE:.1f} % "
             f"are. The posterior was learned from {simulations:,} simulations in "
             f"{outcome.config.rounds} rounds"
             + (", in the end by their likelihood." if outcome.config.likelihood else "."),
             f"Of all draws {together.told} had all {TIMED} timed features within one standard "
             "deviation across preparations of the observed ones."],
            [
                report.Figure(figures["features"], "Features of pyloric draws, simulated anew, and "
                              "of the observed rhythm."),
                report.Figure(figures["posterior"], "The posterior over the prior's range: "
                              "marginals, and the regions that hold 50, 80 and 95 % of each pair; "
                              "two circuits that differ, and the path between them."),
            ],
            [table],
            [as_table(outcome.targets)],
        ),
        report.Section(
            "Two circuits that differ, and the way between them",
            _of_the_way(outcome),
            [
                report.Figure(figures["rhythms"], "Membrane voltages of the two circuits, of one "
                              "half way along the path, and of the end of the path across it."),
                report.Figure(figures["way"], "Share of runs that are pyloric at points of the "
                              "path of high probability, and of the path that leads steeply down "
                              "across it; dotted: as far as the paper's goes."),
                report.Figure(figures["paths"], "Density and parameters along both."),
            ],
        ),
        report.Section(
            "Where the simulations went",
            ["A circuit without a rhythm of three phases has features that are undefined: the "
             "density learns from those that it has, and which they are."],
            [
                report.Figure(figures["rounds"], "Share of each round's simulations that had all "
                              "18 features, with 95 % intervals; dashed: that of circuits drawn "
                              "from the prior."),
                report.Figure(figures["ledger"], "Simulations, time and loss of each round."),
                report.Figure(figures["losses"], "Loss by epoch of each round [nats]."),
            ],
        ),
        what_was_done(
            study, command,
            [(name.replace("_", " "), said(settings["config"][name]))
             for name in ("algorithm", "estimator", "training", "likelihood", "fitting")
             if settings["config"][name]],
            _trained(outcome),
            "−log q in z; of the likelihood, −log p(x | θ) in the features' units",
            DEVIATIONS,
        ),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "Circuits behind a pyloric rhythm",
        [
            "Which of all circuits of three neurons and seven synapses produce the rhythm that was "
            "recorded from a crab's stomatogastric ganglion? Simulations alone lead to a density "
            "over 31 conductances.",
            f"Preset {settings['preset']}, seed {settings['seed']}, {outcome.rhythm.title}.",
        ],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 5.",
        names=outcome.learned.posterior.prior.names,
    )


def _trained(outcome: Outcome) -> list[tuple[str, Posterior, int]]:
    search, posterior = outcome.learned
    rows = [(f"{outcome.rhythm.title}, in rounds", search, outcome.config.training.max_epochs)]
    if posterior is not search:
        rows.append(("its likelihood", posterior, outcome.config.fitting.max_epochs))
    return rows


def _of_the_way(outcome: Outcome) -> list[str]:
    pair, ways = outcome.ways.pair, outcome.ways
    asked = "the paper's pair is within 0.1; no closer one of these draws is as different"
    kind = (
        f"{pair.membranes} membrane conductances differ by more than a factor 2, {pair.synapses} "
        "synapses by more than 2 natural logarithms"
    )
    lacking = "" if pair.disparate else " No two pyloric draws were as different as was asked for."
    return [
        f"Two draws: {kind}. Their features are within {pair.apart:.2f} sds of the observed ones "
        f"and of each other, in sds of the training features ({asked}).{lacking}",
        f"Along the path of high probability {Share.of(ways.along.pyloric).told} of the runs were "
        f"pyloric; on the path across it, steeply down and {ways.orthogonal.length:.1f} long, "
        f"{Share.of(ways.across.pyloric).told}, over its last {LAST} points "
        f"{Share.of(ways.across.pyloric[-LAST:]).told}. {PUBLISHED}: over that length here "
        f"{Share.of(ways.near).told}; this is another density, and another pair.",
    ]


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    print(f"  pyloric: {outcome.share.told}")
    print(f"  along the path: {Share.of(outcome.ways.along.pyloric).told}")
    print(f"  across it, for a 27th of its length: {Share.of(outcome.ways.near).told}")
    print(f"  across it, at the end: {Share.of(outcome.ways.across.pyloric[-LAST:]).told}")
    for target in outcome.targets:
        verdict = "met" if target.met else "missed"
        print(f"  {target.what}: {target.found:.3f} ({target.asked}): {verdict}")


TELLING = Telling(draw, results, write, summarise)
