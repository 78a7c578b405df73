"""Laws of the buffer: rows keep their side, sides have their share, moments are robust."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxsbi import dataset
from jaxsbi.observations import patterns


def rows(n, k=3, seed=0):
    z, x = jax.random.normal(jax.random.key(seed), (2, n, k))
    return dataset.Rows(z, x, dataset.is_valid(x), jnp.zeros(n, jnp.int32), jnp.zeros(n))


def struct(k=3):
    return jax.ShapeDtypeStruct((k,), jnp.float32)


def test_appending_in_parts_equals_appending_at_once():
    everything = rows(100)
    whole = dataset.append(dataset.empty(100, 3, struct()), everything, 0.1)
    parts = dataset.empty(100, 3, struct())
    for start in range(0, 100, 25):
        part = jax.tree.map(lambda leaf, s=start: leaf[s : s + 25], everything)
        parts = jax.jit(dataset.append, static_argnums=2)(parts, part, 0.1)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_a_row_is_on_one_side_only_and_the_sides_have_their_share():
    simulations = dataset.append(dataset.empty(3000, 3, struct()), rows(2000), 0.2)
    assert not np.any(simulations.validation & ~simulations.filled)
    for window in np.split(np.asarray(simulations.validation)[:2000], 20):
        assert abs(window.mean() - 0.2) <= 0.03


def test_rows_of_nothing_but_nan_are_invalid():
    x = rows(50).x.at[::5].set(jnp.nan).at[1, 0].set(jnp.nan)
    assert np.array_equal(dataset.is_valid(x), np.arange(50) % 5 != 0)


def test_moments_of_a_gaussian_are_its_mean_and_sd():
    x = 5 + 2 * jax.random.normal(jax.random.key(1), (20_000, 2))
    location, scale, quantiles = dataset.moments(x, jnp.ones(20_000, bool))
    np.testing.assert_allclose(location, 5, atol=0.05)
    np.testing.assert_allclose(scale, 2, rtol=0.03)
    inner = np.abs(dataset.SCORES) < 2
    expected = np.broadcast_to(5 + 2 * dataset.SCORES[inner, None], (inner.sum(), 2))
    np.testing.assert_allclose(quantiles[inner], expected, atol=0.15)


@pytest.mark.parametrize(
    ("column", "location", "scale"),
    [
        ([7.0] * 100, 7.0, 1.0),  # constant
        ([np.nan] * 100, 0.0, 1.0),  # never defined
        ([0.0, 1.0] * 45 + [np.inf] * 5 + [-np.inf] * 5, 0.5, 0.5),  # infinite now and then
        ([0.0, 1.0] * 45 + [1e30] * 10, 1.0, 0.5),  # outliers
        ([0.0, 1.0, np.nan, np.nan] * 25, 0.5, 0.5),  # undefined now and then
        ([0.0] * 90 + [6.0] * 10, 0.0, 1.0),  # most values coincide
    ],
)
def test_moments_are_finite_and_positive_whatever_the_feature(column, location, scale):
    x = {"a": jnp.array(column)[:, None], "b": jnp.arange(100.0)}
    found = dataset.moments(x, jnp.ones(100, bool))
    np.testing.assert_allclose(found.location["a"], [location], atol=0.51 * (scale != 1))
    np.testing.assert_allclose(found.scale["a"], [scale], rtol=0.01)
    np.testing.assert_allclose(found.location["b"], 49.5)


def test_moments_look_at_the_rows_to_use_only():
    x = jnp.concatenate([jnp.linspace(0, 1, 50), jnp.full(50, 1e6)])[:, None]
    location, _, quantiles = dataset.moments(x, jnp.arange(100) < 50)
    np.testing.assert_allclose(location, 0.5, atol=1e-6)
    assert np.all((quantiles >= 0) & (quantiles <= 1))


def test_quantiles_are_those_of_numpy_with_undefined_values_left_out():
    x = np.random.default_rng(0).normal(size=(301, 4, 2)).astype(np.float32)
    x[::3, 1] = np.nan
    use = np.arange(301) % 7 != 0
    location, scale, quantiles = dataset.moments(x, use)
    low, middle, high = np.nanquantile(x[use], norm.cdf([-1, 0, 1]), axis=0)
    np.testing.assert_allclose(location, middle, atol=1e-6)
    np.testing.assert_allclose(scale, (high - low) / 2, atol=1e-6)
    expected = np.nanquantile(x[use], norm.cdf(dataset.SCORES), axis=0, method="nearest")
    np.testing.assert_array_equal(quantiles, expected)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_patterns_of_undefined_features_are_the_distinct_ones_of_the_rows_to_use(share):
    rng = np.random.default_rng(1)
    x = {"a": rng.normal(size=(200, 9)), "b": rng.normal(size=200)}
    x["a"][:, 6:][rng.uniform(size=(200, 3)) < share] = np.nan
    x["b"][:100] = np.nan
    use = np.arange(200) >= 100
    expected = np.unique(~np.isnan(np.c_[x["a"], x["b"]][use]), axis=0)
    np.testing.assert_array_equal(patterns(x, use), expected)
