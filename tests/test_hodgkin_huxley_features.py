"""What features say of a neuron: fewer say less; a genetic algorithm, and where its neurons lie."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import hodgkin_huxley_features as study
from experiments.__main__ import main
from experiments.hodgkin_huxley_evolution import MISSING, distances, evolve
from experiments.hodgkin_huxley_features import Bred, Seen
from experiments.runs import Run

SMOKE = study.PRESETS["smoke"]


def test_a_run_is_written_and_taken_up_again_with_the_same_numbers(tmp_path):
    out = tmp_path / "out"
    found = []
    for _ in range(2):
        assert main(["hodgkin_huxley_features", "--preset", "smoke", "--out", str(out)]) == 0
        found.append(json.loads((out / "results.json").read_text()))
    assert found[0]["subsets"] == found[1]["subsets"] and found[0]["evolution"] is None
    told = [s["information_nats"] for s in found[0]["subsets"].values()]
    assert told[0] > told[1] > told[2] > 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4 == len(list(out.glob("figures/*.png")))


def test_a_feature_that_a_neuron_lacks_is_farther_than_any_that_it_has():
    x = np.array([[1.0, np.nan], [3.0, 0.5]])
    found = distances(x, np.array([2.0, 0.0]), np.array([2.0, 0.25]))
    np.testing.assert_array_equal(found, [[0.5, MISSING], [0.5, 2.0]])


def test_a_population_is_bred_towards_the_pareto_set_with_the_simulations_it_was_given():
    """Objectives |θ − u| and |θ − v|: the set is the line from u to v."""
    u, v, asked = np.array([0.2, 0.5]), np.array([0.6, 0.5]), []

    def score(theta):
        asked.append(len(theta))
        return np.stack([np.linalg.norm(theta - at, axis=1) for at in (u, v)], axis=1)

    found = evolve(1, score, [0, 0], [1, 1], 2, offspring=20, generations=30)
    assert sum(asked) <= 600 and max(asked) <= 20 and len(asked) <= 30
    set_of = np.stack([np.clip(found[:, 0], u[0], v[0]), np.full(len(found), 0.5)], axis=1)
    away = np.linalg.norm(found - set_of, axis=1)
    assert np.median(away) < 0.1  # of parameters drawn evenly 0.30
    assert np.ptp(found[away < 0.1, 0]) > 0.2


def test_where_a_generation_lies_is_told_by_the_posteriors_density_and_widths(
    monkeypatch, tmp_path
):
    """Of draws of the posterior itself 95 % lie in the region that holds as much."""

    class Normal:
        log_prob = staticmethod(lambda theta: -0.5 * jnp.sum((theta / 2) ** 2, axis=-1))

    rng = np.random.default_rng(0)
    seen = Seen(7, Normal(), 2 * rng.standard_normal((4000, 8)), 0.0, 0.0, None)
    rows = {"x": rng.standard_normal((1000, 7))}
    for theta, held, spread in (
        (2 * rng.standard_normal((4000, 8)), 0.95, 1.0),
        (0.2 * rng.standard_normal((4000, 8)), 1.0, 0.1),
        (20 + 2 * rng.standard_normal((4000, 8)), 0.0, 1.0),
    ):
        monkeypatch.setattr(study, "evolve", lambda *_, theta=theta: theta)
        run = Run(tmp_path / str(spread + held), {"seed": 0})
        found = study.breed(jax.random.key(0), run, rows, np.zeros(7), seen, SMOKE)
        assert isinstance(found, Bred) and found.held == pytest.approx(held, abs=0.015)
        np.testing.assert_allclose(found.spread, spread, rtol=0.06)


def test_the_paper_preset_has_the_budget_of_the_paper():
    paper = study.PRESETS["paper"]
    assert (paper.simulations, paper.generations) == (100_000, 100)  # offspring: 1000
    assert (paper.estimator.layers, paper.estimator.hidden) == (5, (50, 50))
    assert paper.training.batch_size == 500 and study.SUBSETS == (7, 4, 1)
