"""The template: it runs, takes a recording of the user's, and refuses what is none."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import browser
from scipy.integrate import solve_ivp

from experiments import own_model as study
from experiments.__main__ import main

SMOKE = ("own_model", "--preset", "smoke")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One smoke run for a recording in a file, and a second one that takes it up again."""
    folder = tmp_path_factory.mktemp("own")
    recording = folder / "mine.csv"
    np.savetxt(recording, study.simulate(jax.random.key(5), jnp.asarray(study.TRUTH)))
    command = [*SMOKE, "--recording", str(recording), "--out", str(folder / "out")]
    assert main(command) == 0
    first = json.loads((folder / "out" / "results.json").read_text())
    assert main(command) == 0
    return folder / "out", first, json.loads((folder / "out" / "results.json").read_text())


def test_a_recording_in_a_file_is_explained(finished):
    out, results, again = finished
    assert results["posterior"] == again["posterior"]
    assert set(results["posterior"]) == set(study.PRIOR.names)
    assert all(row["truth"] is None for row in results["posterior"].values())
    found = results["posterior"]["epsilon"]
    assert abs(found["mean"] - study.TRUTH[1]) < 4 * found["sd"] < 0.1
    assert [t["bound"] for t in results["targets"]] == [0, 0.05]
    assert set(results["diagnostics"]) == {
        "sbc", "coverage", "tarp", "lc2st", "predictive", "misspecification",
    }  # fmt: skip
    page = (out / "report.html").read_text()
    figures = len(list((out / "figures").glob("*.png")))
    assert page.count("data:image/svg+xml;base64,") == figures >= 5 and "τ" not in page
    assert "ε" in page and "--recording" in page
    with browser() as opened:
        opened.check(out / "report.html", figures=figures)


def test_the_model_is_the_equation_solved_by_another_solver(monkeypatch):
    monkeypatch.setattr(study, "NOISE", 0.0)
    ours = study.simulate(jax.random.key(0), jnp.asarray(study.TRUTH))
    other = solve_ivp(
        lambda t, y: study.slope(t, y, study.TRUTH), (0, 60), (-1.0, 1.0),
        t_eval=study.TIMES, rtol=1e-9, atol=1e-9,
    )  # fmt: skip
    np.testing.assert_allclose(ours, other.y[0], atol=0.02)


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (None, "came none .No such file"),
        ("a,b\n", "came could not convert"),
        ("1\n2\n", "came 2 numbers, 0 of them not finite"),
        ("nan\n" * 30, "came 30 numbers, 30 of them not finite"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(content, came, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_text(content)
    assert main([*SMOKE, "--recording", str(path), "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert re.search(f"^error: --recording .*mine.csv: expected 30 voltages .*{came}", line), line
