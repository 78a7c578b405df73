"""Poisson numbers by inversion against the exact distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from simulators import _noise
from simulators._poisson import SMALL, TERMS, poisson

RATES = [1e-6, 0.003, 0.02, 0.4, 1.0, 3.7, 11.0, 19.9, 20.0, 20.1, 33.0, 77.3, 400.0, 12_345.6]
counts = jax.jit(poisson)


@pytest.mark.parametrize("double, tolerance", [(False, 5e-7), (True, 2e-7)])
@pytest.mark.parametrize("rate", RATES)
def test_inversion_jumps_where_the_distribution_does(rate, double, tolerance):
    with jax.enable_x64(double):
        rate = float(np.float32(rate))
        n = np.arange(max(0, int(rate - 8 * rate**0.5)), int(rate + 8 * rate**0.5 + 12))
        survival = stats.poisson.sf(n, rate)  # the count exceeds n where v < P(N > n)
        inside = (survival > 1.5 * tolerance) & (survival < 1 - 1.5 * tolerance)
        n, survival = n[inside], survival[inside]
        lam = jnp.asarray(np.full(len(n), rate)).astype(float)
        above = np.asarray(counts(jnp.asarray(survival + tolerance), lam))
        below = np.asarray(counts(jnp.asarray(survival - tolerance), lam))
    assert np.all(above <= n) and np.all(below >= n + 1)


@pytest.mark.parametrize("rate", [0.02, 3.7, 19.0, 60.0, 2000.0])
def test_draws_have_mean_variance_and_frequencies(rate):
    n = 1_000_000
    v = _noise.uniforms(_noise.key_words(jax.random.key(2)), n)
    y = np.asarray(counts(v, jnp.full(n, rate, jnp.float32)), float)
    assert abs(y.mean() - rate) < 4 * np.sqrt(rate / n)
    assert abs(y.var() - rate) < 4 * np.sqrt((rate + 2 * rate**2) / n)
    edges = np.unique(stats.poisson.ppf(np.linspace(0.02, 0.98, 25), rate))
    seen = np.bincount(np.searchsorted(edges, y), minlength=len(edges) + 1)
    expected = n * np.diff(np.concatenate([[0], stats.poisson.cdf(edges, rate), [1]]))
    assert stats.chisquare(seen, expected).pvalue > 1e-4


def test_the_terms_reach_every_uniform():
    assert stats.poisson.sf(TERMS - 1, SMALL) < 2.0**-32
    ends = jnp.asarray([2.0**-32, 1 - 2.0**-24], jnp.float32)
    for rate in RATES:
        low, high = np.asarray(counts(ends, jnp.full(2, rate, jnp.float32)))
        assert 0 <= high <= stats.poisson.ppf(1e-6, rate) <= rate
        assert stats.poisson.isf(1e-6, rate) <= low <= max(TERMS, stats.poisson.isf(1e-11, rate))


def test_gradient_is_that_of_the_mean_and_nan_stays():
    v = jnp.linspace(0.01, 0.99, 9)
    gradient = jax.jit(jax.vmap(jax.grad(poisson, 1)))
    np.testing.assert_array_equal(gradient(v, jnp.linspace(0.5, 40, 9)), 1)
    y = counts(v[:3], jnp.asarray([jnp.nan, 0.0, jnp.inf]))
    assert np.isnan(y[0]) and y[1] == 0 and not y[2] < 1e30
