"""Streamed central moments against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulators import _moments


def stream(values, inside, block):
    """Moments of a float32 series in blocks, as the solver's observer takes them."""
    total = _moments.one(values[0], jnp.asarray(inside[0]))

    def step(total, chunk):
        origin, v, w = chunk
        sums = _moments.start(origin, 4)
        sums, _ = jax.lax.scan(lambda s, vw: (_moments.add(s, *vw), None), sums, (v, w))
        return _moments.merge(total, _moments.central(sums)), None

    v, w = values[1:].reshape(-1, block), inside[1:].reshape(-1, block)
    origins = values[:-1].reshape(-1, block)[:, 0]
    return jax.lax.scan(step, total, (origins, v, w))[0]


def summary(m):
    return np.array([f(m) for f in (_moments.mean, _moments.deviation)]), np.array(
        [f(m) for f in (_moments.variance, _moments.skewness, _moments.kurtosis)]
    )


@pytest.mark.parametrize("sd", [30.0, 1.0, 0.01])
@pytest.mark.parametrize("kind", ["white", "slow", "spiky"])
def test_float32_streamed_equals_float64_offline(sd, kind):
    rng = np.random.default_rng(3)
    n = 12_001
    series = {
        "white": rng.normal(size=n),
        "slow": np.sin(np.arange(n) / 900) + np.linspace(0, 2, n),
        "spiky": (np.arange(n) % 1500 < 60) * 1.0 + 0.02 * rng.normal(size=n),
    }[kind]
    v = (-70 + sd * series / series.std()).astype(np.float32)
    inside = np.zeros(n, bool)
    inside[997:11_003] = True
    m = jax.jit(lambda v, w: stream(v, w, 120))(jnp.asarray(v), jnp.asarray(inside))
    w = v[inside].astype(float)
    d = w - w.mean()
    m2, m3, m4 = (np.mean(d**k) for k in (2, 3, 4))
    location, shape = summary(m)
    np.testing.assert_allclose(location, [w.mean(), np.sqrt(m2)], rtol=1e-6)
    np.testing.assert_allclose(
        shape, [m2, m3 / m2**1.5, m4 / m2**2], rtol=2e-5, atol=2e-5 * abs(m3 / m2**1.5) + 1e-5
    )


def test_empty_and_constant_series_are_undefined_with_finite_gradients():
    def stats(v, inside):
        m = stream(v, inside, 4)
        return jnp.stack([_moments.mean(m), _moments.deviation(m), _moments.skewness(m)])

    v = jnp.full(9, -70.0)
    nothing, everything = jnp.zeros(9, bool), jnp.ones(9, bool)
    assert np.isnan(stats(v, nothing)).all()
    np.testing.assert_array_equal(stats(v, everything), [-70, 0, np.nan])
    for inside in (nothing, everything):
        jacobian = jax.jacrev(lambda v, w=inside: stats(v, w))(v)
        assert np.isfinite(jacobian).all()
