"""The table of the sbibm benchmark: mean C2ST over observations, ours beside the published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import _published
from benchmarks._tasks import TASKS

Row = tuple[str, int, str]
Column = tuple[str, str, str]


def means(lines: Iterable[dict[str, Any]]) -> dict[Row, dict[Column, tuple[float, list[int]]]]:
    """By (task, simulations, classifier), then by (library, algorithm, with its number of rounds,
    estimator): the mean score over observations and seeds, and the observations."""
    scores: dict = defaultdict(lambda: defaultdict(list))
    for line in lines:
        row = line["task"], line["simulations"], line["classifier"]
        algorithm, rounds = line["algorithm"], line["rounds"]
        algorithm = algorithm if rounds == 1 else f"{algorithm} in {rounds} rounds"
        column = line["library"], algorithm, line["estimator"]
        scores[row][column].append((line["c2st"], line["observation"]))
    return {
        row: {
            column: (float(np.mean([c for c, _ in pairs])), sorted({o for _, o in pairs}))
            for column, pairs in columns.items()
        }
        for row, columns in scores.items()
    }


def tables(lines: Iterable[dict[str, Any]]) -> Iterator[Table]:
    """One for every budget and classifier, a row for every task; bold where ours is at or below
    the peers' and the published NPE, underlined where at or below the best published; no mark
    where the observations are others than the row's.

    Published means are over ten observations; `same` is NPE of the 2021 benchmark (MLP) over the
    observations in the row. The best pre-trained method (PFN) is shown where it is better yet.
    """
    found = means(lines)
    order = {name: i for i, name in enumerate(TASKS)}
    for simulations, name in sorted({row[1:] for row in found}):
        rows = sorted((r for r in found if r[1:] == (simulations, name)), key=lambda r: order[r[0]])
        columns = sorted({column for row in rows for column in found[row]})
        title = (
            f"C2ST by {name}, {simulations:,} simulations: mean over observations (.5 is perfect)"
        )
        result = Table(title=title)
        for heading in ("task", "obs."):
            result.add_column(heading, no_wrap=True)
        for column in columns:
            result.add_column(
                "\n".join(column).replace(" in ", "\n"), justify="right", no_wrap=True
            )
        for heading in ("published\nNPE", "on the\nsame", "best", "pre-\ntrained"):
            result.add_column(heading)
        for row in rows:
            result.add_row(*_cells(row, found[row], columns))
        yield result


def _cells(
    row: Row, found: dict[Column, tuple[float, list[int]]], columns: list[Column]
) -> Iterator[str]:
    task, simulations, name = row
    numbers = sorted({n for _, seen in found.values() for n in seen})
    peers = [c for column, (c, seen) in found.items() if column[0] != "jaxsbi" and seen == numbers]
    npe, best = _published.amortised_npe(*row), _published.best(*row)
    same = _published.on_observations(task, simulations, "NPE", numbers)
    pretrained = _published.best(*row, pretrained=True)
    bar = min([*peers, *([npe.c2st] if npe else [])], default=0.0)
    yield task
    yield _span(numbers)
    for column in columns:
        score, seen = found.get(column, (None, []))
        text = "" if score is None else f"{score:.3f}"
        if seen and seen != numbers:
            text += f" ({len(seen)})"
        ours = seen == numbers and column[0] == "jaxsbi"
        text = f"[bold]{text}[/bold]" if ours and score <= bar else text
        yield f"[underline]{text}[/underline]" if ours and best and score <= best.c2st else text
    yield _published_cell(npe)
    yield f"{same:.3f}" if name == "MLP" and same is not None else ""
    yield _published_cell(best)
    yield _published_cell(
        pretrained if best and pretrained and pretrained.c2st < best.c2st else None
    )


def _span(numbers: list[int]) -> str:
    """1–5 for a run of numbers."""
    first, last = numbers[0], numbers[-1]
    whole = len(numbers) > 2 and last - first + 1 == len(numbers)
    return f"{first}–{last}" if whole else ",".join(map(str, numbers))


def _published_cell(score: _published.Score | None) -> str:
    return "" if score is None else f"{score.c2st:.3f} {score.method.split(' (')[0]}"
