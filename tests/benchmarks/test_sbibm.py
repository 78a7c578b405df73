"""The benchmark's command: nothing finished is done again, amortised posteriors train once."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from benchmarks import sbibm
from benchmarks._tasks import observation

ROOT = Path(__file__).resolve().parents[2]


def at_once(function: Callable, *arguments: object) -> Future:
    future: Future = Future()
    future.set_result(function(*arguments))
    return future


@pytest.fixture
def benchmark(data: Callable, tmp_path: Path, monkeypatch) -> SimpleNamespace:
    """The command without its costs: samples are the reference's, scores count its rows."""
    data("sbibm/sir/obs_1.npz")
    trained: list = []

    def sample(run: sbibm.Run, task: object, observations: list) -> list[tuple]:
        trained.append((run.library, run.task, len(observations)))
        return [(observation(run.task, 1).reference, {"train_seconds": 1.0})] * len(observations)

    monkeypatch.setattr(sbibm, "sample_jaxsbi", sample)
    monkeypatch.setattr(sbibm, "sample_peer", sample)
    monkeypatch.setattr(sbibm, "cached_c2st", lambda reference, *_: len(reference) / 20_000)

    def measure(**changed: object) -> list[dict]:
        options = {
            "task": ["sir"], "algorithm": ["npe"], "simulations": [1000], "observations": [1, 2],
            "estimator": "nsf", "rounds": 10, "seed": 0, "peer": [], "classifiers": ["RF"],
            "out": tmp_path / "out.jsonl", "cache": tmp_path / "cache",
        }  # fmt: skip
        sbibm.measure(argparse.Namespace(**{**options, **changed}), SimpleNamespace(submit=at_once))
        return sbibm.lines_of(tmp_path / "out.jsonl")

    return SimpleNamespace(measure=measure, trained=trained, out=tmp_path / "out.jsonl")


def test_an_amortised_posterior_trains_once_for_all_observations(benchmark) -> None:
    lines = benchmark.measure()
    assert benchmark.trained == [("jaxsbi", "sir", 2)]
    assert [line["observation"] for line in lines] == [1, 2]
    assert all(line["c2st"] == 0.5 and line["train_seconds"] == 1.0 for line in lines)


def test_what_is_finished_is_not_run_again(benchmark) -> None:
    first = benchmark.measure()
    assert benchmark.measure() == first and len(benchmark.trained) == 1
    with benchmark.out.open("a") as file:
        file.write('{"benchmark": "sbi')  # a crash
    more = benchmark.measure(observations=[1, 2, 3])
    assert len(more) == 3 and benchmark.trained[1:] == [("jaxsbi", "sir", 1)]
    # the samples are there: another classifier needs no training
    assert len(benchmark.measure(classifiers=["RF", "MLP"], observations=[1])) == 4
    assert len(benchmark.trained) == 2
    benchmark.measure(seed=1, peer=["sbi"])
    assert {t[0] for t in benchmark.trained[2:]} == {"jaxsbi", "sbi"}


def test_the_table_sets_ours_beside_the_published(benchmark, data: Callable) -> None:
    data("sbibm/published_c2st.csv")
    lines = benchmark.measure(peer=["sbi"], classifiers=["RF", "MLP"])
    console = Console(width=200, record=True, file=open(os.devnull, "w"))
    by_classifier = {}
    for table in sbibm.tables(lines):
        console.print(table)
        text = console.export_text()
        (row,) = (line for line in text.splitlines() if "sir" in line)
        assert "0.500" in row
        by_classifier |= {name: row for name in ("RF", "MLP") if f"by {name}" in text}
    assert "0.701 NPE" in by_classifier["RF"]
    assert "0.636 SNRE" in by_classifier["MLP"]


def test_estimators_are_named_or_specified() -> None:
    spec = {"name": "nsf", "layers": 5, "hidden": [10], "bins": 4, "embedding": None}
    assert sbibm.estimator_of(json.dumps(spec)).spec() == spec
    assert sbibm.estimator_of("maf").spec()["name"] == "maf"


@pytest.mark.slow
def test_the_command_runs_and_resumes(data: Callable, tmp_path: Path) -> None:
    data("sbibm/gaussian_mixture/obs_1.npz")
    estimator = '{"name": "mdn", "components": 1, "hidden": [8]}'
    command = [
        sys.executable, str(ROOT / "benchmarks" / "sbibm.py"), "--task", "gaussian_mixture",
        "--simulations", "200", "--observations", "1", "--classifiers", "RF",
        "--estimator", estimator, "--out", str(tmp_path / "o.jsonl"),
        "--cache", str(tmp_path / "cache"), "--processes", "1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        (line,) = sbibm.lines_of(tmp_path / "o.jsonl")
    assert 0.5 < line["c2st"] <= 1 and "gaussian_mixture" in done.stdout
    stored = np.load(next((tmp_path / "o.samples").rglob("obs_1.npz")))["theta"]
    assert stored.shape == (10_000, 2)
