"""The study of a neuron whose posterior is known: exact draws are exact, and it is reported."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import browser

import jaxsbi
from experiments import glm as study
from experiments import glm_report
from experiments.__main__ import main
from experiments.glm_presets import DEVIATIONS
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import C2ST
from jaxsbi.reference import Particles
from simulators import glm


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One smoke run, and a second one that takes it up again."""
    out = tmp_path_factory.mktemp("glm") / "out"
    assert main(["glm", "--preset", "smoke", "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    (out / "results.json").unlink()
    assert main(["glm", "--preset", "smoke", "--out", str(out)]) == 0
    return out, results, json.loads((out / "results.json").read_text())


def test_a_run_is_written_and_taken_up_again_with_the_same_numbers(finished):
    out, first, again = finished
    assert set(first["methods"]) == {"npe-500", "SMC-ABC-500"}
    for name in ("methods", "exact", "diagnostics", "x_o"):
        assert first[name] == again[name]
    paid = {name for name in first["stages"] if name not in ("validate", "figures")}
    assert all(first["stages"][name] == again["stages"][name] for name in paid)
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 6 == len(list(out.glob("figures/*.png")))
    assert "python -m experiments glm" in page
    with browser() as opened:
        opened.check(out / "report.html", figures=6)


def test_exact_draws_are_those_of_gibbs_sampling(tmp_path):
    """Pólya–Gamma, another kind of sampler of the same posterior (MODELS, §1)."""
    from polyagamma import random_polyagamma

    trace = glm.trace(jax.random.key(3), jnp.asarray(glm.NOMINAL))
    x_o, y = glm.features(trace), np.asarray(trace.spikes)
    run = Run(tmp_path / "run", {"seed": 0})
    config = study.PRESETS["laptop"]
    found = study.sample_exactly(jax.random.key(4), run, x_o, config)
    assert found["ess"] > 0.5 * found["proposed"] and found["pareto_k"] < 0.5

    rng, design = np.random.default_rng(0), np.asarray(glm.DEFAULT.design, float)
    theta, chain = np.zeros(10), []
    for _ in range(6000):
        omega = random_polyagamma(1.0, design @ theta, random_state=rng)
        precision = design.T @ (omega[:, None] * design) + glm.PRIOR_PRECISION
        root = np.linalg.cholesky(np.linalg.inv(precision))
        mean = np.linalg.solve(precision, design.T @ (y - 0.5))
        theta = mean + root @ rng.standard_normal(10)
        chain.append(theta)
    chain = np.array(chain[1000:])
    sd = chain.std(axis=0)
    np.testing.assert_allclose(
        found["theta"].mean(axis=0), chain.mean(axis=0), atol=0.12 * sd.max()
    )
    np.testing.assert_allclose(found["theta"].std(axis=0), sd, rtol=0.1)


def test_smoothing_keeps_mean_and_covariance_and_leaves_no_doubles():
    key = jax.random.key(0)
    theta = jax.random.normal(key, (300, 2)) @ jnp.array([[1.0, 0.5], [0.0, 0.3]]) + 2
    weights = jax.nn.softmax(theta[:, 0])
    particles = Particles(theta, weights, jnp.zeros(()), 300)
    drawn = np.asarray(study.smoothed(key, particles, 40_000))
    mean = np.asarray(weights @ theta)
    centred = np.asarray(theta) - mean
    covariance = (np.asarray(weights) * centred.T) @ centred
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.06, atol=0.01)
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_targets_are_of_the_budget_that_they_were_set_for_and_a_miss_is_told():
    def found(method, simulations, rounds, worst):
        posterior = None if "ABC" in method else object()
        score = C2ST(0.5, worst, 100)
        return study.Found(method, simulations, rounds, np.zeros((2, 10)), score, 0.0, posterior)

    made = study.targets(
        (
            found("npe", 1000, 1, 0.9),
            found("npe", 10_000, 1, 0.59),
            found("apt", 10_000, 5, 0.59),
            found("SMC-ABC", 10_000, 1, 0.9),
        )
    )
    assert [(t.bound, t.met) for t in made] == [(0.60, True), (0.56, False)]
    assert not Target("undefined", float("nan"), 1.0).met
    assert not Target("too small", 0.5, 1.0, at_most=False).met


def test_a_miss_is_told_with_the_scores_of_both_classifiers():
    def outcome(mlp, forest, bound):
        found = study.Found(
            "npe", 10_000, 1, np.zeros((2, 10)), C2ST(mlp, forest, 9), 0.0, object()
        )
        return SimpleNamespace(found=(found,), targets=(Target("C2ST", max(mlp, forest), bound),))

    assert glm_report._missed(outcome(0.56, 0.59, 0.6)) == []
    (text,) = glm_report._missed(outcome(0.563, 0.619, 0.6))
    assert "by the random forest" in text and "npe 0.563 and 0.619 (published 0.678)" in text
    (text,) = glm_report._missed(outcome(0.63, 0.61, 0.6))
    assert "by the random forest" not in text and "npe 0.630 and 0.610" in text


def test_the_paper_preset_is_what_it_says_of_itself():
    paper, said = study.PRESETS["paper"], DEVIATIONS["paper"]
    assert paper.methods["npe"].estimator == jaxsbi.mdn(components=1, hidden=(50, 50))
    assert f"{paper.budgets[0]:,} simulations" in said
    assert f"batches of {paper.training.batch_size}" in said
