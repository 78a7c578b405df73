"""The study: it runs, is taken up again, and tells one run from another."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from browser import browser

import jaxsbi
from experiments import hodgkin_huxley as study
from experiments import recordings, runs
from experiments.__main__ import main
from experiments.hodgkin_huxley_observations import known_cell, recorded
from experiments.hodgkin_huxley_presets import DEVIATIONS
from simulators import hodgkin_huxley as hh

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
    before, after = synthetic["neg_log_prior_truth"], synthetic["neg_log_q_truth"]
    ranges = [p.high - p.low for p in hh.PARAMETERS]
    assert before == pytest.approx(np.sum(np.log(ranges)), abs=1e-4)
    assert synthetic["nats_gained_at_truth"] == pytest.approx(before - after)
    assert set(synthetic["calibration"]["coverage"]) == {"0.5", "0.8", "0.95"}
    assert all(set(stage) == {"compile_s", "run_s"} for stage in results["stages"].values())
    assert results["versions"]["jax"]
    for found in results["observations"].values():
        assert found["interrupted"] is False
        assert set(found["calibration"]["coverage_gaps"]) == {"0.5", "0.8", "0.95"}
        assert len(found["trust"]) >= 3
        assert all(0 < check["p_value"] <= 1 for check in found["diagnostics"].values())
        assert set(found["nearest_simulated_neuron"]["theta"]) == set(found["posterior"])
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 12
    assert page.count(">Voltage: observed") == 1  # of the cell, only features are at hand
    assert f"{abs(before - after):.2f} nats" in page
    for name, check in synthetic["diagnostics"].items():
        assert f">{name}: " in page and escape(check["verdict"].split(":")[0]) in page
    assert "What was done" in page and results["command"] in page
    assert "τ<sub>max</sub>" in page and "tau_max" not in page and "g_Na" not in page
    assert f"diffrax {results['versions']['diffrax']}" in page
    assert len(list((out / "figures").glob("*.png"))) == 12


def test_the_page_shows_its_figures_in_a_browser_and_asks_for_nothing_else(finished, tmp_path):
    out, _ = finished
    page = out / "report.html"
    with browser() as opened:
        opened.check(page, figures=12)
        # a page that does ask, and one that is not allowed to, are found out
        asking = tmp_path / "asking.html"
        asking.write_text('<img src="http://127.0.0.1:9/picture.png">')
        opened.open(asking)
        assert opened.requests[1:] == ["http://127.0.0.1:9/picture.png"] and opened.complaints
        asking.write_text(page.read_text().replace("</main>", '<img src="picture.png"></main>'))
        opened.open(asking)
        assert opened.complaints


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_recording_of_ones_own_is_inferred(tmp_path, capsys):
    """A short recording made by the model itself, through --cell."""
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
    arguments = [*STUDY, "--no-cache", "--cell", tmp_path / "mine.npz", "--out", tmp_path / "out"]
    assert main([*map(str, arguments), "--soma-area", "5e-4"]) == 2
    # the features are the same, the current density is not
    assert "another run (observations.cell_7.current_rms" in capsys.readouterr().err


def test_runs_of_different_options_have_different_default_folders():
    mine, other = Path("a/mine.npz"), Path("a/other.npz")
    options = [
        study.Options(), study.Options(all_cells=True), study.Options(download=5),
        study.Options(mine), study.Options(other), study.Options(mine, sweep=3),
        study.Options(mine, sweep=4), study.Options(mine, soma_area=1e-4),
        study.Options(mine, soma_area=5e-4), study.Options(download=5, sweep=3),
        study.Options(Path("b/mine.npz")), study.Options(Path("a/mine.nwb")),
    ]  # fmt: skip
    names = [study.folder_name("smoke", 0, o) for o in options]
    assert len(set(names)) == len(options)
    assert study.folder_name("smoke", 0, study.Options(mine.absolute())) == names[3]
    assert len(study.folder_name("smoke", 0, study.Options(Path("n" * 255)))) < 255


def test_another_current_or_another_configuration_is_another_run():
    """Neither shows in x_o: a soma of another area only scales the current density."""
    x_o = np.arange(7.0)
    reference = study.Observation("a", "a", x_o, hh.step(1.0)).settings
    for protocol in (
        hh.step(5.0),
        hh.step(1.0, v0=-71.0),
        hh.step(1.0, t_on=20.0),
        hh.step(1.0, dt=0.02),
        hh.Protocol(hh.step(1.0).current[::-1], -70.0, 10.0, 110.0, 0.01),
    ):
        changed = study.Observation("a", "a", x_o, protocol).settings
        assert runs.differences(reference, changed)
    assert not runs.differences(reference, study.Observation("b", "b", x_o, hh.step(1.0)).settings)
    smoke = study.PRESETS["smoke"]
    for changes in (
        {"cell_simulations": 501},
        {"estimator": jaxsbi.mdn(components=2)},
        {"training": jaxsbi.Training(anneal=10, max_epochs=31)},
    ):
        named = runs.differences(smoke.settings, replace(smoke, **changes).settings)
        assert named and all(difference.startswith(*changes) for difference in named)


def test_the_paper_preset_is_what_it_says_of_itself():
    paper, said = study.PRESETS["paper"], DEVIATIONS["paper"]
    assert f"one round of {paper.simulations:,} simulations" in said
    assert paper.refinement == (paper.cell_simulations,)
    assert f"two rounds of {paper.cell_simulations:,}" in said
    assert paper.estimator.spec() == jaxsbi.maf(layers=5, hidden=(50, 50)).spec()
    assert f"batches of {paper.training.batch_size}" in said


def test_a_cell_is_the_same_with_and_without_its_recording(data):
    folder = data("allen")
    for known in recordings.read_features():
        cell = known.name.split()[1].rstrip(",")
        with_trace, without = known_cell(cell, folder), known_cell(cell, None)
        assert with_trace.voltage is not None and without.voltage is None
        assert with_trace.name == without.name
        assert not runs.differences(with_trace.settings, without.settings)


def test_the_name_of_a_cell_never_leads_out_of_the_folder():
    voltage = -70 + np.sin(np.arange(400.0))
    current = np.where(np.arange(400) >= 100, 1e-4, 0.0)
    recording = recordings.Recording(
        voltage, current, 0.02, 2.0, 7.98, soma_area=1e-4, cell="../../x/ü y"
    )
    assert recorded(recording).name == "cell__x_ü_y"


class Ended(NamedTuple):
    interrupted: bool


class Trained:
    """A posterior as far as a run keeps it: which of its rounds were interrupted."""

    def __init__(self, *interrupted):
        self.history = [Ended(flag) for flag in interrupted]

    @property
    def rounds(self):
        return [r.interrupted for r in self.history]

    def save(self, folder):
        folder.mkdir()
        (folder / "history").write_text(json.dumps(self.rounds))

    @classmethod
    def load(cls, folder):
        return cls(*json.loads((folder / "history").read_text()))


def test_an_interrupted_training_is_not_taken_for_a_finished_one(monkeypatch, tmp_path, capsys):
    """In the first round, then in the second, which leaves the first one's posterior or its own."""
    observation = study.Observation("a", "a", np.zeros(7), hh.DEFAULT)
    first, half, whole = Trained(False), Trained(False, True), Trained(False, False)
    trainings = [Trained(True), first, first, half, whole]
    monkeypatch.setattr(jaxsbi, "infer", lambda *_, **__: trainings.pop(0))
    monkeypatch.setattr(jaxsbi, "load", Trained.load)
    kept = []
    for _ in range(5):  # the same command five times; the last has nothing left to train
        run = runs.Run(tmp_path / "out", {"seed": 0}, folders=("posterior",))
        key = jax.random.key(0)
        learned = study.infer_parameters(key, run, observation, study.PRESETS["smoke"])
        kept.append((learned.amortised.rounds, learned.refined and learned.refined.rounds))
    one, two = [False], [False, False]
    assert kept == [([True], None), (one, None), (one, [False, True]), (one, two), (one, two)]
    assert not trainings
    assert capsys.readouterr().out.count("training interrupted") == 2


def test_a_training_that_diverges_is_not_kept_and_told_with_what_can_be_done(monkeypatch, tmp_path):
    observation = study.Observation("a", "the cell", np.zeros(7), hh.step(1.0, 1.0, 3.0, 4.0))
    hopeless = replace(
        study.PRESETS["smoke"],
        cell_simulations=100,
        estimator=jaxsbi.mdn(components=1, hidden=(4,)),
        training=jaxsbi.Training(learning_rate=1e30, max_epochs=2, anneal=1),
    )
    run = runs.Run(tmp_path, {"seed": 0}, folders=("posterior",))
    monkeypatch.setattr(hh, "simulate", lambda key, theta, protocol: theta[:7])
    with pytest.raises(ValueError, match="^training for the cell: .*; try another --seed or "):
        study.infer_parameters(jax.random.key(0), run, observation, hopeless)
    assert not list((tmp_path / "posterior").iterdir())
