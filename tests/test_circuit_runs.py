"""Whole runs of both studies of the pyloric circuit, the second with the first one's posterior."""

import json

import numpy as np
import pytest

from experiments import compensation, stg
from experiments.__main__ import main
from jaxsbi.opening import open_store

SMOKE = ("--preset", "smoke", "--out")


@pytest.fixture(scope="module")
def circuits(tmp_path_factory):
    """A smoke run on a simulated rhythm, and a second one that takes it up again."""
    out = tmp_path_factory.mktemp("stg") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAXSBI_DATA", raising=False)
        assert main(["stg", *SMOKE, str(out)]) == 0
        first = json.loads((out / "results.json").read_text())
        assert main(["stg", *SMOKE, str(out)]) == 0
    return out, first, json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def compensations(circuits, tmp_path_factory):
    """A smoke run by the posterior of the circuits."""
    out = tmp_path_factory.mktemp("compensation") / "out"
    assert main(["compensation", *SMOKE, str(out), "--posterior", str(circuits[0])]) == 0
    return out


def test_a_run_is_written_and_taken_up_again_with_the_same_numbers(circuits):
    out, first, again = circuits
    assert first["observation"] == "nominal" and None not in first["x_o"].values()
    same = ("posterior", "share_pyloric", "pair", "path", "orthogonal_path", "epochs")
    assert all(first[name] == again[name] for name in same)
    assert first["drawn_by_round"] == list(stg.PRESETS["smoke"].simulations)
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 8 == len(list(out.glob("figures/*.png")))


def test_complete_circuits_are_counted_in_the_round_that_simulated_them(circuits):
    out, results, _ = circuits
    _, x = open_store(out / "rounds" / "nominal" / "simulations").read()
    complete = ~np.isnan(x).any(axis=1)
    first = stg.PRESETS["smoke"].simulations[0]
    found = [each["hits"] for each in results["all_features_by_round"]]
    assert found == [complete[:first].sum(), complete[first:].sum()]


def told(out):
    """The results of a study of compensations, and its matrix."""
    results = json.loads((out / "results.json").read_text())
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 5
    assert len(results["pairs"]) == compensation.PRESETS["smoke"].strongest
    with np.load(out / "conditional_correlation.npz") as found:
        return found["rho"]


def check(rho):
    np.testing.assert_array_equal(rho, rho.T)
    assert rho.shape == (31, 31) and np.all(np.diag(rho) == 1) and np.abs(rho).max() == 1


def test_compensations_are_those_of_a_finished_runs_posterior(compensations):
    check(told(compensations))
    assert not any((compensations / "posterior").iterdir())


def test_without_a_finished_run_compensations_infer_the_same_posterior(compensations, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAXSBI_DATA", raising=False)
        assert main(["compensation", *SMOKE, str(tmp_path / "alone")]) == 0
    rho = told(tmp_path / "alone")
    check(rho)
    np.testing.assert_allclose(rho, told(compensations), atol=1e-6)


def test_what_is_no_finished_run_of_circuits_is_refused_in_one_line(
    compensations, tmp_path, capsys
):
    for folder in (tmp_path, compensations):
        words = ["compensation", "--preset", "smoke", "--posterior", str(folder)]
        assert main([*words, "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.startswith("error: --posterior ")
