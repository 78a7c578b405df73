"""The README's scores of the sbibm benchmark are those that were measured."""

from collections.abc import Callable
from pathlib import Path

from benchmarks import sbibm
from benchmarks._sbibm_summary import COLUMNS, summary
from benchmarks._tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]


def lines(*observations: int, classifier: str = "RF") -> list[dict]:
    run = ("slcp", "npe", 1000, 1, "nsf", 0, "jaxsbi")
    known = dict(zip(sbibm.Run._fields, run, strict=True), classifier=classifier)
    return [{**known, "observation": n, "c2st": 0.5 + 0.01 * n} for n in observations]


def cells(found: list[dict]) -> dict[str, str]:
    row = next(row for row in summary(found) if row.startswith("| slcp |"))
    return dict(zip(COLUMNS, row.strip("| ").split(" | ")[1:], strict=True))


def test_a_mean_is_told_once_all_five_observations_are_scored(data: Callable) -> None:
    data("sbibm/published_c2st.csv")
    assert cells(lines(1, 2, 3, 4, 5))["`npe`"] == "0.530 / –"
    assert cells(lines(1, 2, 3, 4))["`npe`"] == "–"
    both = lines(1, 2, 3, 4, 5) + lines(1, 2, 3, 4, 5, classifier="MLP")
    assert cells(both)["`npe`"] == "0.530 / 0.530"
    assert cells(both)["`nle`, ten rounds"] == "–"
    assert cells(both)["best published"] == "0.831 / 0.921"


def test_the_readme_has_the_tables_of_the_recorded_scores(data: Callable) -> None:
    data("sbibm/published_c2st.csv")
    recorded = sbibm.lines_of(ROOT / "benchmarks" / "results" / "sbibm.jsonl")
    expected = [row for row in summary(recorded) if row.startswith("| ")]
    assert len(expected) == 2 * (1 + len(TASKS))
    readme = (ROOT / "README.md").read_text().splitlines()
    assert [row for row in expected if row not in readme] == []
