"""The command line: a study runs, is taken up again, and refuses what it cannot do in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUDY = ("hodgkin_huxley", "--preset", "smoke")


def command(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment.pop("JAXSBI_DATA", None)
    return subprocess.run(
        [sys.executable, "-m", "experiments", *map(str, arguments)],
        env=environment, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One smoke run of the study, and what it printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = command(*STUDY, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done


def test_the_study_writes_numbers_figures_posteriors_and_a_page(finished):
    out, _ = finished
    results = json.loads((out / "results.json").read_text())
    assert results["settings"]["seed"] == 0
    assert set(results["observations"]) == {"synthetic", "cell_518290966"}
    synthetic = results["observations"]["synthetic"]
    assert synthetic["simulations"]["drawn"] == 500
    assert set(synthetic["posterior"]["g_Na"]) == {"mean", "sd", "map", "truth"}
    assert synthetic["neg_log_q_truth"] is not None
    assert set(synthetic["calibration"]["coverage"]) == {"0.5", "0.8", "0.95"}
    assert all(set(stage) == {"compile_s", "run_s"} for stage in results["stages"].values())
    assert results["versions"]["jax"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 12
    assert len(list((out / "figures").glob("*.png"))) == 12


def test_the_same_command_takes_a_run_up_again_and_gives_the_same_numbers(finished):
    out, _ = finished
    before = json.loads((out / "results.json").read_text())["observations"]
    (out / "results.json").unlink()
    done = command(*STUDY, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "simulations" not in done.stderr  # the posteriors are read back, not inferred again
    assert json.loads((out / "results.json").read_text())["observations"] == before


def test_another_run_is_refused_and_nothing_is_touched(finished):
    out, _ = finished
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    done = command(*STUDY, "--seed", "1", "--out", out)
    assert done.returncode == 2
    assert "another run (" in done.stderr
    assert "seed 0, not 1" in done.stderr
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_study",), "no_such_study"),
        (("hodgkin_huxley", "--preset", "huge"), "--preset"),
        (("hodgkin_huxley", "--seed", "-1"), "--seed"),
        ((*STUDY, "--cell", "nowhere.npz"), "nowhere.npz"),
        ((*STUDY, "--cell", "README.md"), "README.md"),
        ((*STUDY, "--data", "nowhere"), "--data nowhere"),
        ((*STUDY, "--cell", "a.npz", "--download", "5"), "--cell, --download"),
        ((*STUDY, "--out", "README.md"), "--out README.md"),
        ((*STUDY, "--out", "experiments"), "--out experiments"),
        ((*STUDY, "--out", "/proc/nowhere"), "--out /proc/nowhere"),
    ],
)
def test_bad_input_gives_one_clear_line_and_status_2(arguments, message):
    done = command(*arguments)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.lower().startswith("error")
    assert message in last
    assert "Traceback" not in done.stderr


def test_a_recording_of_ones_own_is_inferred(tmp_path):
    """A short recording made by the model itself, through --cell."""
    import jax
    import numpy as np

    from simulators import hodgkin_huxley as hh

    trace = hh.trace(jax.random.key(0), np.asarray(hh.NOMINAL))
    area = 1e-4
    np.savez(
        tmp_path / "mine.npz",
        voltage_mv=np.asarray(trace.voltage) + 14,
        current_ua=np.asarray(trace.protocol.current) * area,
        dt_ms=0.01, t_on_ms=10.0, t_off_ms=110.0, soma_area_cm2=area, cell_id=7, sweep=1,
    )  # fmt: skip
    done = command(*STUDY, "--cell", tmp_path / "mine.npz", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["observations"]) == ["cell_7"]
    assert results["observations"]["cell_7"]["x_o"]["spike count"] == 5
