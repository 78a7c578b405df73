"""Diagnostics see what they should: wrong posteriors are rejected, exact ones are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi
from jaxsbi import diagnostics


class Gaussian:
    """θ ~ N(0, I), x ~ N(θ, I); the posterior N(x/2, I/2), made wrong by scale and shift."""

    amortised = True
    prior = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0])

    def __init__(self, scale=1.0, shift=0.0):
        self.sd, self.shift = 0.5**0.5 * scale, shift

    def sample(self, key, n, x):
        noise = jax.random.normal(key, (x.shape[0], n, 2))
        return x[:, None] / 2 + self.shift + self.sd * noise

    def log_prob(self, theta, x):
        return -jnp.sum((theta - x[:, None] / 2 - self.shift) ** 2, axis=-1) / (2 * self.sd**2)


def joint(n, seed=0):
    theta = Gaussian.prior.sample(jax.random.key(seed), n)
    return theta, theta + jax.random.normal(jax.random.key(seed + 1000), (n, 2))


def test_an_exact_posterior_is_called_calibrated():
    theta, x = joint(1000)
    found = diagnostics.sbc(jax.random.key(2), Gaussian(), theta, x, samples=199)
    assert not found.rejected().any()
    np.testing.assert_allclose(found.coverage(), [0.5, 0.8, 0.95], atol=0.05)
    assert found.verdict.startswith("calibrated")


def test_false_alarms_keep_to_their_rate():
    """At a family-wise level of 10 % about 10 of 100 exact posteriors are rejected."""
    alarms = 0
    for seed in range(100):
        theta, x = joint(100, seed)
        found = diagnostics.sbc(jax.random.key(seed), Gaussian(), theta, x, samples=99)
        alarms += found.rejected(0.1).any()
    assert alarms <= 20


@pytest.mark.parametrize(
    "wrong", [Gaussian(0.7), Gaussian(1.4), Gaussian(1.0, 0.2)], ids=["narrow", "wide", "shifted"]
)
def test_a_wrong_posterior_is_rejected(wrong):
    theta, x = joint(1000)
    found = diagnostics.sbc(jax.random.key(2), wrong, theta, x, samples=199)
    assert found.rejected().all()
    assert found.verdict.startswith("not calibrated")


def test_coverage_of_a_narrow_posterior_is_too_low_and_of_a_wide_one_too_high():
    theta, x = joint(1000)
    narrow = diagnostics.coverage(jax.random.key(0), Gaussian(0.7), theta, x, samples=199)
    wide = diagnostics.coverage(jax.random.key(0), Gaussian(1.4), theta, x, samples=199)
    assert np.all(narrow < [0.45, 0.75, 0.92])
    assert np.all(wide > [0.6, 0.87, 0.96])


def test_failed_rows_are_left_out():
    theta, x = joint(120)
    found = diagnostics.sbc(
        jax.random.key(0), Gaussian(), theta, x.at[::3].set(jnp.nan), samples=99
    )
    assert found.ranks.shape == (80, 2)


def test_rows_of_a_pattern_never_trained_on_are_left_out_counted_and_told():
    prior = jaxsbi.box([-1.0], [1.0])
    theta = prior.sample(jax.random.key(0), 60)
    x = jnp.tile(theta, 2).at[::4, 1].set(jnp.nan)  # the second feature may be undefined
    posterior = jaxsbi.fit(
        jax.random.key(1), theta, x, prior, progress=False,
        estimator=jaxsbi.mdn(components=1, hidden=(4,)),
        training=jaxsbi.Training(max_epochs=1, anneal=1),
    )  # fmt: skip
    fresh = x.at[:3, 0].set(jnp.nan).at[:3, 1].set(0.0).at[3].set(jnp.nan)  # not the first; failed
    found = diagnostics.sbc(jax.random.key(2), posterior, theta, fresh, samples=9)
    assert (len(found.ranks), found.unserved) == (56, 3)
    assert "; 3 of 59 rows are left out" in found.verdict
    whole = diagnostics.sbc(jax.random.key(2), posterior, theta, x, samples=9)
    assert whole.unserved == 0 and "left out" not in whole.verdict
    for wrong, message in ((fresh[:3], "got none among 3"), (x[:3, :1], "x must have the shape")):
        with pytest.raises(ValueError, match=message):
            diagnostics.sbc(jax.random.key(2), posterior, theta[:3], wrong, samples=9)


def test_holm_equals_the_textbook_example():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_array_equal(diagnostics.holm(p, 0.05), [True, False, False, True])
    assert not diagnostics.holm(np.array([0.03, 0.03]), 0.05).any()


def test_c2st_is_half_for_equals_and_one_for_strangers():
    first, second = np.random.default_rng(0).normal(size=(2, 600, 2))
    same = diagnostics.c2st(first, second)
    assert abs(same.mlp - 0.5) < 0.06
    assert abs(same.rf - 0.5) < 0.06
    other = diagnostics.c2st(first, second + 6)
    assert min(other.mlp, other.rf) > 0.99


def test_c2st_of_a_shift_is_that_of_the_best_classifier():
    """Two unit normals 2 apart: the Bayes classifier is right in Φ(1) = 84 % of cases."""
    first, second = np.random.default_rng(1).normal(size=(2, 1500, 1))
    score = diagnostics.c2st(first, second + 2)
    assert abs(score.mlp - 0.841) < 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, x: diagnostics.sbc(jax.random.key(0), Gaussian(), t, x, samples=1), "samples"),
        (lambda t, x: diagnostics.sbc(jax.random.key(0), Gaussian(), t[:, :1], x), "theta must"),
        (
            lambda t, x: diagnostics.sbc(jax.random.key(0), Gaussian(), t, x[1:]),
            "x must have one row",
        ),
        (
            lambda t, x: diagnostics.coverage(jax.random.key(0), Gaussian(), t[1:], x),
            "x must have one row per row of theta, 19",
        ),
        (lambda t, x: diagnostics.calibrate(0, Gaussian(), t, x), "key must be a typed key"),
        (
            lambda t, x: diagnostics.sbc(jax.random.key(0), Gaussian(), t, x * jnp.nan),
            "x must hold",
        ),
        (
            lambda t, x: diagnostics.coverage(jax.random.key(0), Gaussian(), t, x, levels=(50,)),
            "levels must be a number between 0 and 1",
        ),
        (lambda t, x: diagnostics.c2st(t, x[:, :1]), "samples must have 2 columns"),
        (lambda t, x: diagnostics.c2st(t * jnp.nan, x), "reference must be a finite"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    theta, x = joint(20)
    with pytest.raises(ValueError, match=message) as error:
        call(theta, x)
    assert "\n" not in str(error.value)
