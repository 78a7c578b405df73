"""The counter-based normals against N(0, 1), and the generator against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from simulators import _noise

KEY = _noise.key_words(jax.random.key(7))


def normals(key, first, count, stream=0):
    """z_first … of a stream, four from each counter as the models draw them."""
    counters = first + _noise.PER_COUNTER * jnp.arange(count // _noise.PER_COUNTER)
    return jnp.stack(_noise.four(_noise.words(key, counters, stream)), axis=-1).reshape(count)


def test_threefry_equals_jax():
    high = np.arange(1000, dtype=np.uint32) * np.uint32(2_654_435_761)
    low = np.arange(1000, dtype=np.uint32)[::-1].copy()
    ours = _noise.threefry(KEY, jnp.asarray(high), jnp.asarray(low))
    theirs = threefry_2x32(KEY, jnp.concatenate([high, low]))
    np.testing.assert_array_equal(np.concatenate(ours), theirs)


def test_ten_million_draws_are_standard_normal():
    n = 10_000_000
    z = np.asarray(jax.jit(lambda k: normals(k, 0, n))(KEY)).astype(float)
    assert stats.kstest(z, "norm").pvalue > 0.001
    moments = [np.mean(z**k) for k in (1, 2, 3, 4, 6)]
    sds = np.sqrt(np.array([1, 2, 15, 96, 10_170]) / n)  # of the sample moments of N(0, 1)
    assert np.all(np.abs(np.array(moments) - [0, 1, 0, 3, 15]) < 4 * sds), moments
    for lag in (1, 2, 3, 4, 5, 8, 120):
        r = np.mean(z[lag:] * z[:-lag])
        r2 = np.mean((z[lag:] ** 2 - 1) * (z[:-lag] ** 2 - 1)) / 2
        assert abs(r) * np.sqrt(n) < 4 and abs(r2) * np.sqrt(n) < 4, (lag, r, r2)
    tail = np.array([3.0, 4.0, 4.5])
    expected = 2 * n * stats.norm.sf(tail)
    seen = [(np.abs(z) > t).sum() for t in tail]
    assert np.all(np.abs(seen - expected) < 4 * np.sqrt(expected)), (seen, expected)


def test_pairs_of_one_word_are_independent():
    z = np.asarray(normals(KEY, 0, 2_000_000)).reshape(-1, 4)
    edges = stats.norm.ppf(np.linspace(0, 1, 17)[1:-1])
    for i, j in [(0, 1), (2, 3), (0, 2), (1, 3)]:
        table = np.zeros((16, 16))
        np.add.at(table, (np.digitize(z[:, i], edges), np.digitize(z[:, j], edges)), 1)
        assert stats.chisquare(table.ravel()).pvalue > 1e-4, (i, j)


def test_a_draw_depends_on_key_and_counter_alone():
    whole = normals(KEY, 0, 1200)
    parts = [normals(KEY, first, 400) for first in (0, 400, 800)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("other", ["key", "stream"])
def test_other_keys_and_streams_are_uncorrelated(other):
    n = 400_000
    z = normals(KEY, 0, n)
    if other == "key":
        w = normals(_noise.key_words(jax.random.fold_in(jax.random.key(7), 1)), 0, n)
    else:
        w = normals(KEY, 0, n, stream=1)
    assert abs(np.mean(np.asarray(z) * np.asarray(w))) * np.sqrt(n) < 4


def test_wrong_keys_are_refused():
    for wrong in (0, jax.random.split(jax.random.key(0), 3), jax.random.key(0, impl="rbg")):
        with pytest.raises(ValueError, match="^key: expected"):
            _noise.key_words(wrong)


def test_uniforms_are_uniform_and_fine_near_zero():
    n = 4_000_000
    v = np.asarray(jax.jit(lambda k: _noise.uniforms(k, n))(KEY)).astype(float)
    assert v.min() > 0 and v.max() < 1
    assert stats.kstest(v, "uniform").pvalue > 0.001
    for lag in (1, 2, 3):
        assert abs(np.mean((v[lag:] - 0.5) * (v[:-lag] - 0.5)) * 12 * np.sqrt(n)) < 4
    for p in (1e-6, 1e-5, 1e-4):
        assert abs((v < p).sum() - n * p) < 4.5 * np.sqrt(n * p)
    np.testing.assert_array_equal(v[:1001], _noise.uniforms(KEY, 1001))
