"""What the Hodgkin–Huxley study has to show, read off the results of a laptop run.

JAXSBI_RUN names the folder of a finished run (`--all-cells` or not); without it one is made.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MINUTES, GAP = 4.0, 0.05

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, and how long its process took from a cold start [s].

    None of a run that was there before. A cold start finds no program compiled earlier.
    """
    folder = os.environ.get("JAXSBI_RUN")
    if folder is not None:
        return Path(folder), None
    folder = tmp_path_factory.mktemp("run") / "laptop"
    cold = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **cold}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAXSBI_DATA"):
        environment.pop(name, None)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "experiments", "hodgkin_huxley", "--out", str(folder)],
        check=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    return folder, time.perf_counter() - began


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run[0] / "results.json").read_text())


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


CAUSES = {
    "out of reach": r"the farthest has (\S+) for (\S+)\.$",
    "a conflict with (.+?)": r"has a \1 of (\S+) for (\S+), (\S+) standard deviations",
    "the density rather than the model": r"(\d+) of the neurons that reach it agree with all other",
}


def test_every_feature_is_held_or_named_with_the_cause(results):
    """The cause is one of three, told in the report, with numbers that bear it out."""
    for name, found in results["observations"].items():
        told = " ".join(found["trust"])
        for feature, predicted in found["posterior_predictive"].items():
            if predicted["within"]:
                assert "cause" not in predicted
                continue
            sentence = predicted["cause"]
            assert f"{feature} (observed" in told and sentence in told, (name, feature)
            matches = [
                match
                for kind, numbers in CAUSES.items()
                if (match := re.match(f"The cause for {feature}: {kind}; .*{numbers}", sentence))
            ]
            assert len(matches) == 1, (name, sentence)
            check(feature, predicted, matches[0].groups(), found["posterior_predictive"])
    synthetic = results["observations"]["synthetic"]["posterior_predictive"]
    assert all(feature["within"] for feature in synthetic.values())


def check(feature, predicted, numbers, all_of_them):
    observed, (low, high) = predicted["observed"], (predicted["low_95"], predicted["high_95"])
    if len(numbers) == 1:
        assert int(numbers[0]) > 0
    elif len(numbers) == 2:  # the farthest neuron lies between the central range and the observed
        farthest = float(numbers[0])
        assert min(high, observed) <= farthest <= max(low, observed)
    else:
        other, has, wanted, apart = numbers
        assert other != feature and float(apart) > 1.9
        assert float(wanted) == pytest.approx(all_of_them[other]["observed"], rel=1e-3)
        assert float(has) != float(wanted)


def test_the_truth_is_denser_than_before(results):
    assert results["observations"]["synthetic"]["nats_gained_at_truth"] > 0


def test_the_default_run_ends_in_time_from_a_cold_start(run):
    """Imports, compilation, two observations and the report."""
    _, seconds = run
    if seconds is None:
        pytest.skip("the run was there before")
    assert seconds <= 60 * MINUTES
