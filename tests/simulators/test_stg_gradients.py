"""Gradients through the pyloric circuit: refined differences, finite over the prior, bounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rhythm

from simulators import stg

LOW, HIGH = (np.array([getattr(p, side) for p in stg.PARAMETERS]) for side in ("low", "high"))
QUIET = stg.Protocol(duration=3200.0, burn_in=200.0, noise=0.0)
NOISY = stg.Protocol(duration=500.0, burn_in=50.0)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.slow
def test_gradients_equal_differences_of_refined_features(data, float64):
    theta = np.load(data("stg/circuits.npz"))["path_theta"][19]  # the fastest
    key, step = keys(1)[0], 1e-7 * (HIGH - LOW)
    ways = np.random.default_rng(0).normal(size=(4, 31)) * step
    trace = jax.jit(jax.vmap(lambda t: stg.trace(key, t, QUIET).voltage))
    thetas = theta + np.concatenate([0 * ways[:1], ways, -ways])
    base, *moved = np.asarray(trace(jnp.asarray(thetas)))
    window = QUIET.dt, QUIET.start, QUIET.samples
    x = np.stack([rhythm.features(base, *window, v)[0] for v in moved])
    difference = (x[:4] - x[4:]) / 2
    found = jax.jit(jax.jacrev(lambda t: stg.simulate(key, t, QUIET)))(jnp.asarray(theta))
    assert np.isfinite(difference).all()
    slopes, scale = ways @ np.asarray(found).T, np.abs(difference).max(0)
    assert np.all(scale[:15] > 0) and np.all(difference[:, 15:] == 0)  # no plateaus but spikes
    assert np.all(slopes[:, 15:] == 0)
    # Rates have kinks, which a sample may cross within a difference.
    gap = np.abs(slopes - difference)[:, :15] / scale[:15]
    assert gap.max() < 5e-3 and np.quantile(gap, 0.9) < 1e-3


@pytest.mark.slow
def test_gradients_over_the_prior_are_finite_and_change_no_value(data):
    """Half prior draws, half circuits of the published path."""
    path = np.load(data("stg/circuits.npz"))["path_theta"]
    draws = np.random.default_rng(1).uniform(LOW, HIGH, (40, 31))
    theta = jnp.asarray(np.concatenate([draws, path]), jnp.float32)

    def loss(theta, key):
        x = stg.simulate(key, theta, NOISY)
        return jnp.sum(jnp.where(jnp.isnan(x), 0, jnp.sin(x))), x

    gradient, x = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(theta, keys(80))
    plain = jax.jit(jax.vmap(lambda k, t: stg.simulate(k, t, NOISY)))(keys(80), theta)
    np.testing.assert_array_equal(x, plain)
    assert np.isfinite(gradient).all()
    some = np.isfinite(x[:, 1:4]).any(1)  # a burst
    moves = np.asarray(gradient != 0).any(1)
    np.testing.assert_array_equal(moves, some)
    assert 10 < some.sum() < 80


@pytest.mark.slow
def test_a_gradient_of_a_whole_run_keeps_half_a_megabyte_a_circuit():
    rows = 64
    gradient = jax.grad(lambda t, k: jnp.nansum(stg.simulate(k, t)))
    lowered = jax.jit(jax.vmap(gradient)).lower(jnp.zeros((rows, 31), jnp.float32), keys(rows))
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 0.6e6 * rows
