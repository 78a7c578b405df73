"""Modes of densities known in closed form: at bounds, next to bounds, and far from all mass."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.scipy.stats import norm

import jaxsbi
from jaxsbi.dataset import moments
from jaxsbi.ledger import Ledger
from jaxsbi.posteriors import DirectPosterior


class Known(nnx.Module):
    """A conditional density given by its functions log_prob(z, x) and sample(key, x)."""

    def __init__(self, log_prob, sample):
        self.log_prob, self.sample = log_prob, sample


def known(prior, log_prob, sample, x_o):
    rows = jnp.stack([x_o, x_o])
    scale = moments(rows, jnp.ones(2, bool))
    masks = np.ones((1, x_o.size), bool)
    return DirectPosterior.of(
        Known(log_prob, sample), prior, x_o, moments=scale, masks=masks, history=Ledger("known")
    )


def test_a_density_that_rises_to_the_bounds_has_its_mode_there_and_says_so():
    """p(θ | x) ∝ e^{−xθ} on [0, 1]², x = (50, −50): the mode is (0, 1)."""
    prior = jaxsbi.box([0.0, 0.0], [1.0, 1.0], names=["fall", "rise"])

    def log_prob(z, x):
        tilt = jnp.log(x / -jnp.expm1(-x)) - x * prior.to_theta(z)
        return jnp.sum(tilt + norm.logpdf(z))

    def sample(key, x):
        return prior.to_z(-jnp.log1p(jax.random.uniform(key, (2,)) * jnp.expm1(-x)) / x)

    posterior = known(prior, log_prob, sample, jnp.array([50.0, -50.0]))
    with pytest.warns(UserWarning, match="at a bound of the prior in fall, rise"):
        best = posterior.map()
    np.testing.assert_array_equal(best, [0.0, 1.0])


def test_a_mode_next_to_a_bound_is_not_the_bound():
    """θ | x ~ N(5, 1) in a prior range of 1000: within 1 % of the bound, but not at it."""
    prior = jaxsbi.box([0.0], [1000.0])

    def log_prob(z, x):
        theta = prior.to_theta(z)
        return jnp.sum(norm.logpdf(theta, x, 1.0)) - prior.log_jacobian(theta)

    def sample(key, x):
        return prior.to_z(jnp.maximum(x + jax.random.normal(key, (1,)), 0.0))

    posterior = known(prior, log_prob, sample, jnp.array([5.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        best = posterior.map()
    np.testing.assert_allclose(best, [5.0], atol=0.02)
    np.testing.assert_allclose(posterior.log_prob(best), norm.logpdf(0.0), atol=1e-3)


def test_a_density_that_rises_where_it_has_no_mass_keeps_its_mode():
    """q = (1 − ε) N(1, 0.2²) + ε N(0, 3²) in z: over θ it is higher still at the corners."""
    prior = jaxsbi.box([0.0, 0.0], [1.0, 1.0])
    spike, wide = jnp.log(1 - 1e-5), jnp.log(1e-5)

    def log_prob(z, x):
        parts = norm.logpdf(z, 1.0, 0.2).sum() + spike, norm.logpdf(z, 0.0, 3.0).sum() + wide
        return jnp.logaddexp(*parts)

    def sample(key, x):
        return 1 + 0.2 * jax.random.normal(key, (2,))

    posterior = known(prior, log_prob, sample, jnp.zeros(1))
    best = posterior.map()
    np.testing.assert_allclose(best, prior.to_theta(jnp.full(2, 1 / (1 - 0.2**2))), atol=1e-3)
    assert posterior.log_prob(jnp.ones(2)) > posterior.log_prob(best)


@pytest.mark.parametrize("tail", [0.01, 0.03])
def test_a_mode_in_the_bulk_outdoes_a_tail_that_is_infinitely_dense_at_a_bound(tail):
    """q = (1 − ε) N(1, 0.2²) + ε N(0, 3²) in z: over θ, q/p → ∞ at the bounds, of mass ≤ ε."""
    prior = jaxsbi.box([0.0, 0.0], [1.0, 1.0])

    def log_prob(z, x):
        parts = norm.logpdf(z, 1.0, 0.2).sum(), norm.logpdf(z, 0.0, 3.0).sum()
        return jnp.logaddexp(jnp.log1p(-tail) + parts[0], jnp.log(tail) + parts[1])

    def sample(key, x):
        key, key_tail = jax.random.split(key)
        noise = jax.random.normal(key, (2,))
        return jnp.where(jax.random.bernoulli(key_tail, tail), 3 * noise, 1 + 0.2 * noise)

    posterior = known(prior, log_prob, sample, jnp.zeros(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [posterior.map(key=jax.random.key(seed)) for seed in range(5)]
    for best in found:
        np.testing.assert_allclose(best, prior.to_theta(jnp.full(2, 1 / (1 - 0.2**2))), atol=5e-3)
    corner = prior.to_theta(jnp.full(2, -5.0))
    assert posterior.log_prob(corner) > posterior.log_prob(best)


def test_the_mode_of_a_narrow_ridge_is_found():
    """q = N(m, R Rᵀ) in four dimensions, sds from 1 to 10⁻³ along axes that are no coordinates."""
    prior = jaxsbi.gaussian(jnp.zeros(4), sd=jnp.ones(4))
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    root = jnp.asarray(axes * [1.0, 0.1, 0.01, 0.001], jnp.float32)
    mean = jnp.array([0.5, -0.3, 0.2, 0.1])

    def apart(z):
        return jnp.linalg.solve(root, z - mean)

    def log_prob(z, x):
        return jnp.sum(norm.logpdf(apart(z))) + jnp.log(1e6)

    def sample(key, x):
        return mean + root @ jax.random.normal(key, (4,))

    best = known(prior, log_prob, sample, jnp.zeros(1)).map()
    np.testing.assert_allclose(apart(prior.to_z(best)), 0.0, atol=0.05)
