"""Tempered populations and their chains against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsbi import mcmc

PRECISION, CENTRE = np.array([20.0, 400.0]), np.array([1.0, -0.5])
WEIGHTS, MODES, SD = np.array([0.25, 0.75]), np.array([[-1.5, 0.0], [1.5, 0.3]]), 0.05


def log_prior(z):
    return jnp.sum(jax.scipy.stats.norm.logpdf(z))


def gaussian(z):
    return -0.5 * jnp.sum(PRECISION * (z - CENTRE) ** 2)


def two_modes(z):
    """Modes 60 of their widths apart, their weights in the posterior WEIGHTS."""
    squares = jnp.sum((z - MODES) ** 2, axis=1) / SD**2
    lift = jnp.asarray(stats.norm.logpdf(MODES).sum(axis=1) / (1 + SD**2))
    return jax.nn.logsumexp(jnp.log(WEIGHTS) - 0.5 * squares - lift)


@pytest.fixture(scope="module")
def population():
    """One program for both likelihoods: key, which of them ↦ population."""

    @jax.jit
    def run(key, which):
        key_prior, key_temper = jax.random.split(key)
        draws = jax.random.normal(key_prior, (mcmc.CROWD * mcmc.PARTICLES, 2))

        def log_target(z):
            return log_prior(z) + jnp.where(which == 0, gaussian(z), two_modes(z))

        return mcmc.temper(key_temper, log_prior, log_target, draws)

    return run


def test_a_tempered_population_has_the_posterior_s_moments_and_evidence(population):
    found = population(jax.random.key(0), 0)
    variance = 1 / (1 + PRECISION)
    n = mcmc.PARTICLES
    error = np.abs(np.mean(found.z, axis=0) - variance * PRECISION * CENTRE)
    assert np.all(error < 4 * (variance / n) ** 0.5)
    np.testing.assert_allclose(np.std(found.z, axis=0), variance**0.5, rtol=4 / (2 * n) ** 0.5)
    exact = -0.5 * np.sum(PRECISION * CENTRE**2 * variance + np.log1p(PRECISION))
    assert found.log_evidence == pytest.approx(exact, abs=0.15)


def test_a_tempered_population_weighs_separate_modes(population):
    """Mean share over five populations, each of ± √(w (1 − w) / P) at best."""
    shares = [np.mean(population(jax.random.key(i), 1).z[:, 0] > 0) for i in range(5)]
    assert np.mean(shares) == pytest.approx(WEIGHTS[1], abs=0.03)


def test_a_population_is_tempered_from_a_guide_along_a_curved_sheet():
    """From z₂ ~ N(z₁², 0.5²) to z₂ ~ N(z₁² + 0.3, 0.02²), z₁ ~ N(0, 1) in both."""
    normal = jax.scipy.stats.norm.logpdf

    def sheet(shift, sd):
        return lambda z: normal(z[0]) + normal(z[1], z[0] ** 2 + shift, sd)

    before, after = sheet(0.0, 0.5), sheet(0.3, 0.02)

    @jax.jit
    def run(key):
        key_draw, key_temper = jax.random.split(key)
        z = jax.random.normal(key_draw, (mcmc.CROWD * 512, 2))
        draws = jnp.stack([z[:, 0], z[:, 0] ** 2 + 0.5 * z[:, 1]], axis=1)
        return mcmc.temper(key_temper, before, after, draws, 512)

    found = [run(jax.random.key(i)) for i in range(5)]
    z = np.concatenate([population.z for population in found])
    across = z[:, 1] - z[:, 0] ** 2
    np.testing.assert_allclose([z[:, 0].std(), across.std() / 0.02], 1, atol=0.08)
    np.testing.assert_allclose([z[:, 0].mean(), (across.mean() - 0.3) / 0.02], 0, atol=0.15)
    assert np.mean([p.log_evidence for p in found]) == pytest.approx(0, abs=0.1)


def test_chains_keep_the_law_of_the_population_and_forget_their_starts(population):
    found = population(jax.random.key(0), 0)
    log_density = jax.jit(
        lambda key, z: mcmc.advance(key, lambda z: log_prior(z) + gaussian(z), found, z).z
    )
    z, rows = mcmc.begin(jax.random.key(1), found, 256), []
    for i in range(20):
        z = log_density(jax.random.key(i), z)
        rows.append(z)
    variance = 1 / (1 + PRECISION)
    draws = np.concatenate(rows)
    for column, mean, v in zip(draws.T, variance * PRECISION * CENTRE, variance, strict=True):
        assert stats.kstest(column, stats.norm(mean, v**0.5).cdf).pvalue > 1e-3
    judged = mcmc.converged(jnp.stack(rows))
    assert np.all(judged.r_hat < 1.02)
    assert np.all(judged.ess > 0.5 * len(draws))


def test_stuck_chains_do_not_pass_for_converged():
    """Chains that never leave one of two modes: R̂ far above 1, next to no effective draws."""
    noise = 0.1 * jax.random.normal(jax.random.key(0), (40, 64, 1))
    chains = noise + jnp.where(jnp.arange(64) % 2, 1.0, -1.0)[None, :, None]
    judged = mcmc.converged(chains)
    assert judged.r_hat > 3
    assert judged.ess < 200
