"""The study of receptive fields: the posterior's two modes, exact draws, and what is reported."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import browser

from experiments import gabor as study
from experiments import gabor_report
from experiments.__main__ import main
from experiments.gabor_presets import DEVIATIONS
from simulators import gabor

SMOKE = study.PRESETS["smoke"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One smoke run, and a second one that takes it up again."""
    out = tmp_path_factory.mktemp("gabor") / "out"
    command = ["gabor", "--preset", "smoke", "--out", str(out)]
    assert main(command) == 0
    first = json.loads((out / "results.json").read_text())
    assert main(command) == 0
    return out, first, json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def neuron():
    return study.observe(jax.random.key(1), 6, SMOKE)


def test_a_run_is_written_and_taken_up_again_with_the_same_numbers(finished):
    out, first, again = finished
    same = ("posterior", "share_at_alpha_plus_pi", "c2st_mlp", "sampler", "epochs")
    assert all(first[name] == again[name] for name in same)
    assert first["drawn_by_round"] == [SMOKE.simulations] * 2
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4 == len(list(out.glob("figures/*.png")))
    assert all(set(row) == {"truth", "learned", "exact"} for row in first["posterior"].values())
    alike = {name: c["median"] for name, c in first["correlation_of_fields"].items()}
    assert set(alike) == {"learned", "exact", "prior"} and abs(alike["prior"]) < alike["exact"]
    assert set(first["diagnostics"]) == {"c2st", "predictive"}
    with browser() as opened:
        opened.check(out / "report.html", figures=4)


def test_an_even_field_turned_by_half_a_circle_is_as_likely(neuron):
    """Why there are two modes: cos(2πf x' − φ) is even in x' at φ = 0."""
    turned = neuron.truth.copy()
    turned[study.ALPHA] += np.pi
    likelihoods = [
        gabor.log_likelihood(jnp.asarray(gabor.unconstrain(c)), neuron.counts, neuron.protocol)
        for c in (neuron.truth, turned)
    ]
    assert abs(likelihoods[0] - likelihoods[1]) < 0.05
    odd = turned.copy()
    odd[study.PHI] = 1.0
    theta = jnp.asarray(gabor.unconstrain(odd))
    assert gabor.log_likelihood(theta, neuron.counts, neuron.protocol) < likelihoods[0] - 0.5


def test_exact_draws_begin_in_both_modes_with_the_widths_of_the_likelihood(neuron):
    """The covariance is the inverse of the expected curvature, I + F: that of other runs' mean."""
    of = study.prior()
    starts = study.starts(neuron, of)
    cells = np.asarray(gabor.constrain(of.to_theta(jnp.asarray(starts.means, float))))
    apart = np.cos(cells[:, study.ALPHA] - neuron.truth[study.ALPHA])
    np.testing.assert_allclose(apart, np.repeat([1, -1], len(study.PHASES)), atol=1e-3)
    z = jnp.asarray(starts.means[2], float)
    keys = jax.random.split(jax.random.key(2), 200)
    theta = of.to_theta(z)
    counts = jax.vmap(lambda k: gabor.trace(k, theta, neuron.protocol).counts)(keys)

    def mean_log_likelihood(z):
        like = jax.vmap(lambda y: gabor.log_likelihood(of.to_theta(z), y, neuron.protocol))
        return jnp.mean(like(counts))

    curvature = np.eye(9) - np.asarray(jax.hessian(mean_log_likelihood)(z))
    found = np.linalg.inv(starts.covariances[2])
    scale = np.sqrt(np.diagonal(found))
    np.testing.assert_allclose(curvature / np.outer(scale, scale), found / np.outer(scale, scale),
                               atol=0.15)  # fmt: skip


def test_what_the_network_sees_is_what_was_observed(neuron):
    """A one-to-one map of the average and the number; without a spike nothing is defined."""
    seen = study.seen(neuron.x_o)
    count = np.exp(seen["log_count"])
    np.testing.assert_allclose(count, neuron.x_o["count"], rtol=1e-5)
    np.testing.assert_allclose(seen["image"] / count**0.5, neuron.x_o["sta"], rtol=1e-4)
    silent = study.seen(gabor.features(gabor.trace(
        jax.random.key(0), jnp.asarray(neuron.theta).at[0].set(-50.0), neuron.protocol
    )))  # fmt: skip
    assert all(np.all(np.isnan(leaf)) for leaf in silent.values())


def test_fields_are_compared_with_the_true_one(neuron):
    """A field is like itself, and like itself turned by half a circle; its negative is opposite."""
    cells = np.repeat(neuron.truth[None], 3, axis=0)
    cells[1, study.ALPHA] += np.pi
    cells[2, study.PHI] += np.pi
    np.testing.assert_allclose(study.correlations(neuron, cells), [1, 1, -1], atol=0.01)
    cells[0, 1] = 0.0  # of no amplitude
    assert study.correlations(neuron, cells)[0] == 0


def test_the_share_of_turned_draws_is_by_the_angle_alone(neuron):
    cells = np.repeat(neuron.truth[None], 4, axis=0)
    cells[:, study.ALPHA] += [0.1, np.pi, np.pi - 1.5, 2 * np.pi]
    outcome = type("Found", (), {"neuron": neuron})()
    assert gabor_report.turned(outcome, cells).tolist() == [False, True, True, False]


def test_the_paper_preset_is_what_it_says_of_itself():
    paper, said = study.PRESETS["paper"], DEVIATIONS["paper"]
    assert paper.rounds == 2 and f"two rounds of {paper.simulations:,}" in said
    assert f"{paper.algorithm.atoms} atoms" in said
    assert f"batches of {paper.training.batch_size}" in said


def test_a_cell_that_there_is_not_is_refused_in_one_line(capsys):
    assert main(["gabor", "--preset", "smoke", "--cell", "7"]) == 2
    assert capsys.readouterr().err.startswith("error: --cell: expected a whole number from 1 to 6")
