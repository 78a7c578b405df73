"""Tests at one x: local ones, predictions, whether x_o is where simulations are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constructed import ONE, WRONG, Constructed, joint, untrained

import jaxsbi
from jaxsbi import diagnostics

KEY = jax.random.key(0)
X_O = jnp.array([0.5, -0.5])
LEVEL = 0.05


def test_the_local_test_sees_an_error_where_it_is():
    """A posterior exact where x₂ < 0 and too narrow where x₂ > 0."""

    class Half(Constructed):
        def sample(self, key, n, x):
            exact, narrow = super().sample(key, n, x), WRONG["narrow"].sample(key, n, x)
            return jnp.where(x[:, None, 1:] < 0, exact, narrow)

    theta, x = joint(jax.random.key(1), 4000)
    options = {"nearest": 600, "samples": 60, "permutations": 199}
    right = diagnostics.lc2st(KEY, Half(), theta, x, x_o=jnp.array([0.0, -1.5]), **options)
    wrong = diagnostics.lc2st(KEY, Half(), theta, x, x_o=jnp.array([0.0, 1.5]), **options)
    assert right.p_value > 0.05 > wrong.p_value
    assert right.verdict.startswith("no error found") and wrong.verdict.startswith("wrong at x_o")


def exact_predictions(key, x_o, posterior, n=1000):
    theta = posterior.sample(key, n, x_o[None])[0]
    return theta + jax.random.normal(jax.random.fold_in(key, 1), theta.shape)


def test_predictive_checks_see_a_shift_and_keep_to_their_level():
    alarms, joint_alarms = 0, 0
    _, x = joint(jax.random.key(3), 100)
    for seed, x_o in enumerate(x):
        found = diagnostics.predictive(
            x_o, exact_predictions(jax.random.key(seed), x_o, Constructed(), 400)
        )
        alarms += found.rejected(LEVEL).any()
        joint_alarms += found.joint <= LEVEL
    assert alarms <= 11 and joint_alarms <= 11
    far = exact_predictions(KEY, X_O, Constructed(shift=5.0))
    found = diagnostics.predictive(X_O, far, names=["a", "b"])
    assert found.verdict.startswith("not predicted: a, b")


def test_predictive_checks_see_features_that_only_together_are_wrong():
    rng = np.random.default_rng(0)
    first = rng.normal(size=2000)
    predicted = np.stack([first, first + 0.05 * rng.normal(size=2000)], axis=1)
    found = diagnostics.predictive(np.array([1.0, -1.0]), predicted)
    assert not found.rejected().any() and found.joint <= 0.01
    assert "all together are not" in found.verdict


def test_a_feature_that_predictions_do_not_define_is_missed():
    predicted = np.random.default_rng(0).normal(size=(1000, 2))
    predicted[1:, 1] = np.nan
    found = diagnostics.predictive(np.zeros(2), predicted, names=["a", "b"])
    assert found.rejected().tolist() == [False, True]
    np.testing.assert_allclose(found.agreement, [1.0, 1 / 1000])
    alike = diagnostics.predictive(np.array([0.0, np.nan]), predicted)
    assert not alike.rejected().any() and alike.joint > 0.01


def test_misspecification_keeps_to_its_level_and_sees_what_is_far():
    rng = np.random.default_rng(1)
    simulated = np.exp(rng.normal(size=(2000, 3)))  # heavy tails
    simulated[:, 2] = simulated[:, 0] * np.exp(0.05 * rng.normal(size=2000))
    simulated[::4, 1] = np.nan
    fresh = np.exp(rng.normal(size=(200, 3)))
    fresh[:, 2] = fresh[:, 0] * np.exp(0.05 * rng.normal(size=200))
    fresh[::4, 1] = np.nan
    inside = diagnostics.misspecification(fresh, simulated)
    assert np.sum(inside.p_values <= LEVEL) <= 18
    assert inside.verdict.startswith("all 200 observations lie where")
    names = ["a", "b", "c"]
    for x_o, told in (
        ([1.0, 1.0, 60.0], "extreme in c"),
        ([0.4, 1.0, 2.5], "by a combination of features"),
        ([np.nan, 1.0, 1.0], "by a combination"),
    ):
        found = diagnostics.misspecification(np.array(x_o), simulated, names=names)
        assert found.p_values[0] <= 0.01, x_o
        assert found.verdict.startswith("misspecified") and told in found.verdict


def test_a_summary_decides_what_is_seen():
    simulated = np.random.default_rng(0).normal(size=(400, 2))
    far = np.array([0.0, 30.0])
    assert diagnostics.misspecification(far, simulated).p_values[0] <= 0.01
    first = diagnostics.misspecification(far, simulated, summary=lambda x: x[:1])
    assert first.p_values[0] > 0.5


def noisy(key, theta):
    return theta + jax.random.normal(key, (2,))


@pytest.fixture(scope="module")
def truncated():
    return jaxsbi.infer(
        KEY, noisy, ONE, jnp.array([0.5, -0.5]), algorithm=jaxsbi.tsnpe(0.05), rounds=2,
        simulations=1000, estimator=jaxsbi.mdn(components=1, hidden=(8,)), progress=False,
        training=jaxsbi.Training(max_epochs=60, anneal=10),
    )  # fmt: skip


@pytest.mark.slow
def test_a_truncated_posterior_is_calibrated_over_its_own_prior(truncated):
    theta, x = diagnostics.truncated_joint(KEY, truncated, noisy, 500)
    region = truncated.conditional.region
    whole = ONE.sample(jax.random.key(1), 4000)
    inside = whole[np.asarray(jax.vmap(region.holds)(ONE.to_z(whole)))]
    assert 100 < len(inside) < 3900
    assert diagnostics.mmd(inside[:500], theta).p_value > 0.01
    found = diagnostics.sbc(KEY, truncated, theta, x, samples=99)
    assert not found.rejected().any() and found.outside == 0
    whole, x_whole = joint(jax.random.key(5), 300)
    partly = diagnostics.tarp(KEY, truncated, whole, x_whole, samples=99)
    assert partly.outside > 10 and "outside the truncated prior" in partly.verdict
    assert partly.outside + len(partly.credibility) == 300
    local = diagnostics.lc2st(KEY, truncated, theta, x, nearest=200, samples=40, permutations=99)
    assert local.p_value > 0.01


def test_a_sequential_posterior_is_refused_with_what_to_use_instead():
    mixture = untrained(jaxsbi.mdn(components=1, hidden=(8,)), ONE, X_O)
    sequential = dataclasses.replace(mixture, amortised=False)
    theta, x = joint(jax.random.key(1), 300)
    for test in (diagnostics.sbc, diagnostics.tarp):
        with pytest.raises(ValueError, match="lc2st tests it there.*truncated_joint") as error:
            test(KEY, sequential, theta, x)
        assert "\n" not in str(error.value)
    local = diagnostics.lc2st(KEY, sequential, theta, x, nearest=200, samples=40, permutations=99)
    assert local.rows == 200
    with pytest.raises(ValueError, match="posterior must be one that jaxsbi.tsnpe"):
        diagnostics.truncated_joint(KEY, sequential, noisy, 10)


def test_draws_with_their_densities_are_those_drawn_and_evaluated():
    prior = jaxsbi.box([-1.0, 0.0], [1.0, 3.0])
    flow = jaxsbi.nsf(layers=1, hidden=(8,), bins=4)
    posterior = untrained(flow, prior, jnp.zeros(1))
    x = jnp.array([[0.2], [-0.4], [0.9]])
    draws, log_prob = posterior.sample_and_log_prob(jax.random.key(1), 40, x)
    np.testing.assert_allclose(draws, posterior.sample(jax.random.key(1), 40, x), atol=1e-5)
    np.testing.assert_allclose(log_prob, posterior.log_prob(draws, x), atol=2e-3)
