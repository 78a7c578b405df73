"""An amortised posterior and one observation: every check and figure that such a pair allows.

What a study of one's own needs between `jaxsbi.infer` and its report; see own_model.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

import jaxsbi
from experiments import checks, closeup, modes, report
from experiments.checks import Check
from experiments.predictions import central
from experiments.targets import Target, as_table
from jaxsbi import plotting
from jaxsbi.diagnostics import LEVELS, Calibration
from jaxsbi.posteriors import Posterior
from jaxsbi.types import Simulator

if TYPE_CHECKING:
    from matplotlib.figure import Figure


GAP = 0.05
"""Share by which the coverage of a calibrated posterior may be off."""


class Outcome(NamedTuple):
    """Draws (n, d) and their simulations (n, k), the mode (d,), and what the checks say.

    truth: the parameters (d,) behind x_o (k,), if they are known; at_bound: the parameters whose
    mode lies at a bound of the prior; names: of the features.
    """

    posterior: Posterior
    x_o: np.ndarray
    truth: np.ndarray | None
    names: Sequence[str]
    draws: np.ndarray
    predicted: np.ndarray
    mode: np.ndarray
    at_bound: tuple[str, ...]
    calibration: Calibration
    checks: tuple[Check, ...]


def validate(
    key: jax.Array,
    simulate: Simulator,
    posterior: Posterior,
    truth: Any,
    names: Sequence[str],
    draws: int,
    fresh: int,
    mode: np.ndarray | None = None,
) -> Outcome:
    """Simulate `draws` of the posterior anew, and rank the truth of `fresh` draws of the prior.

    mode: the posterior's (d,), if it was found before.
    """
    keys, x_o = jax.random.split(key, 5), posterior.x_o
    theta = posterior.sample(keys[0], draws)
    predicted = np.asarray(jaxsbi.predict(keys[1], simulate, theta))
    from_prior = jaxsbi.simulate(keys[2], simulate, posterior.prior, fresh)
    calibration = jaxsbi.diagnostics.calibrate(
        keys[3], posterior, *from_prior, samples=min(499, 5 * fresh)
    )
    made = checks.make(
        keys[4], posterior, calibration, x_o, tuple(map(np.asarray, from_prior)), predicted, names
    )
    mode = modes.mode_of(posterior) if mode is None else np.asarray(mode)
    return Outcome(
        posterior, np.asarray(x_o), None if truth is None else np.asarray(truth), names,
        np.asarray(theta), predicted, mode, modes.at_bound(mode, posterior.prior), calibration,
        made,
    )  # fmt: skip


def draw(folder: Path, found: Outcome, **more: Figure) -> dict[str, Path]:
    """The figures that every posterior has, and `more`, as SVG and PNG; the SVGs by their kind."""
    figures = {
        **closeup.pairs(found.draws, found.posterior.prior, found.truth, found.mode),
        "ranks": plotting.ecdf(found.calibration),
        "coverage": plotting.coverage(found.calibration),
        "losses": plotting.losses(found.posterior.history),
        **more,
    }
    return {kind: plotting.save(figure, folder, kind)[1] for kind, figure in figures.items()}


def results(found: Outcome) -> dict[str, Any]:
    """What results.json says."""
    low, high = central(found.predicted)
    rounds = found.posterior.history.rounds
    return {
        "simulations": {name: sum(getattr(r, name) for r in rounds) for name in ("drawn", "valid")},
        "posterior": {row[0]: dict(zip(COLUMNS, row[2:], strict=True)) for row in _rows(found)},
        "map_at_bound": found.at_bound,
        "share_of_features_held": float(np.mean((found.x_o >= low) & (found.x_o <= high))),
        "coverage": dict(zip(map(str, LEVELS), found.calibration.coverage(LEVELS), strict=True)),
        "diagnostics": checks.in_results(found.checks),
    }


def calibrated(found: Outcome) -> tuple[Target, ...]:
    """What any posterior is to show: ranks are uniform, regions cover what they say."""
    wrong = int(np.sum(found.calibration.rejected()))
    return (
        Target("parameters whose ranks are not uniform", wrong, 0),
        Target("coverage off", found.calibration.gap, GAP),
    )


COLUMNS = ("truth", "mean", "sd", "MAP")


def _rows(found: Outcome) -> list[tuple[Any, ...]]:
    prior, d = found.posterior.prior, found.draws.shape[1]
    truth = [None] * d if found.truth is None else map(float, found.truth)
    columns = found.draws.mean(axis=0), found.draws.std(axis=0), found.mode
    numbers = ([float(v) for v in column] for column in columns)
    return list(zip(prior.names, prior.units, truth, *numbers, strict=True))


def sections(
    found: Outcome,
    figures: dict[str, Path],
    said: Sequence[str],
    *more: report.Figure,
    targets: Sequence[Target] = (),
) -> list[report.Section]:
    """What was found, with `more` figures; how far to trust it, and whether `targets` are met."""
    shown = [
        report.Figure(figures["posterior"], closeup.OVER_PRIOR),
        *([report.Figure(figures["close"], closeup.OVER_DRAWS)] if "close" in figures else []),
        *more,
    ]
    numbers = report.Table(
        ("parameter", "unit", *COLUMNS),
        _rows(found),
        "Posterior mean, standard deviation and mode of each parameter.",
    )
    of_mode = modes.sentences(found.mode, found.draws, found.posterior.prior.names, found.at_bound)
    captions = {
        "ranks": "Ranks of true values among draws, for parameters drawn from the prior, less the "
        "uniform law that they follow if calibrated.",
        "coverage": "Share of true parameters inside the region of each credibility; grey: what an "
        "exact posterior stays within in 95 % of such checks, at each level by itself.",
        "losses": "Loss by epoch [nats]; that of rows held out is of the averaged weights, which "
        "are kept.",
    }
    return [
        report.Section("What was found", [*said, *of_mode], shown, [numbers]),
        report.Section(
            "How far to trust it",
            [f"Calibration: {found.calibration.verdict}."],
            [report.Figure(figures[kind], caption) for kind, caption in captions.items()],
            summary=[*([as_table(targets)] if targets else []), checks.as_table(found.checks)],
        ),
    ]


def summarise(found: Outcome) -> None:
    """The result in a few lines on the terminal."""
    for name, unit, truth, mean, sd, _ in _rows(found):
        known = "" if truth is None else f"   truth {truth:.4g}"
        print(f"  {name:>12} {mean:9.4g} ± {sd:<9.3g} {unit:<8}{known}")
    for check in found.checks:
        print(f"  {check.name}: {check.verdict}")
