"""The figures, the numbers and the page of the study of the linear–nonlinear neuron."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import checks, report
from experiments.account import said, what_was_done
from experiments.conclusion import Telling
from experiments.glm_presets import DEVIATIONS
from experiments.runs import Run
from experiments.targets import as_table, in_results
from jaxsbi import plotting
from jaxsbi.plotting.canvas import GREY, INK, PAGE, RED, figure_of, style
from jaxsbi.plotting.layouts import legend_above
from simulators import glm

if TYPE_CHECKING:
    from experiments.glm import Found, Outcome

COLOURS = {
    "npe": "C0", "apt": "C2", "nle": "C3", "nle-once": "C1", "rejection ABC": "#666666",
    "SMC-ABC": "#111111",
}  # fmt: skip
MARKERS = {
    "npe": "o",
    "apt": "s",
    "nle": "D",
    "nle-once": "P",
    "rejection ABC": "^",
    "SMC-ABC": "v",
}
BESIDE = 1.2
"""By which factor methods stand apart in the figure, for some have the same score."""
ELSEWHERE = {"npe": 0.678, "apt": 0.614, "nle": 0.554, "rejection ABC": 0.976, "SMC-ABC": 0.981}
"""Published C2ST of this model with 10,000 simulations, means over ten observations, of a
perceptron (MLP) alone."""
SHADE, HELD = "#888888", 95  # per cent


def largest(outcome: Outcome) -> list[Found]:
    """Of each method the draws that had the largest budget."""
    methods = dict.fromkeys(f.method for f in outcome.found)
    return [
        max((f for f in outcome.found if f.method == m), key=lambda f: f.simulations)
        for m in methods
    ]


def nearest(outcome: Outcome) -> Found:
    """The learned posterior that classifiers find hardest to tell from the exact one."""
    learned = (f for f in outcome.found if f.posterior is not None)
    return min(learned, key=lambda f: f.score.worst)


def draw(folder: Path, outcome: Outcome) -> dict[str, Path]:
    """All figures as SVG and PNG; the path of each SVG by its kind."""
    best = nearest(outcome)
    figures = {
        "accuracy": accuracy(outcome),
        "filter": filters(outcome),
        "posterior": plotting.pairs(
            best.draws, names=[p.name for p in glm.PARAMETERS], units=10 * [""],
            truth=glm.NOMINAL, points={"exact mean": outcome.exact.mean(axis=0)},
        ),
        "coverage": plotting.coverage(outcome.calibration),
        "ranks": plotting.ecdf(outcome.calibration),
        "losses": plotting.losses(best.posterior.history),
    }  # fmt: skip
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def accuracy(outcome: Outcome):
    """C2ST, the worse of two classifiers, against the number of simulations."""
    with style():
        figure = figure_of(4.4, 2.9, layout="constrained")
        axis = figure.subplots()
        axis.axhline(0.5, color=INK, lw=0.6)
        for bound in sorted({t.bound for t in outcome.targets}):
            axis.axhline(bound, color=SHADE, lw=0.6, ls=":")
            axis.annotate(
                f"target {bound:.2f}", (0.99, bound), (0, 1), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", fontsize=6, color=SHADE,
            )  # fmt: skip
        for place, method in enumerate(dict.fromkeys(f.method for f in outcome.found)):
            same = [f for f in outcome.found if f.method == method]
            axis.plot(
                [f.simulations * BESIDE ** (place - 2) for f in same],
                [f.score.worst for f in same],
                color=COLOURS[method], marker=MARKERS[method], mec="white", mew=0.5, ms=5,
                ls="--" if same[0].posterior is None else "-",
                label=method if same[0].rounds == 1 else f"{method}, {same[0].rounds} rounds",
                clip_on=False, zorder=3,
            )  # fmt: skip
        axis.set(xscale="log", ylim=(0.48, 1.0))
        axis.set_xlabel("simulations")
        axis.set_ylabel("C2ST against exact draws")
        axis.annotate(
            "indistinguishable", (0.99, 0.5), (0, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=6.5,
        )  # fmt: skip
        legend_above(figure, axis.get_legend_handles_labels()[0])
    return figure


def filters(outcome: Outcome):
    """Central 95 % of every parameter: exact in grey, of each method with its largest budget."""
    found = largest(outcome)
    lags = np.arange(1, 10)
    shifts = np.linspace(-0.28, 0.28, len(found))
    with style():
        figure = figure_of(PAGE, 2.5, layout="constrained")
        axes = figure.subplots(1, 2, width_ratios=(1, 8))
        for axis, columns, at in ((axes[0], [0], np.zeros(1)), (axes[1], range(1, 10), lags)):
            columns = list(columns)
            low, middle, high = _central(outcome.exact[:, columns])
            axis.bar(at, high - low, 0.86, low, color=GREY, label="exact, central 95 %")
            axis.hlines(middle, at - 0.43, at + 0.43, color=INK, lw=0.7, label="exact median")
            for shift, each in zip(shifts, found, strict=True):
                ends = _central(each.draws[:, columns])
                axis.errorbar(
                    at + shift, ends[1], (ends[1] - ends[0], ends[2] - ends[1]), fmt="none",
                    ecolor=COLOURS[each.method], elinewidth=1.3,
                    label=f"{each.method}, {each.simulations:,}",
                )  # fmt: skip
            truth = np.asarray(glm.NOMINAL)[columns]
            axis.plot(at, truth, "_", color=RED, ms=11, mew=1.3, label="truth")
        axes[0].set(xlim=(-0.6, 0.6), xticks=[0], xticklabels=["$b_0$"], ylabel="bias")
        axes[1].set(xlim=(0.4, 9.6), xticks=lags, ylabel="filter $h_j$", xlabel="j")
        legend_above(figure, axes[1].get_legend_handles_labels()[0])
    return figure


def _central(draws: np.ndarray) -> np.ndarray:
    """Ends and middle of the central 95 % (3, d)."""
    return np.quantile(draws, [0.5 - HELD / 200, 0.5, 0.5 + HELD / 200], axis=0)


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    names = [p.name for p in glm.PARAMETERS]
    exact = outcome.exact
    return {
        "x_o": dict(zip((f.name for f in glm.FEATURES), outcome.x_o, strict=True)),
        "targets": in_results(outcome.targets),
        "exact": {
            "draws": len(exact),
            **outcome.sampler,
            "mean": dict(zip(names, exact.mean(axis=0), strict=True)),
            "sd": dict(zip(names, exact.std(axis=0), strict=True)),
        },
        "methods": {f.name: _numbers(f) for f in outcome.found},
        "diagnostics": checks.in_results(outcome.checks),
    }


def _numbers(found: Found) -> dict[str, Any]:
    rounds = () if found.posterior is None else found.posterior.history.rounds
    return {
        "simulations": found.simulations,
        "rounds": found.rounds,
        "c2st_mlp": found.score.mlp,
        "c2st_rf": found.score.rf,
        "rows": found.score.rows,
        "largest_error_of_a_mean_in_exact_sds": found.off,
        "train_seconds": sum(r.train_seconds for r in rounds) if rounds else None,
        "compile_seconds": sum(r.compile_seconds for r in rounds) if rounds else None,
        "published_c2st_mlp": ELSEWHERE.get(found.method) if found.simulations == 10_000 else None,
    }


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    best, settings, config = nearest(outcome), study.settings, outcome.config
    captions = {
        "accuracy": "How well classifiers tell draws of each method from exact ones: the worse of "
        f"a perceptron and a random forest, five-fold, {outcome.found[0].score.rows:,} rows. ½ is "
        "guessing. Dashed: approximate Bayesian computation. Dotted: what was aimed at with 10,000 "
        "simulations, in one round and in more. Methods stand a little apart along the axis.",
        "filter": "Bias and filter: central 95 % of each parameter, exact and by each method with "
        "its largest number of simulations; the parameters that made the observation.",
        "posterior": f"The posterior by {best.method} with {best.simulations:,} simulations: "
        "marginals, and the regions that hold 50, 80 and 95 % of each pair.",
    }
    table = report.Table(
        ("method", "simulations", "rounds", "C2ST, MLP", "C2ST, forest", "mean off", "published"),
        [
            (
                f.method, f"{f.simulations:,}", f.rounds, f.score.mlp, f.score.rf, f.off,
                ELSEWHERE.get(f.method) if f.simulations == 10_000 else None,
            )
            for f in outcome.found
        ],
        caption="Distance from the exact posterior. Mean off: the largest error of a mean, in "
        "exact standard deviations. Published: C2ST by a perceptron (MLP) of these methods on this "
        "model, means over ten other observations (Lueckmann et al. 2021, AISTATS).",
    )  # fmt: skip
    sections = [
        report.Section(
            "Distance from the exact posterior",
            [_sentence(outcome), *_missed(outcome)],
            [report.Figure(figures[kind], captions[kind]) for kind in ("accuracy", "filter")],
            [table],
            [as_table(outcome.targets)] if outcome.targets else [],
        ),
        report.Section(
            "The posterior",
            ["The ten features are sufficient, so nothing is lost by looking at them alone. The "
             f"exact draws are the {len(outcome.exact):,} chosen by their weights among "
             f"{outcome.sampler['proposed']:,.0f} of a Gaussian mixture fitted to the posterior, "
             f"which are worth {outcome.sampler['ess']:,.0f} (Pareto shape of the weights "
             f"{outcome.sampler['pareto_k']:.2f}; below 0.5 is good)."],
            [report.Figure(figures["posterior"], captions["posterior"])],
        ),
        report.Section(
            "What could be known without an exact posterior",
            ["A model that cannot be solved leaves only checks by simulation. These are of npe, "
             "which gives a posterior of any observation; the table above says what they miss."],
            [
                report.Figure(figures["coverage"], "Share of true parameters inside the region of "
                              "each credibility; grey: what an exact posterior stays within."),
                report.Figure(figures["ranks"], "How the ranks of true values among draws are "
                              "distributed, less the uniform law that they follow if calibrated."),
                report.Figure(figures["losses"], f"Loss of {best.method} by epoch [nats]."),
            ],
            summary=[checks.as_table(outcome.checks)],
        ),
        what_was_done(
            study,
            command,
            [(name, said(told)) for name, told in settings["config"]["methods"].items()]
            + [("training", said(settings["config"]["training"]))],
            [
                (f"{f.method}, {f.simulations:,}", f.posterior, config.training.max_epochs)
                for f in outcome.found
                if f.posterior is not None
            ],
            "−log q in z; of nle, −log p(x | θ) in the features' units",
            DEVIATIONS,
        ),
    ]  # fmt: skip
    return report.write(
        study.folder / "report.html",
        "A neuron whose posterior is known",
        [
            "How near do learned posteriors come to the exact one, and how many simulations do "
            "they take? A neuron with a temporal filter and ten parameters has a likelihood, so "
            "that both questions have an answer in numbers.",
            f"Preset {settings['preset']}, seed {settings['seed']}.",
        ],
        sections,
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 2.",
        names=[p.name for p in glm.PARAMETERS],
    )


def _sentence(outcome: Outcome) -> str:
    best = nearest(outcome)
    abc = min((f for f in outcome.found if f.posterior is None), key=lambda f: f.score.worst)
    return (
        f"Classifiers that are to tell draws of {best.method}, with {best.simulations:,} "
        f"simulations, from exact ones are right in {100 * best.score.worst:.0f} % of the cases, "
        "where guessing makes 50. Of the best of approximate Bayesian computation, "
        f"{abc.method} with {abc.simulations:,}, they are in {100 * abc.score.worst:.0f} %."
    )


def _missed(outcome: Outcome) -> list[str]:
    """Why targets were missed: what was asked of whom, and by which classifier."""
    if all(t.met for t in outcome.targets):
        return []
    ours = [f for f in outcome.found if f.posterior is not None and f.simulations == 10_000]
    told = "; ".join(
        f"{f.method} {f.score.mlp:.3f} and {f.score.rf:.3f}"
        + (f" (published {ELSEWHERE[f.method]:.3f})" if f.method in ELSEWHERE else "")
        for f in ours
    )
    return [
        "Where a target was missed it was by the random forest, which sees more than the "
        "perceptron that published scores are of: a target is of the worse of the two. Perceptron "
        f"and forest with 10,000 simulations: {told}."
        if all(f.score.rf > f.score.mlp for f in ours)
        else "A target is of the worse of two classifiers, published scores are of a perceptron "
        f"alone. Perceptron and forest with 10,000 simulations: {told}."
    ]


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    for f in outcome.found:
        print(f"  {f.method:>13} {f.simulations:>10,}  C2ST {f.score.mlp:.3f} {f.score.rf:.3f}")
    for target in outcome.targets:
        verdict = "met" if target.met else "missed"
        print(f"  {target.what}: {target.found:.3f} ({target.asked}): {verdict}")


TELLING = Telling(draw, results, write, summarise)
