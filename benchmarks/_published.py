"""Published C2ST scores of the sbibm benchmark (2021 to 2026), read from the data folder."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulators.voltage_clamp import data_folder


class Score(NamedTuple):
    """A method's mean C2ST over observations of a task, by one classifier; lower is better."""

    task: str
    method: str
    simulations: int
    classifier: str
    c2st: float
    source: str

    @property
    def pretrained(self) -> bool:
        """Whether the method rests on a network trained on other data (prior-fitted, PFN)."""
        return "PFN" in self.method


@cache
def scores(folder: Path | None = None) -> tuple[Score, ...]:
    """All published means; `folder` holds published_c2st.csv (default: the data folder)."""
    rows = _table("published_c2st.csv", folder)
    return tuple(
        Score(
            row["task"],
            row["method"],
            int(row["num_simulations"]),
            row["classifier"],
            float(row["c2st_mean"]),
            row["source"],
        )
        for row in rows
    )


def _matching(task: str, simulations: int, classifier: str) -> list[Score]:
    wanted = (task, simulations, classifier)
    return [s for s in scores() if (s.task, s.simulations, s.classifier) == wanted]


def best(task: str, simulations: int, classifier: str, pretrained: bool = False) -> Score | None:
    """The lowest mean; without `pretrained`, of methods that see this task's simulations only."""
    found = [s for s in _matching(task, simulations, classifier) if pretrained or not s.pretrained]
    return min(found, key=lambda s: s.c2st, default=None)


def amortised_npe(task: str, simulations: int, classifier: str) -> Score | None:
    """NPE in one round: of `sbi` 0.23 (spline flow) by RF, of the 2021 benchmark by MLP."""
    for score in _matching(task, simulations, classifier):
        if score.method == "NPE" or score.method.startswith("NPE (sbi 0.23"):
            return score
    return None


def on_observations(
    task: str, simulations: int, method: str, observations: Iterable[int]
) -> float | None:
    """Mean of the 2021 benchmark (MLP) over the given observations; None where one is missing."""
    wanted, found = set(observations), {}
    for row in _table("published_c2st_per_observation.csv", None):
        if (row["task"], row["algorithm"]) != (task, method):
            continue
        number = int(row["num_observation"])
        if int(row["num_simulations"]) == simulations and number in wanted:
            found[number] = float(row["C2ST"])
    return float(np.mean(list(found.values()))) if set(found) == wanted else None


@cache
def _table(name: str, folder: Path | None) -> list[dict[str, str]]:
    path = (data_folder() / "sbibm" if folder is None else folder) / name
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(
            f"{path} must hold published scores, but cannot be read ({error.strerror}); set "
            "JAXSBI_DATA to the folder that holds sbibm/"
        ) from None
