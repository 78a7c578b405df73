"""The Bernoulli neuron against its closed forms and NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from simulators import glm

many = jax.jit(jax.vmap(glm.simulate, (0, None, None)))
rows = jax.jit(jax.vmap(glm.simulate))


def prior_draws(n, seed=0):
    root = np.linalg.cholesky(np.linalg.inv(glm.PRIOR_PRECISION))
    return glm.PRIOR_MEAN + np.random.default_rng(seed).normal(size=(n, 10)) @ root.T


def design(protocol):
    """X in NumPy, from its definition: X_{t, 1 + l} = u_{t − l}."""
    u = np.asarray(protocol.stimulus, float)
    x = np.ones((len(u), 10))
    for t in range(len(u)):
        for lag in range(9):
            x[t, 1 + lag] = u[t - lag] if t >= lag else 0.0
    return x


def probability(theta, protocol=glm.DEFAULT):
    return 1 / (1 + np.exp(-design(protocol) @ np.asarray(theta, float)))


def test_prior_is_the_smoothness_prior():
    d = np.eye(9) - np.eye(9, k=-1)
    f = d @ d
    f[np.arange(9), np.arange(9)] += np.sqrt(np.arange(9) / 9)
    h = np.random.default_rng(1).normal(size=9)
    b = 0.3
    energy = 0.5 * b**2 + np.sum((f @ h) ** 2)
    theta = np.concatenate([[b], h])
    np.testing.assert_allclose(theta @ glm.PRIOR_PRECISION @ theta, energy)
    assert glm.PRIOR_MEAN.shape == (10,) and np.all(glm.PRIOR_MEAN == 0)
    np.testing.assert_allclose(glm.NOMINAL[:4], [-2, np.exp(-1), 8 * np.exp(-2), 27 * np.exp(-3)])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_mean_and_covariance_are_the_closed_form(which):
    n = 100_000
    theta = [glm.NOMINAL, *prior_draws(2, seed=3)][which]
    keys = jax.random.split(jax.random.key(which), n)
    x = np.asarray(many(keys, jnp.asarray(theta, jnp.float32), glm.DEFAULT), float)
    s, big_x = probability(theta), design(glm.DEFAULT)
    mean, covariance = big_x.T @ s, big_x.T @ np.diag(s * (1 - s)) @ big_x
    # n (x̄ − E x)ᵀ C⁻¹ (x̄ − E x) ~ χ²(10)
    gap = np.linalg.solve(np.linalg.cholesky(covariance), x.mean(0) - mean)
    assert stats.chi2.sf(n * gap @ gap, 10) > 1e-4
    # Whitened, the sample covariance is I; its entries have an sd of about √(2/n), √(1/n).
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, np.cov(x.T)) @ np.linalg.inv(root).T
    kurtosis = 1 + np.abs((1 - 6 * s * (1 - s)) / (s * (1 - s))).max() / 100
    assert np.abs(whitened - np.eye(10)).max() < 5 * np.sqrt((1 + kurtosis) / n)


def test_every_bin_fires_with_its_probability():
    n = 100_000
    keys = jax.random.split(jax.random.key(9), n)
    theta = jnp.asarray(glm.NOMINAL, jnp.float32)
    mean = jax.jit(lambda k: jax.vmap(lambda k: glm.trace(k, theta).spikes)(k).mean(0))(keys)
    s = probability(glm.NOMINAL)
    z = (np.asarray(mean) - s) / np.sqrt(s * (1 - s) / n)
    assert np.abs(z).max() < 4.5 and 0.7 < z.std() < 1.3


def test_features_are_those_of_the_trace_in_numpy():
    protocol = glm.white_noise(seed=5, bins=37)
    theta = jnp.asarray(prior_draws(1, seed=6)[0])
    trace = glm.trace(jax.random.key(0), theta, protocol)
    y = np.asarray(trace.spikes)
    assert set(np.unique(y)) <= {0, 1} and trace.time.shape == y.shape == (37,)
    np.testing.assert_allclose(glm.features(trace), design(protocol).T @ y, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        glm.simulate(jax.random.key(0), theta, protocol), glm.features(trace)
    )
    np.testing.assert_allclose(
        trace.drive, design(protocol) @ np.asarray(theta), rtol=1e-4, atol=1e-5
    )


def test_stimulus_is_frozen_by_its_seed():
    first = np.asarray(glm.white_noise(seed=4).stimulus)
    np.testing.assert_array_equal(first, glm.white_noise(seed=4).stimulus)
    assert abs(np.corrcoef(first, glm.white_noise(seed=5).stimulus)[0, 1]) < 0.5
    # The generator's stream is frozen by NumPy: the default stimulus never changes.
    np.testing.assert_allclose(glm.DEFAULT.stimulus[:2], [1.764052345967664, 0.4001572083672233])


def test_rows_do_not_depend_on_the_batch():
    theta = jnp.asarray(prior_draws(96, seed=1), jnp.float32)
    keys = jax.random.split(jax.random.key(4), 96)
    spikes = jax.jit(jax.vmap(lambda k, t: glm.trace(k, t).spikes))
    whole, x = np.asarray(spikes(keys, theta)), np.asarray(rows(keys, theta))
    for size in (1, 7, 32):
        np.testing.assert_array_equal(spikes(keys[:size], theta[:size]), whole[:size])
        np.testing.assert_allclose(rows(keys[:size], theta[:size]), x[:size], rtol=1e-5, atol=1e-5)


def test_log_likelihood_equals_numpy(float64):
    for theta in [glm.NOMINAL, *prior_draws(3, seed=2), 40 * glm.NOMINAL]:
        trace = glm.trace(jax.random.key(1), theta)
        y, s = np.asarray(trace.spikes), np.clip(probability(theta), 1e-300, 1)
        psi = design(glm.DEFAULT) @ theta
        expected = np.sum(np.where(y == 1, np.log(s), -np.log1p(np.exp(psi))))
        np.testing.assert_allclose(glm.log_likelihood(theta, trace.spikes), expected, rtol=1e-12)
        of_x = glm.log_likelihood_of_features(theta, glm.features(trace))
        np.testing.assert_allclose(of_x, expected, rtol=1e-9, atol=1e-9)


def test_likelihood_sums_to_one_over_all_spike_trains(float64):
    protocol = glm.white_noise(seed=1, bins=8)
    trains = jnp.asarray((np.arange(256)[:, None] >> np.arange(8)) & 1)
    for likelihood, y in [
        (glm.log_likelihood, trains),
        (glm.log_likelihood_of_features, trains @ protocol.design),
    ]:
        log_p = jax.vmap(lambda y, f=likelihood: f(glm.NOMINAL, y, protocol))(y)
        np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-12)


def central(f, theta, step=1e-6):
    return np.stack([(f(theta + e) - f(theta - e)) / (2 * step) for e in step * np.eye(10)], -1)


def test_gradients_equal_central_differences(float64):
    theta = prior_draws(1, seed=8)[0]
    trace = glm.trace(jax.random.key(3), glm.NOMINAL)
    x = glm.features(trace)
    for f in (
        lambda t: glm.log_likelihood(t, trace.spikes),
        lambda t: glm.log_likelihood_of_features(t, x),
    ):
        np.testing.assert_allclose(jax.grad(f)(theta), central(f, theta), rtol=1e-6, atol=1e-6)


def test_gradient_of_simulate_is_that_of_its_mean(float64):
    theta = prior_draws(1, seed=8)[0]
    expected = central(lambda t: design(glm.DEFAULT).T @ probability(t), theta)
    for seed in (0, 1):
        jacobian = jax.jacrev(lambda t, k=seed: glm.simulate(jax.random.key(k), t))(theta)
        np.testing.assert_allclose(jacobian, expected, rtol=1e-6, atol=1e-6)


def test_extreme_parameters_stay_finite_and_nan_is_not_silence():
    big = 200 * jnp.asarray(prior_draws(16, seed=7), jnp.float32)
    x, jacobian = jax.vmap(
        lambda t: (
            glm.simulate(jax.random.key(0), t),
            jax.jacrev(lambda t: glm.simulate(jax.random.key(0), t))(t),
        )
    )(big)
    assert np.isfinite(x).all() and np.isfinite(jacobian).all()
    broken = jnp.stack([jnp.asarray(glm.NOMINAL).at[3].set(bad) for bad in (jnp.nan, jnp.inf)])
    assert np.isnan(rows(jax.random.split(jax.random.key(0), 2), broken)).all()


def test_bad_arguments_are_refused():
    key, theta = jax.random.key(0), jnp.asarray(glm.NOMINAL)
    with pytest.raises(ValueError, match=r"^theta: expected shape \(10,\) .* got \(9,\)"):
        glm.simulate(key, theta[:9])
    with pytest.raises(ValueError, match="^protocol: expected a glm.Protocol, got int"):
        glm.simulate(key, theta, 3)
    with pytest.raises(ValueError, match=r"^stimulus: expected shape \(n,\)"):
        glm.Protocol(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="^stimulus: expected finite numbers, got 1 of 3"):
        glm.Protocol([0.0, np.nan, 1.0])
    with pytest.raises(ValueError, match=r"^spikes: expected shape \(100,\)"):
        glm.log_likelihood(theta, jnp.zeros(99))
    for wrong in (2.0, 0.5, np.nan):
        with pytest.raises(
            ValueError, match=f"^spikes: expected 0 or 1 a bin, got {wrong:g} in bin 0"
        ):
            glm.log_likelihood(theta, jnp.full(100, wrong))
    with pytest.raises(ValueError, match="^theta: expected h_2 finite, got nan; inside jit"):
        glm.simulate(key, theta.at[2].set(jnp.nan))
    with pytest.raises(ValueError, match="^bins: expected at least one, got -1"):
        glm.white_noise(bins=-1)
    with pytest.raises(ValueError, match=r"^x: expected shape \(10,\)"):
        glm.log_likelihood_of_features(theta, jnp.zeros(9))
    with pytest.raises(ValueError, match="^trace: expected a glm.Trace"):
        glm.features(jnp.zeros(100))
