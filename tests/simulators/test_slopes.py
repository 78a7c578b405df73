"""Derivatives of the times of spikes, bursts and plateaus: closed forms, refined differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_bursts import CLOCK, trains

from simulators import _slopes, stg

FINE = stg.Protocol(duration=2200.0, burn_in=100.0, dt=0.05)
# period; durations; delays of LP and PY; PM's plateau, from its first spike on; LP's between spikes
SHAPE = np.array([550.0, 150.0, 120.0, 140.0, 190.0, 330.0, 41.0, 23.0])
RISE = 1.0  # ms, of a plateau's edge


def plateau(t, start, stop):
    """A smooth bump of 45 mV above −55 mV, at −30 mV where it starts and stops."""
    up, down = ((x / RISE + np.log(5 / 4)) for x in (t - start, stop - t))
    return 45 * (jax.nn.sigmoid(up) - jax.nn.sigmoid(-down))


def rhythm_of(shape):
    """Voltages (3, n) with spikes and plateaus at times that are linear in `shape`."""
    period, *durations, second, third, first_plateau, second_plateau = shape
    t, voltages = jnp.asarray(FINE.time), []
    for i, (duration, delay) in enumerate(zip(durations, (0.0, second, third), strict=True)):
        v = -55.0 + 0 * t
        for cycle in range(4):
            start = 150.3 + delay + cycle * period
            for part in (0.0, 0.5, 1.0):
                v = v + 75 * jnp.exp(-0.5 * (t - start - part * duration) ** 2)
            if i == 0:
                v = v + plateau(t, start - 20, start + first_plateau)
            elif i == 1:
                v = v + plateau(t, start + 13, start + 13 + second_plateau)
        voltages.append(v)
    return jnp.stack(voltages)


def closed_form(shape):
    """The features of that rhythm; PY has spikes alone, whose plateau is a constant."""
    period, pm, lp, py, second, third, *plateaus = shape
    times = jnp.stack([pm, lp, py, second - pm, third - second - lp, second, third])
    return jnp.concatenate([period[None], times, times / period, jnp.stack([*plateaus, 2.5])])


def test_times_of_a_smooth_rhythm_move_as_their_closed_form(float64):
    shape = jnp.asarray(SHAPE)
    found = jax.jit(lambda p: stg.features(stg.Trace(rhythm_of(p), FINE)))
    np.testing.assert_allclose(found(shape), closed_form(shape), atol=0.3)
    jacobian, expected = jax.jit(jax.jacrev(found))(shape), jax.jacfwd(closed_form)(shape)
    assert np.all(np.abs(expected).sum(1)[:17] > 0) and np.all(jacobian[17] == 0)
    # A crest's parabola is off by dt²/4 for a spike of 1 ms, an edge's chord by up to dt/2.
    np.testing.assert_allclose(jacobian, expected, rtol=1e-3, atol=0.01)
    np.testing.assert_allclose(jacobian[:15], expected[:15], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_gradients_change_no_value_and_undefined_features_stand_still():
    v = jnp.asarray(trains(12, seed=3))

    @jax.jit
    @jax.vmap
    def both(v):
        x, pull = jax.vjp(lambda v: stg.features(stg.Trace(v, CLOCK)), v)
        undefined = jnp.isnan(x).astype(float)
        return x, *jax.vmap(pull)(jnp.stack([undefined, jnp.ones(18)]))

    x, slopes = both(v)
    none, some = slopes[:, 0], slopes[:, 1]
    plain = jax.jit(jax.vmap(lambda v: stg.features(stg.Trace(v, CLOCK))))(v)
    np.testing.assert_array_equal(x, plain)
    assert np.isnan(x).any(1).sum() > 2 and np.isfinite(x).all(1).any()
    assert np.all(np.asarray(none) == 0)
    assert np.isfinite(some).all() and np.all(np.abs(some).sum((1, 2))[np.isfinite(x[:, 1])] > 0)


def test_crests_and_passages_without_a_slope_stand_still():
    flat = jnp.array([20.0, 20.0, 20.0]), jnp.array([-30.0, -30.0 + 1e-5])
    for f, v in ((_slopes.crest, flat[0]), (lambda a, b: _slopes.passage(a, b, -30.0), flat[1])):
        value, slope = jax.value_and_grad(lambda v, f=f: f(*v))(v)
        assert value == 0 and np.all(slope == 0)
    for wrong in (jnp.inf, jnp.nan):
        slope = jax.grad(lambda v: _slopes.crest(*v))(jnp.array([wrong, 20.0, 19.0]))
        assert np.isfinite(slope).all()
