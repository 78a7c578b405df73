"""The sbibm benchmark in short, as the README has it: defaults, the peer, the best published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks import _published
from benchmarks._sbibm_table import Column, means
from benchmarks._tasks import TASKS

CLASSIFIERS = ("RF", "MLP")
OBSERVATIONS = [1, 2, 3, 4, 5]
OURS: dict[str, Column] = {
    "`npe`": ("jaxsbi", "npe", "nsf"),
    "sbi 0.27": ("sbi", "npe", "default"),
    "`nle`, ten rounds": ("jaxsbi", "nle in 10 rounds", "nsf"),
}
PUBLISHED = {"published NPE": _published.amortised_npe, "best published": _published.best}
HEADINGS = ("`npe`", "sbi 0.27", "published NPE", "`nle`, ten rounds", "best published")
NONE = "–"


def summary(lines: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Rows of a Markdown table for each budget: random forest / perceptron, means over all five
    observations; – where one of them is missing."""
    found = means(lines)
    for simulations in sorted({budget for _, budget, _ in found}):
        yield _row(f"{simulations:,} simulations", HEADINGS)
        yield "|" + "---|" * (1 + len(HEADINGS))
        for task in TASKS:
            yield _row(task, [_cell(_score(h, found), task, simulations) for h in HEADINGS])
        yield ""


def _score(heading: str, found: dict) -> Callable[[str, int, str], float | None]:
    """(task, simulations, classifier) ↦ the score under a heading, if there is one."""

    def published(*row: Any) -> float | None:
        score = PUBLISHED[heading](*row)
        return score and score.c2st

    def measured(*row: Any) -> float | None:
        mean, observations = found.get(row, {}).get(OURS[heading], (None, []))
        return mean if observations == OBSERVATIONS else None

    return published if heading in PUBLISHED else measured


def _cell(score: Callable[[str, int, str], float | None], task: str, simulations: int) -> str:
    both = [score(task, simulations, name) for name in CLASSIFIERS]
    told = (NONE if each is None else f"{each:.3f}" for each in both)
    return NONE if both == [None, None] else " / ".join(told)


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"
