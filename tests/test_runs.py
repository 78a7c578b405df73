"""A run's folder: the same run goes on in it, another one is told what differs and kept out."""

import json

import numpy as np
import pytest

from experiments.runs import Run
from jaxsbi.fingerprints import differences

SETTINGS = {"study": "s", "seed": 0, "x_o": {"mean": -59.7431735, "sd": 0.0581}, "sizes": [1, 2]}


def files(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def test_the_same_run_is_taken_up_with_its_times(tmp_path):
    first = Run(tmp_path / "out", SETTINGS, folders=("figures",))
    with first.stage("simulate"):
        pass
    second = Run(tmp_path / "out", SETTINGS, folders=("figures",))
    assert second.stages == first.stages and set(second.stages) == {"simulate"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, ["seed 0, not 1"]),
        ({"x_o": {"mean": -59.75, "sd": 0.0581}}, ["x_o.mean -59.7432, not -59.75"]),
        ({"x_o": {"mean": -59.7431736, "sd": 0.0581}}, []),  # one recording, read in two ways
        ({"sizes": [1, 3]}, ["sizes[1] 2, not 3"]),
        ({"sizes": [1]}, ["sizes given, not given"]),
        ({"more": True}, ["more absent, not True"]),
    ],
)
def test_only_what_differs_is_named(change, named):
    assert differences(SETTINGS, SETTINGS | change) == named


def test_another_run_is_refused_in_one_short_line(tmp_path):
    many = {"x_o": {str(i): float(i) for i in range(100)}}
    Run(tmp_path, many)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="holds another run .x_o.0 0, not 1; .* and 97 more") as e:
        Run(tmp_path, {"x_o": {str(i): i + 1.0 for i in range(100)}}, folders=("figures",))
    assert len(str(e.value)) < 200 + len(str(tmp_path))
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", ["[1]", "1", "null", '"text"', "{", ""])
def test_settings_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match="holds no run"):
        Run(tmp_path, SETTINGS)
    assert (tmp_path / "run.json").read_text() == content


@pytest.mark.parametrize("content", ['{"simulate": {"compi', "[1]", '{"simulate": 1}', "\udcff"])
def test_cut_times_are_refused_by_the_name_of_their_file(tmp_path, content):
    Run(tmp_path, SETTINGS)
    (tmp_path / "stages.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match="stages.json was cut or altered: .*; remove it"):
        Run(tmp_path, SETTINGS)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    Run(tmp_path, SETTINGS)
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(ValueError, match="cannot be read and written .File exists: .*figures"):
        Run(tmp_path, SETTINGS, folders=("posterior", "figures"))
    assert (tmp_path / "figures").read_text() == "a file"


def test_results_are_json_whatever_the_numbers_are(tmp_path):
    """A NaN or an infinity is no JSON, and other readers refuse a file that has one."""
    undefined = {"x_o": {"skewness": np.float32(np.nan), "mean": -60.0}}
    results = {
        "loss": [np.inf, 1.5, float("nan")],
        "p": {"a": np.array([[0.5, -np.inf]]), "b": (True, None, np.int64(3), np.bool_(False))},
    }
    path = Run(tmp_path / "out", SETTINGS | undefined).finish(results)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert found["loss"] == [None, 1.5, None]
    assert found["p"] == {"a": [[0.5, None]], "b": [True, None, 3, False]}
    assert found["settings"]["x_o"] == {"skewness": None, "mean": -60.0}
    Run(tmp_path / "out", SETTINGS | undefined)  # the same run
    with pytest.raises(ValueError, match="x_o.skewness None, not 4"):
        Run(tmp_path / "out", SETTINGS | {"x_o": {"skewness": 4.0, "mean": -60.0}})


def test_settings_are_kept_as_they_were_compared(tmp_path):
    run = Run(tmp_path, SETTINGS)
    assert json.loads((tmp_path / "run.json").read_text()) == run.settings == SETTINGS
