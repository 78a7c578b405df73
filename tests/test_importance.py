"""Importance weights against closed forms, and their refusal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsbi.importance import weigh


def draws(sd, n=20_000, seed=0):
    theta = sd * np.random.default_rng(seed).standard_normal((n, 1))
    return theta, jnp.asarray(stats.norm.logpdf(theta[:, 0], 0, sd))


def test_weights_turn_a_broad_gaussian_into_a_narrow_one():
    """q = N(0, 1), p = N(0.5, 0.6²): moments, evidence, and the exact effective sample size."""
    theta, log_q = draws(1.0)
    weighted = weigh(jnp.asarray(theta), stats.norm.logpdf(theta[:, 0], 0.5, 0.6) - log_q)
    weights = np.asarray(weighted.weights, float)
    mean = weights @ theta[:, 0]
    assert mean == pytest.approx(0.5, abs=0.02)
    assert np.sqrt(weights @ (theta[:, 0] - mean) ** 2) == pytest.approx(0.6, abs=0.02)
    assert weighted.log_evidence == pytest.approx(0.0, abs=0.03)
    grid = np.linspace(-8, 8, 20_001)
    p, q = stats.norm.pdf(grid, 0.5, 0.6), stats.norm.pdf(grid)
    exact = 20_000 / (np.sum(p**2 / q) * (grid[1] - grid[0]))
    assert weighted.ess == pytest.approx(exact, rel=0.05)
    assert weighted.pareto_k < 0.5
    resampled = np.asarray(weighted.sample(jax.random.key(0), 5000))[:, 0]
    assert stats.kstest(resampled, stats.norm(0.5, 0.6).cdf).pvalue > 1e-3


def test_a_target_with_heavier_tails_than_the_draws_is_warned_of():
    theta, log_q = draws(0.4)
    with pytest.warns(UserWarning, match="Pareto shape"):
        weighted = weigh(jnp.asarray(theta), stats.norm.logpdf(theta[:, 0]) - log_q)
    assert weighted.pareto_k > 0.7


def test_a_target_out_of_reach_is_refused():
    theta, log_q = draws(1.0, n=1000)
    with pytest.raises(ValueError, match="log_likelihood puts the mass where"):
        weigh(jnp.asarray(theta), stats.norm.logpdf(theta[:, 0], 40.0, 0.1) - log_q)


def test_draws_outside_the_target_s_support_weigh_nothing():
    theta, log_q = draws(1.0)
    inside = jnp.where(theta[:, 0] > 0, -log_q, -jnp.inf) + stats.norm.logpdf(theta[:, 0])
    weighted = weigh(jnp.asarray(theta), inside)
    assert np.all(weighted.weights[theta[:, 0] < 0] == 0)
    assert weighted.log_evidence == pytest.approx(np.log(0.5), abs=0.02)
