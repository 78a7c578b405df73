"""The figures, the numbers and the page of the study of potassium channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import one_posterior, report
from experiments.account import said, what_was_done
from experiments.channels_figures import bare, draw, reached
from experiments.channels_presets import DEVIATIONS
from experiments.channels_reach import ALIKE
from experiments.channels_targets import DRAWN, FAMILIES, HIGH, LOW
from experiments.conclusion import Telling
from experiments.runs import Run
from experiments.targets import as_table, in_results
from simulators import channels

if TYPE_CHECKING:
    from experiments.channels import Detail, Outcome

NAMES = [p.name for p in channels.PARAMETERS]
HELD = 0.95
OWN_RANGE = ", over the range of its own draws if that is narrow, else over the prior's."
CORNER = (
    " The prior's box is wide: in f and h most published channels lie within two hundredths of its "
    "range from 0, where few simulations are."
)


def results(outcome: Outcome) -> dict[str, Any]:
    """What results.json says."""
    told, found, within = outcome.channels, outcome.correlations, reached(outcome)
    families = np.array(told.families)
    first, number = told.distinct
    return {
        "channels": len(told.names),
        "distinct": len(first),
        "published": told.published,
        "within_reach": outcome.reach.reached.sum(),
        "nearest_to_the_line": dict(
            zip(("channel", "correlation"), _borderline(outcome), strict=True)
        ),
        "targets": in_results(outcome.targets),
        "correlation": {
            "all": _told(found),
            "distinct": _told(found[first]),
            "distinct_within_reach": _told(found[first][outcome.reach.reached]),
            "distinct_beyond": _told(found[first][~outcome.reach.reached]),
        },
        "families": {f: _told(found[families == f]) for f in dict.fromkeys(told.families)},
        "milliseconds_per_channel": outcome.milliseconds,
        "details": {
            bare(outcome, d.row): {
                "correlation": found[d.row],
                "theta": dict(zip(NAMES, told.theta[d.row], strict=True)),
                "mode": dict(zip(NAMES, outcome.modes[d.row], strict=True)),
                "sd": dict(zip(NAMES, d.draws.std(axis=0), strict=True)),
                "off_the_mean_in_sds": dict(zip(NAMES, _off(outcome, d), strict=True)),
                "share_of_draws_denser": d.denser,
            }
            for d in outcome.details
        },
        "beyond_reach": {
            bare(outcome, first[k]): {
                "correlation": found[first[k]],
                "of_nearest_in_prior": outcome.reach.correlation[k],
                "lost_by": _lost(outcome, k),
            }
            for k in np.flatnonzero(~outcome.reach.reached)
        },
        "each": [
            {"name": name, "correlation": r, "within_reach": bool(near), "theta": number[i]}
            for i, (name, r, near) in enumerate(zip(told.names, found, within, strict=True))
        ],
        "detail_1": one_posterior.results(outcome.found),
    }


def _told(r: np.ndarray) -> dict[str, Any]:
    low, median = np.quantile(r, [0.1, 0.5]) if len(r) else (None, None)
    return {"count": len(r), "low_10": low, "median": median, "least": r.min(initial=1.0)}


def _borderline(outcome: Outcome) -> tuple[str, float]:
    """The distinct channel that is hardest to call within reach or beyond it: name, correlation."""
    r = outcome.reach.correlation
    k = int(np.argmin(np.abs(r - ALIKE)))
    return bare(outcome, outcome.channels.distinct[0][k]), float(r[k])


def _off(outcome: Outcome, detail: Detail) -> np.ndarray:
    """(θ − mean) / sd of a channel's own parameters among draws of its posterior (8,)."""
    theta = outcome.channels.theta[detail.row]
    return (theta - detail.draws.mean(axis=0)) / np.maximum(detail.draws.std(axis=0), 1e-12)


def _outside(outcome: Outcome) -> list[str]:
    """A sentence on the channels whose own parameters their posterior all but excludes."""
    farthest = []
    for d in outcome.details:
        if d.denser > HELD:
            off = _off(outcome, d)
            i = int(np.argmax(np.abs(off)))
            farthest.append(f"{bare(outcome, d.row)} ({NAMES[i]} by {off[i]:.2g} sds)")
    if not farthest:
        return []
    return [
        f"The parameters of {', '.join(farthest)} lie outside the region that holds "
        f"{100 * HELD:.0f} % of the channel's own posterior; in brackets, how far the one farthest "
        "from its mean is. A current that correlates is not the same as parameters found."
    ]


def _lost(outcome: Outcome, k: int) -> dict[str, float]:
    """Parameters of a distinct channel which the prior's box alone keeps it from reaching."""
    theta = outcome.channels.theta[outcome.channels.distinct[0][k]]
    return {NAMES[i]: float(theta[i]) for i in np.flatnonzero(outcome.reach.lost[k])}


def write(study: Run, command: str, outcome: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    settings, told = study.settings, outcome.channels
    how = [("density", said(settings["config"]["estimator"])),
           ("its training", said(settings["config"]["training"]))]  # fmt: skip
    trained = [("all channels", outcome.posterior, outcome.config.training.max_epochs)]
    whose = (
        "Hundreds of models of potassium channels have been published, each with equations of its "
        "own."
        if told.published
        else "The published channels are not at hand: these were drawn from the prior."
    )
    return report.write(
        study.folder / "report.html",
        "The channel behind this current",
        [
            f"{whose} One model with eight parameters stands for them. Which parameters agree "
            "with the currents of a channel under voltage clamp? One posterior density, trained "
            "once, answers for every channel.",
            f"Preset {settings['preset']}, seed {settings['seed']}.",
        ],
        [
            _all_channels(outcome, figures),
            *_beyond(outcome),
            *_in_detail(outcome, figures),
            what_was_done(study, command, how, trained, deviations=DEVIATIONS),
        ],
        footer="Gonçalves et al. 2020, eLife 9:e56261, figure 3; Podlaski et al. 2017, eLife "
        "6:e22152.",
        names=NAMES,
    )


def _all_channels(outcome: Outcome, figures: dict[str, Path]) -> report.Section:
    told, found = outcome.channels, outcome.correlations
    first, _ = told.distinct
    families, times = np.array(told.families), outcome.milliseconds
    name, line = _borderline(outcome)
    rows = [
        (family, *(_told(found[families == family])[k] for k in ("count", "low_10", "median")))
        for family in dict.fromkeys((*FAMILIES, DRAWN))
        if family in families
    ]
    return report.Section(
        "One posterior for every channel",
        [
            f"Of {len(found):,} channels, {len(first):,} of them distinct, the current at the mode "
            f"of the posterior correlates with the channel's own by {np.median(found):.3f} "
            "(median), all protocols one after the other, each with noise of its own.",
            f"The prior reaches {outcome.reach.reached.sum()} of the distinct ones: moved to its "
            f"box, their parameters give a current that correlates with theirs by {ALIKE} or more. "
            f"Nearest to that line is {name}, with {line:.5f}.",
            f"A channel takes {times['mode']:.0f} ms for the mode and {times['draws']:.1f} ms for "
            f"{outcome.config.draws:,} draws, once the density is trained and compiled.",
        ],
        [report.Figure(figures["correlations"], "Correlation of a channel's current with that at "
         "the mode of its posterior: the farther right, the more alike. Left: how many channels; "
         "right: each by its family, which is told by the name of its model.")],
        [report.Table(("family", "channels", "10th percentile", "median"), rows,
                      "Correlations by family.")],
        [as_table(outcome.targets)],
    )  # fmt: skip


def _beyond(outcome: Outcome) -> list[report.Section]:
    """The channels that the prior does not reach, and why; nothing where there are none."""
    told, far = outcome.channels, np.flatnonzero(~outcome.reach.reached)
    if not far.size:
        return []
    first, number = told.distinct
    rows = [
        (
            bare(outcome, first[k]),
            int(np.sum(number == k)),
            float(outcome.reach.correlation[k]),
            float(outcome.correlations[first[k]]),
            ", ".join(f"{n} = {report.number(v)}" for n, v in _lost(outcome, k).items())
            or "several together",
        )
        for k in far
    ]
    turned = int(np.sum(told.theta[first[far], 0] < LOW[0]))
    ranges = ", ".join(
        f"{n} {report.number(low)} … {report.number(high)}"
        for n, low, high in zip(NAMES, LOW, HIGH, strict=True)
    )
    return [
        report.Section(
            "Channels beyond the prior's reach",
            [
                f"{len(far)} distinct channels lie beyond the prior, and the nearest point of its "
                f"box has another current. {turned} of them have a < 0: they open where others "
                f"close, at negative voltages. The prior's box is {ranges}.",
            ],
            tables=[
                report.Table(
                    ("channel", "copies", "nearest in the prior", "mode", "lost by"),
                    rows,
                    "Correlation with the current at the nearest point of the prior's box, and at "
                    "the mode; and the parameters which, moved to the box alone, lose the channel.",
                )
            ],
        )
    ]


def _in_detail(outcome: Outcome, figures: dict[str, Path]) -> list[report.Section]:
    """Some channels one by one, and how far to trust the first one's posterior."""
    which = [bare(outcome, d.row) for d in outcome.details]
    told = [
        f"{name} (its mode's current correlates by {outcome.correlations[d.row]:.4f})"
        for name, d in zip(which, outcome.details, strict=True)
    ]
    table = report.Table(
        ("parameter", "unit", *(text for name in which for text in (name, "mode", "off"))),
        [
            (
                p.name,
                p.unit,
                *(
                    float(values[i])
                    for d in outcome.details
                    for values in (
                        outcome.channels.theta[d.row],
                        outcome.modes[d.row],
                        _off(outcome, d),
                    )
                ),
            )
            for i, p in enumerate(channels.PARAMETERS)
        ],
        "Parameters of the channels, the modes of their posteriors, and how far the parameters are "
        "off the posterior means, in posterior standard deviations.",
    )
    others = [
        report.Figure(figures[f"posterior_{i + 2}"], f"Posterior of {name}" + OWN_RANGE)
        for i, name in enumerate(which[1:])
    ]
    shown = report.Figure(
        figures["currents"],
        "Currents of the channels under the protocols, some of the sweeps, and those of the modes.",
    )
    found, trust = one_posterior.sections(
        outcome.found,
        figures,
        [
            f"Distinct channels inside the prior: {', '.join(told)}. Means and checks below are of "
            "the first." + (CORNER if outcome.channels.published else ""),
            *_outside(outcome),
        ],
        *others,
    )
    figures_ = (shown, *found.figures)
    return [
        replace(
            found, heading="Channels in detail", figures=figures_, tables=[table, *found.tables]
        ),
        trust,
    ]


def summarise(outcome: Outcome) -> None:
    """The result in a few lines on the terminal."""
    first, _ = outcome.channels.distinct
    print(f"  correlation: {np.median(outcome.correlations):.4f} (median of all channels)")
    print(f"  within reach: {outcome.reach.reached.sum()} of {len(first)} distinct channels")
    for target in outcome.targets:
        print(f"  {target.what}: {target.found:.4f} ({target.asked})")
    print(f"  a channel's mode: {outcome.milliseconds['mode']:.0f} ms")
    for check in outcome.found.checks:
        print(f"  {check.name}: {check.verdict}")


TELLING = Telling(draw, results, write, summarise)
