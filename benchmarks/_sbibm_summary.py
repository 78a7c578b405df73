"""The sbibm benchmark in short, as the README has it: defaults, the peer, the best published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks import _published
from benchmarks._c2st import CLASSIFIERS
from benchmarks._sbibm_table import Column, Row, means
from benchmarks._tasks import TASKS

OBSERVATIONS = [1, 2, 3, 4, 5]
COLUMNS: dict[str, Column | Callable[..., _published.Score | None]] = {
    "`npe`": ("jaxsbi", "npe", "nsf"),
    "sbi 0.27": ("sbi", "npe", "default"),
    "published NPE": _published.amortised_npe,
    "`nle`, ten rounds": ("jaxsbi", "nle in 10 rounds", "nsf"),
    "best published": _published.best,
}
"""What was measured, and what is looked up of a task, a budget and a classifier."""
NONE = "–"


def summary(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Rows of a Markdown table for each budget: random forest / perceptron, means over all five
    observations; – where one of them is missing."""
    found = means(lines)
    for simulations in sorted({budget for _, budget, _ in found}):
        yield _row(f"{simulations:,} simulations", COLUMNS)
        yield "|" + "---|" * (1 + len(COLUMNS))
        for task in TASKS:
            rows = [(task, simulations, name) for name in CLASSIFIERS]
            yield _row(task, [_cell([_score(of, row, found) for row in rows])
                              for of in COLUMNS.values()])  # fmt: skip
        yield ""


def _score(of: Column | Callable, row: Row, found: dict) -> float | None:
    """The score of a task, a budget and a classifier in one column, if there is one."""
    if callable(of):
        score = of(*row)
        return score and score.c2st
    mean, observations = found.get(row, {}).get(of, (None, []))
    return mean if observations == OBSERVATIONS else None


def _cell(scores: list[float | None]) -> str:
    if not any(scores):
        return NONE
    return " / ".join(NONE if each is None else f"{each:.3f}" for each in scores)


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"
