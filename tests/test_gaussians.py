"""Mixtures as values: densities, moments, products and quotients against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsbi.gaussians import (
    Gaussians,
    log_overlap,
    no_wider_than_standard,
    quotient,
    standard,
)

SIDE = np.linspace(-12, 12, 601)
GRID = np.stack(np.meshgrid(SIDE, SIDE, indexing="ij"), axis=-1).reshape(-1, 2)
CELL = (SIDE[1] - SIDE[0]) ** 2


def mixture(components, seed, least=0.5, most=9.0, dim=2):
    """A mixture whose precisions have eigenvalues between least and most."""
    rng = np.random.default_rng(seed)
    precisions = []
    for _ in range(components):
        axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        precisions.append(axes * rng.uniform(least, most, dim) @ axes.T)
    logits, means = rng.normal(size=components), 1.5 * rng.normal(size=(components, dim))
    factors = np.linalg.cholesky(np.array(precisions))
    return Gaussians(*(jnp.asarray(a, jnp.float32) for a in (logits, means, factors)))


def exact(mixture, z):
    """Its density by scipy, in float64."""
    weights = np.exp(np.asarray(mixture.logits, float))
    parts = [
        stats.multivariate_normal(np.asarray(m, float), np.linalg.inv(np.asarray(p, float))).pdf(z)
        for m, p in zip(mixture.means, mixture.precisions, strict=True)
    ]
    return weights / weights.sum() @ np.array(parts)


def test_density_draws_and_moments_are_those_of_the_mixture():
    one = mixture(3, 0)
    z = np.random.default_rng(1).normal(size=(50, 2))
    np.testing.assert_allclose(
        jax.vmap(one.log_prob)(jnp.asarray(z, jnp.float32)), np.log(exact(one, z)), atol=1e-3
    )
    density = exact(one, GRID) * CELL
    mean, covariance = one.moments()
    apart = GRID - density @ GRID
    np.testing.assert_allclose(mean, density @ GRID, atol=1e-4)
    np.testing.assert_allclose(covariance, (apart * density[:, None]).T @ apart, atol=1e-3)
    draws = jax.vmap(one.sample)(jax.random.split(jax.random.key(0), 40_000))
    error = 4 * np.sqrt(np.diag(covariance) / 40_000)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < error)
    np.testing.assert_allclose(np.cov(draws.T), covariance, rtol=0.05, atol=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_is_the_integral_of_the_product_over_the_prior(seed):
    q, g = mixture(3, seed), no_wider_than_standard(mixture(2, seed + 10))
    ratio = exact(g, GRID) / stats.multivariate_normal(np.zeros(2)).pdf(GRID)
    integral = np.sum(exact(q, GRID) * ratio) * CELL
    np.testing.assert_allclose(log_overlap(q, g), np.log(integral), atol=2e-3)


def test_overlap_with_the_prior_is_one():
    np.testing.assert_allclose(log_overlap(mixture(4, 3), standard(2, 2)), 0.0, atol=1e-4)


def test_overlap_of_sharp_components_is_accurate_in_single_precision():
    """Precisions of 10⁵ against float64."""
    q, g = mixture(2, 5, least=1e4, most=1e5), mixture(2, 6, least=1e4, most=1e5)
    g = g._replace(means=q.means + 1e-3)
    with jax.enable_x64(True):
        double = log_overlap(*(Gaussians(*(jnp.asarray(np.asarray(a, float)) for a in m))
                               for m in (q, g)))  # fmt: skip
    np.testing.assert_allclose(log_overlap(q, g), double, atol=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_quotient_is_the_density_over_the_gaussian_times_the_prior(seed):
    q, g = mixture(3, seed, least=3.0), mixture(1, seed + 20, least=1.0, most=2.5)
    corrected, lost = quotient(q, g)
    assert not lost.any()
    prior = stats.multivariate_normal(np.zeros(2)).pdf(GRID)
    density = exact(q, GRID) * prior / exact(g, GRID).clip(1e-300)
    density /= density.sum()
    np.testing.assert_allclose(exact(corrected, GRID) * CELL, density, atol=1e-3 * density.max())


def test_an_indefinite_quotient_says_so_and_stays_a_density():
    q, g = mixture(3, 0, least=1.0, most=2.0), mixture(1, 1, least=6.0)
    corrected, lost = quotient(q, g)
    assert lost.all()
    assert np.all(np.linalg.eigvalsh(corrected.precisions) > 0)
    assert np.all(np.isfinite(jax.vmap(corrected.log_prob)(jnp.asarray(GRID[::999]))))


def test_no_variance_above_one_is_left_and_lower_ones_are_kept():
    wide = mixture(3, 0, least=0.1, most=4.0)
    before, after = (np.linalg.eigvalsh(m.precisions) for m in (wide, no_wider_than_standard(wide)))
    np.testing.assert_allclose(after, np.maximum(before, 1.0), rtol=1e-4)
