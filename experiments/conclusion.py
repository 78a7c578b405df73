"""How every study ends: its figures, results.json, report.html, a few lines on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs import Run


class Telling(NamedTuple):
    """How a study tells its outcome; F is whatever `draw` gives of the figures.

    draw: (folder, outcome) → F; results: outcome → what results.json holds;
    write: (run, command, outcome, F) → the page's path; summarise: outcome → lines printed.
    """

    draw: Callable[[Path, Any], Any]
    results: Callable[[Any], dict[str, Any]]
    write: Callable[[Run, str, Any, Any], Path]
    summarise: Callable[[Any], None]


def conclude(run: Run, command: str, outcome: Any, telling: Telling) -> dict[str, Any]:
    """Draw, write and print what was found; what results.json holds of it."""
    with run.stage("figures"):
        figures = telling.draw(run.folder / "figures", outcome)
    results = {"command": command} | telling.results(outcome)
    path = run.finish(results)
    page = telling.write(run, command, outcome, figures)
    telling.summarise(outcome)
    print(f"wrote {path} and {page}")
    return results
