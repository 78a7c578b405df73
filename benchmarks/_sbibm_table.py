"""The table of the sbibm benchmark: mean C2ST over observations, ours beside the published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
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


def table(lines: Iterable[dict[str, Any]]) -> Table:
    """A row for every task, budget and classifier; bold where ours is at or below the peers.

    Published means are over ten observations; `same` is NPE of the 2021 benchmark (MLP) over the
    observations in the row. The best pre-trained method (PFN) is shown where it is better yet.
    """
    found = means(lines)
    columns = sorted({column for row in found.values() for column in row})
    result = Table(title="C2ST, mean over observations (0.5 is perfect)")
    for name in ("task", "simulations", "classifier", "obs."):
        result.add_column(name)
    for library, algorithm, estimator in columns:
        result.add_column(f"{library}\n{algorithm}, {estimator}", justify="right")
    for name in ("NPE published", "same", "best published", "pre-trained"):
        result.add_column(name, justify="right")
    order = {name: i for i, name in enumerate(TASKS)}
    for row in sorted(found, key=lambda r: (r[1], r[2], order[r[0]])):
        task, simulations, name = row
        numbers = sorted({n for _, seen in found[row].values() for n in seen})
        peers = [c for column, (c, _) in found[row].items() if column[0] != "jaxsbi"]
        npe = _published.amortised_npe(*row)
        same = _published.on_observations(task, simulations, "NPE", numbers)
        best = _published.best(*row)
        pretrained = _published.best(*row, pretrained=True)
        bar = min([*peers, *([npe.c2st] if npe else [])], default=np.inf)
        cells = []
        for column in columns:
            score, seen = found[row].get(column, (None, []))
            text = "" if score is None else f"{score:.3f}"
            if seen and seen != numbers:
                text += f" ({len(seen)})"
            ours = score is not None and column[0] == "jaxsbi" and score <= bar
            cells.append(f"[bold]{text}[/bold]" if ours else text)
        better = pretrained if best and pretrained and pretrained.c2st < best.c2st else None
        result.add_row(
            task,
            str(simulations),
            name,
            ",".join(map(str, numbers)),
            *cells,
            _published_cell(npe),
            f"{same:.3f}" if name == "MLP" and same is not None else "",
            _published_cell(best),
            _published_cell(better),
        )
    return result


def _published_cell(score: _published.Score | None) -> str:
    return "" if score is None else f"{score.c2st:.3f} {score.method.split(' (')[0]}"
