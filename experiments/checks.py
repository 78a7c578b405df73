"""The diagnostics of one posterior at one x_o: for each what it asks, its verdict, its p-value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from experiments.report import Table
from jaxsbi import diagnostics
from jaxsbi.diagnostics import Calibration
from jaxsbi.diagnostics.significance import CHANCE
from jaxsbi.posteriors import Posterior

DRAWS = 99
"""Posterior draws of each row, of the tests that need no tails; LC2ST sets one of them apart."""
NEAREST = 300


class Check(NamedTuple):
    """One diagnostic. p_value: None where the check could not be made."""

    name: str
    question: str
    verdict: str
    p_value: float | None


def make(
    key: jax.Array,
    amortised: Posterior,
    calibration: Calibration,
    x_o: PyTree,
    from_prior: tuple[np.ndarray, PyTree],
    predicted: PyTree,
    names: Sequence[str],
) -> tuple[Check, ...]:
    """All that simulations at hand allow, in seconds.

    amortised, calibration: the posterior of any x, and its ranks over from_prior, fresh (θ, x);
    predicted: x of draws at x_o, of that posterior or of one refined for x_o; names: of the
    features.
    """
    key_tarp, key_local = jax.random.split(key)
    _, x = from_prior
    tests: list[tuple[str, str, Callable[[], Any], Callable[[Any], float]]] = [
        ("sbc", "Are true values ranked evenly among draws, parameter by parameter?",
         lambda: calibration, lambda f: min(1.0, len(f.p_values) * float(np.min(f.p_values)))),
        ("coverage", "Do regions of highest density hold the truth as often as they say?",
         lambda: calibration, lambda f: f.coverage_p_value),
        ("tarp", "Does the truth lie among draws of all parameters at once?",
         lambda: diagnostics.tarp(key_tarp, amortised, *from_prior, samples=DRAWS),
         lambda f: f.p_value),
        ("lc2st", "Can a classifier tell truth from draws, for data like this?",
         lambda: diagnostics.lc2st(key_local, amortised, *from_prior, x_o=x_o, nearest=NEAREST,
                                   samples=DRAWS - 1),
         lambda f: f.p_value),
        ("predictive", "Do draws, simulated anew, behave like what was observed?",
         lambda: diagnostics.predictive(x_o, predicted, names=names),
         lambda f: min(1.0, 2 * min(len(f.p_values) * float(np.min(f.p_values)), f.joint))),
        ("misspecification", "Does the observation lie where simulations of the model do?",
         lambda: diagnostics.misspecification(x_o, x, names=names),
         lambda f: float(f.p_values[0])),
    ]  # fmt: skip
    return tuple(_made(*test) for test in tests)


def in_results(checks: Sequence[Check]) -> dict[str, dict[str, Any]]:
    """As results.json has them."""
    return {c.name: {"verdict": c.verdict, "p_value": c.p_value} for c in checks}


def as_table(checks: Sequence[Check]) -> Table:
    """As a report has them."""
    return Table(
        ("diagnostic", "verdict"), [(f"{c.name}: {c.question}", c.verdict) for c in checks]
    )


def _made(name: str, question: str, test: Callable[[], Any], p_value: Callable) -> Check:
    try:
        found = test()
    except ValueError as error:  # too few rows, of a run that is meant to be small
        return Check(name, question, f"not made: {error}", None)
    verdict = _of_coverage(found) if name == "coverage" else found.verdict
    return Check(name, question, verdict, p_value(found))


def _of_coverage(found: Calibration) -> str:
    said = (
        f"{100 * share:.0f} % for {100 * level:.0f} %"
        for share, level in zip(found.coverage(), diagnostics.LEVELS, strict=True)
    )
    more = ", more than chance explains" if found.coverage_p_value <= CHANCE else ""
    return f"of the true parameter sets, regions hold {', '.join(said)}{more}"
