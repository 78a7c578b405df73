"""Learned likelihoods: over all outcomes they sum to one, undefined features, failures and all."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxsbi
from jaxsbi import dataset
from jaxsbi.likelihoods import Likelihood, Ratio
from jaxsbi.parameters import Spread, Whitened, spread

SPREAD = Spread.of_prior(2)
LOCATION, SCALE = np.array([1.0, -2.0]), np.array([0.5, 2.0])


def perturbed(module, key):
    """The module with every weight moved, so that nothing is at its neutral start."""
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + 0.15 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)
    ]
    return nnx.merge(graphdef, tree.unflatten(moved), rest)


@pytest.fixture(scope="module")
def moments():
    x = LOCATION + SCALE * np.random.default_rng(0).standard_normal((2000, 2))
    return dataset.moments(jnp.asarray(x, jnp.float32), np.ones(2000, bool))


@pytest.fixture(scope="module", params=["maf", pytest.param("nsf", marks=pytest.mark.slow)])
def likelihood(request, moments):
    estimator = {
        "maf": jaxsbi.maf(layers=3, hidden=(8,)),
        "nsf": jaxsbi.nsf(layers=2, hidden=(8,), bins=4),
    }[request.param]
    return perturbed(Likelihood(jax.random.key(0), estimator, moments, SPREAD), jax.random.key(1))


def test_the_likelihood_of_all_outcomes_is_one(likelihood):
    """Σ over patterns of ∫ over the defined features, and the failure: 1, for any z."""
    points, half = 250, 12
    side = (np.arange(points) + 0.5) / points * 2 * half - half
    log_prob = jax.jit(jax.vmap(likelihood.log_prob, in_axes=(0, None)))
    total, z = 0.0, jnp.array([0.7, -1.2])
    for pattern in itertools.product([True, False], repeat=2):
        axes = [side if defined else np.full(points, np.nan) for defined in pattern]
        x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        density = log_prob(jnp.asarray(LOCATION + SCALE * x, jnp.float32), z)
        # each undefined feature's points are all the same one
        cell = np.prod(np.where(pattern, 2 * half / points * SCALE, 1 / points))
        total += cell * np.exp(np.asarray(density, float)).sum()
    assert total == pytest.approx(1.0, abs=0.02)


def test_an_undefined_feature_says_nothing_by_its_place_in_the_flow(likelihood):
    """Densities given a pattern do not depend on what stands where nothing is defined."""
    x = jnp.array([1.2, jnp.nan])
    values, defined, _ = likelihood.features(x)
    np.testing.assert_array_equal(defined, [True, False])
    flow = likelihood.flow.distribution((jnp.zeros(4), defined.astype(float)), defined)
    u = jax.jit(flow.bijector.inverse)(values)
    assert u[1] == 0
    np.testing.assert_allclose(jax.jit(flow.bijector.forward)(u), values, atol=1e-4)


def test_gradients_in_z_are_finite_whatever_is_undefined(likelihood):
    gradient = jax.jit(jax.grad(likelihood.log_likelihood))
    for x in ([0.0, jnp.nan], [jnp.nan] * 2, [1e6, -1e6]):
        assert np.all(np.isfinite(gradient(jnp.array([0.3, -4.0]), jnp.array(x))))


def test_a_ratio_sees_which_features_are_undefined(moments):
    ratio = perturbed(Ratio(jax.random.key(0), moments, SPREAD, (8, 8), None), jax.random.key(1))
    z = jnp.array([0.3, -0.4])
    values = [ratio.log_likelihood(z, jnp.array([1.0, b])) for b in (-2.0, jnp.nan)]
    assert np.all(np.isfinite(values))
    assert values[0] != values[1]


def test_counts_are_spread_to_their_neighbours_and_continuous_features_are_not():
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.stack([3.0 * rng.poisson(2, 500), rng.normal(size=500)], axis=1))
    found = dataset.moments(x, np.ones(500, bool))
    likelihood = Likelihood(
        jax.random.key(0), jaxsbi.maf(layers=1, hidden=(8,)), found, Spread.of_prior(1)
    )
    spread = jax.vmap(likelihood.spread)(jax.random.split(jax.random.key(1), 500), x)
    np.testing.assert_array_equal(spread[:, 1], x[:, 1])
    offset = np.asarray(spread[:, 0] - x[:, 0])
    assert stats.kstest(offset, stats.uniform(-1.5, 3.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize("rows", [5000, 3])
def test_parameters_are_seen_white_along_a_thin_sheet(rows):
    """Of few rows, each coordinate by itself; rows that are not used do not count."""
    rng = np.random.default_rng(3)
    z = rng.normal(size=(rows, 3))
    z[:, 1] = 0.7 * z[:, 0] + 0.03 * z[:, 1]
    both = jnp.asarray(np.concatenate([z, rng.normal(5, 9, (100, 3))]), jnp.float32)
    use = jnp.arange(rows + 100) < rows
    seen = np.asarray(jax.vmap(Whitened(spread(both, use)))(both[:rows]), float)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-3)
    for block in (seen[:, :3], seen[:, 3:]):
        covariance = block.T @ block / rows
        expected = np.eye(3) if rows > 3 else covariance * (1 - np.eye(3)) + np.eye(3)
        np.testing.assert_allclose(covariance, expected, atol=0.02)
