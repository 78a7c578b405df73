"""Baselines against closed forms, each other, and a Gibbs sampler of another kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxsbi
from jaxsbi import reference
from simulators import glm

SD = 0.3
LINE = jaxsbi.gaussian([0.0, 1.0], sd=[1.0, 0.5])
X_O = jnp.array([0.5, 0.8])


def noisy(key, theta):
    """x ~ N(θ, 0.3² I)."""
    return theta + SD * jax.random.normal(key, (2,))


def exact_posterior():
    """Mean and sd (2,) of θ | X_O."""
    prior_sd, mean = np.array([1.0, 0.5]), np.array([0.0, 1.0])
    variance = 1 / (1 / prior_sd**2 + 1 / SD**2)
    return variance * (mean / prior_sd**2 + np.asarray(X_O) / SD**2), variance**0.5


def blurred(theta, weights):
    return weights @ theta, np.sqrt(weights @ (theta - weights @ theta) ** 2)


def test_rejection_abc_nears_the_posterior():
    found = reference.rejection_abc(
        jax.random.key(0), noisy, LINE, X_O, simulations=50_000, accept=1000
    )
    mean, sd = exact_posterior()
    np.testing.assert_allclose(found.theta.mean(axis=0), mean, atol=4 * sd.max() / 1000**0.5)
    np.testing.assert_allclose(found.theta.std(axis=0), sd, rtol=0.1)
    assert found.ess == pytest.approx(1000)


@pytest.mark.slow
def test_smc_abc_comes_closer_than_rejection_with_the_same_simulations():
    """Under a prior a hundred times wider than the posterior."""
    prior = jaxsbi.box([-30.0, -30.0], [30.0, 30.0])
    budget = 60_000
    found = reference.smc_abc(
        jax.random.key(1), noisy, prior, X_O, simulations=budget, particles=1000
    )
    plain = reference.rejection_abc(
        jax.random.key(1), noisy, prior, X_O, simulations=budget, accept=1000
    )
    assert found.simulations <= budget
    assert found.populations > 5
    assert found.epsilon < plain.epsilon / 1.5
    weights = np.asarray(found.weights)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)
    mean, sd = blurred(np.asarray(found.theta), weights)
    np.testing.assert_allclose(mean, X_O, atol=0.05)
    unit = (60 * 0.34) * float(found.epsilon) / 2  # of a ball of radius ε in two dimensions
    np.testing.assert_allclose(sd, np.hypot(SD, unit), rtol=0.12)


def test_an_undefined_feature_is_compared_as_undefined():
    """x₁ is undefined where θ₁ < 0: an x_o without it accepts such θ only."""

    def partly(key, theta):
        x = noisy(key, theta)
        return jnp.where(jnp.array([True, False]) & (theta[0] < 0), jnp.nan, x)

    x_o = jnp.array([jnp.nan, 0.8])
    for abc in (reference.rejection_abc, reference.smc_abc):
        found = abc(jax.random.key(0), partly, LINE, x_o, simulations=20_000)
        assert np.all(found.theta[:, 0] < 0)
        assert abs(found.weights @ found.theta[:, 1] - exact_posterior()[0][1]) < 0.05
    with pytest.raises(ValueError, match="x_o must be defined in the pattern"):
        reference.rejection_abc(
            jax.random.key(0), partly, LINE, jnp.array([0.1, jnp.nan]), simulations=2000
        )


def test_a_grid_of_a_posterior_piled_in_a_corner_is_the_truncated_normal():
    """θ ~ U[0, 1]², x ~ N(θ, 0.02² I) seen at (0, 1.01): two truncated normals, to 10⁻³."""
    prior, x, sd = jaxsbi.box([0.0, 0.0], [1.0, 1.0]), np.array([0.0, 1.01]), 0.02

    def log_likelihood(theta):
        return jnp.sum(jax.scipy.stats.norm.logpdf(jnp.asarray(x), theta, sd))

    grid = reference.grid(log_likelihood, prior)
    exact = stats.truncnorm((0 - x) / sd, (1 - x) / sd, loc=x, scale=sd)
    mean, spread = blurred(np.asarray(grid.theta, float), np.asarray(grid.mass, float))
    np.testing.assert_allclose(mean, exact.mean(), atol=2e-5)
    np.testing.assert_allclose(spread, exact.std(), rtol=5e-3)
    mass = np.log(stats.norm.cdf((1 - x) / sd) - stats.norm.cdf((0 - x) / sd)).sum()
    assert grid.log_evidence == pytest.approx(mass, abs=2e-3)
    draws = np.asarray(grid.sample(jax.random.key(0), 20_000))
    for column, side in zip(draws.T, (0, 1), strict=True):
        law = stats.truncnorm((0 - x[side]) / sd, (1 - x[side]) / sd, loc=x[side], scale=sd)
        assert stats.kstest(column, law.cdf).pvalue > 1e-3


@pytest.mark.slow
def test_nuts_weighs_two_modes_as_the_grid_does():
    prior = jaxsbi.box([-1.0], [1.0])

    def log_likelihood(theta):
        squares = ((theta[0] - jnp.array([-0.5, 0.6])) / 0.1) ** 2
        return jax.nn.logsumexp(jnp.log(jnp.array([0.3, 0.7])) - 0.5 * squares)

    chains = reference.nuts(jax.random.key(0), log_likelihood, prior, 5120, chains=512, warmup=100)
    grid = reference.grid(log_likelihood, prior)
    right = float(jnp.sum(jnp.where(grid.theta[:, 0] > 0, grid.mass, 0.0)))
    assert right == pytest.approx(0.7, abs=1e-3)
    assert abs(float(jnp.mean(chains.theta > 0)) - right) < 4 * (0.7 * 0.3 / 512) ** 0.5


def gibbs(spikes, design, precision, n, rng):
    """Pólya–Gamma Gibbs for logistic regression (Polson et al. 2013), burnt in: (n, d)."""
    from polyagamma import random_polyagamma

    dim = design.shape[1]
    theta, draws = np.zeros(dim), []
    for _ in range(n + 200):
        omega = random_polyagamma(1.0, design @ theta, random_state=rng)
        factor = np.linalg.cholesky(design.T @ (omega[:, None] * design) + precision)
        mean = np.linalg.solve(factor.T, np.linalg.solve(factor, design.T @ (spikes - 0.5)))
        theta = mean + np.linalg.solve(factor.T, rng.standard_normal(dim))
        draws.append(theta)
    return np.asarray(draws[200:])


@pytest.mark.slow
def test_nuts_and_polya_gamma_gibbs_agree_on_the_spiking_neuron():
    """The exact posterior of the generalised linear model, from two samplers without kinship."""
    prior = jaxsbi.gaussian(glm.PRIOR_MEAN, precision=glm.PRIOR_PRECISION)
    spikes = glm.trace(jax.random.key(3), jnp.asarray(glm.NOMINAL)).spikes
    chains = reference.nuts(
        jax.random.key(0), lambda theta: glm.log_likelihood(theta, spikes), prior, 8192, warmup=200
    )
    assert chains.convergence.r_hat.max() < 1.02
    assert chains.convergence.ess.min() > 4000
    design = np.asarray(glm.DEFAULT.design, float)
    other = gibbs(np.asarray(spikes), design, glm.PRIOR_PRECISION, 8000, np.random.default_rng(0))
    ours = np.asarray(chains.theta, float)
    sd = other.std(axis=0)
    # Gibbs draws are correlated: about a fifth of them count
    np.testing.assert_allclose(ours.mean(axis=0), other.mean(axis=0), atol=4 * sd.max() / 1600**0.5)
    np.testing.assert_allclose(ours.std(axis=0), sd, rtol=0.08)
    np.testing.assert_allclose(np.corrcoef(ours.T), np.corrcoef(other.T), atol=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reference.nuts(jax.random.key(0), jnp.sum, LINE, 10, chains=4), "chains must be"),
        (
            lambda: reference.grid(jnp.sum, jaxsbi.box([0.0] * 3, [1.0] * 3)),
            "prior must",
        ),
        (
            lambda: reference.smc_abc(jax.random.key(0), noisy, LINE, X_O, quantile=1.5),
            "quantile must be a number between 0 and 1",
        ),
        (
            lambda: reference.rejection_abc(jax.random.key(0), noisy, LINE, X_O, simulations=10),
            "simulations must be an integer of at least 1000",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
