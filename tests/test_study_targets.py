"""What the Hodgkin–Huxley study has to show, read off the results of a laptop run.

JAXSBI_RUN names the folder of a finished run (`--all-cells` or not); without it one is made.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MINUTES, GAP = 4.0, 0.05

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = os.environ.get("JAXSBI_RUN")
    if folder is None:
        folder = tmp_path_factory.mktemp("run") / "laptop"
        subprocess.run(
            [sys.executable, "-m", "experiments", "hodgkin_huxley", "--out", str(folder)],
            check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    return json.loads((Path(folder) / "results.json").read_text())


def each(results, numbers):
    return {name: numbers(found) for name, found in results["observations"].items()}


def test_it_is_a_finished_laptop_run(results):
    assert results["settings"]["preset"] == "laptop"
    assert "synthetic" in results["observations"] and len(results["observations"]) > 1
    assert not any(each(results, lambda o: o["interrupted"]).values())


def test_ranks_are_uniform_in_every_parameter(results):
    draws = each(results, lambda o: o["calibration"]["draws"])
    assert min(draws.values()) >= 980, draws  # of 1000, those whose simulation is valid
    rejected = each(results, lambda o: o["calibration"]["rejected_holm_1_percent"])
    assert not any(rejected.values()), rejected


def test_regions_cover_what_they_say(results):
    gaps = each(results, lambda o: o["calibration"]["coverage_gaps"])
    assert all(abs(gap) <= GAP for found in gaps.values() for gap in found.values()), gaps


def test_the_mode_fires_as_often_as_the_observation(results):
    spikes = each(results, lambda o: o["map_spike_count"])
    assert all(found["median"] == found["observed"] for found in spikes.values()), spikes


def test_every_feature_is_held_or_named_with_the_reason(results):
    for name, found in results["observations"].items():
        told = " ".join(found["trust"])
        missed = {f for f, p in found["posterior_predictive"].items() if not p["within"]}
        unexplained = [f for f in missed if f"{f} (observed" not in told or f"a {f} of" not in told]
        assert not unexplained, (name, unexplained)
    synthetic = results["observations"]["synthetic"]["posterior_predictive"]
    assert all(feature["within"] for feature in synthetic.values())


def test_the_truth_is_denser_than_before(results):
    assert results["observations"]["synthetic"]["nats_gained_at_truth"] > 0


def test_the_default_run_ends_in_time(results):
    """Two observations; a run of more is none that the limit is for."""
    if len(results["observations"]) != 2:
        pytest.skip("not the default run")
    assert results["wall_time_s"] <= 60 * MINUTES, results["stages"]
