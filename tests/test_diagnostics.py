"""Diagnostics see what they should: wrong posteriors are rejected, exact ones are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constructed import WRONG, Constructed, joint
from scipy import stats

import jaxsbi
from jaxsbi import diagnostics
from jaxsbi.diagnostics import Calibration
from jaxsbi.diagnostics.samples import WIDTHS

KEY = jax.random.key(0)


def test_an_exact_posterior_is_called_calibrated():
    theta, x = joint(jax.random.key(1), 1000)
    found = diagnostics.sbc(jax.random.key(2), Constructed(), theta, x, samples=199)
    assert not found.rejected().any()
    assert found.coverage_p_value > 0.01
    np.testing.assert_allclose(found.coverage(), [0.5, 0.8, 0.95], atol=0.05)
    assert found.verdict.startswith("calibrated")


@pytest.mark.parametrize("kind", ["narrow", "wide", "shifted"])
def test_a_wrong_posterior_is_not_calibrated(kind):
    theta, x = joint(jax.random.key(1), 1000)
    found = diagnostics.sbc(jax.random.key(2), WRONG[kind], theta, x, samples=199)
    assert found.rejected().all()
    assert found.verdict.startswith("not calibrated") and not found.calibrated


def test_a_wrong_correlation_is_told_by_coverage_alone():
    theta, x = joint(jax.random.key(1), 1000)
    found = diagnostics.sbc(jax.random.key(2), WRONG["correlated"], theta, x, samples=199)
    assert not found.rejected().any() and not found.calibrated
    assert found.verdict.startswith("ranks are uniform, but coverage is off by")


def test_a_small_error_of_coverage_that_is_more_than_chance_is_no_calibration():
    uniform = (np.arange(5000) + 0.5) / 5000
    told = {}
    for power in (1.0, 1.1):
        found = Calibration(("a",), 99, np.zeros((5000, 1), int), np.array([0.5]), uniform**power)
        told[power] = found.calibrated, "more than by chance" in found.verdict
        assert found.gap < 0.05
    assert told == {1.0: (True, False), 1.1: (False, True)}


def test_coverage_of_a_narrow_posterior_is_too_low_and_of_a_wide_one_too_high():
    theta, x = joint(jax.random.key(1), 1000)
    narrow = diagnostics.coverage(KEY, WRONG["narrow"], theta, x, samples=199)
    wide = diagnostics.coverage(KEY, WRONG["wide"], theta, x, samples=199)
    assert np.all(narrow.shares < [0.45, 0.75, 0.92])
    assert np.all(wide.shares > [0.6, 0.87, 0.96])
    assert narrow.verdict.startswith("too narrow") and wide.verdict.startswith("too wide")
    exact = diagnostics.coverage(KEY, Constructed(), theta, x, levels=(0.9,), samples=199)
    assert exact.verdict.startswith("as nominal") and f"of {exact.rows} cases" in exact.verdict


def test_failed_rows_are_left_out():
    theta, x = joint(jax.random.key(1), 120)
    found = diagnostics.sbc(KEY, Constructed(), theta, x.at[::3].set(jnp.nan), samples=99)
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


def test_mmd_of_two_normals_is_that_of_the_kernel():
    """E k(x, y) of N(0, I) and N(δ, I) in one dimension, one width: closed form."""
    rng = np.random.default_rng(0)
    first, second = (stats.zscore(sample) for sample in rng.normal(size=(2, 2000, 1)))
    second = second + 1.0
    rows = np.concatenate([first, second])
    spread = rows.std()
    median = np.median(((rows - rows.T) / spread)[::7, ::7] ** 2)
    exact = 0.0
    for width in WIDTHS:
        variance = width**2 * median * spread**2
        peak = np.sqrt(variance / (variance + 2)) / len(WIDTHS)
        exact += 2 * peak * (1 - np.exp(-1 / (2 * (variance + 2))))
    found = diagnostics.mmd(first, second, permutations=199)
    assert found.squared == pytest.approx(exact, rel=0.15)
    assert found.verdict.startswith("distinguishable")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t, x: diagnostics.sbc(KEY, Constructed(), t, x, samples=1),
            "samples",
        ),
        (lambda t, x: diagnostics.sbc(KEY, Constructed(), t[:, :1], x), "theta must"),
        (
            lambda t, x: diagnostics.sbc(KEY, Constructed(), t, x[1:]),
            "x must have one row",
        ),
        (
            lambda t, x: diagnostics.coverage(KEY, Constructed(), t[1:], x),
            "x must have one row per row of theta, 19",
        ),
        (lambda t, x: diagnostics.calibrate(0, Constructed(), t, x), "key must be a typed key"),
        (
            lambda t, x: diagnostics.sbc(KEY, Constructed(), t, x * jnp.nan),
            "x must hold",
        ),
        (
            lambda t, x: diagnostics.coverage(KEY, Constructed(), t, x, levels=(50,)),
            "levels must be a number between 0 and 1",
        ),
        (lambda t, x: diagnostics.c2st(t, x[:, :1]), "samples must have 2 columns"),
        (lambda t, x: diagnostics.c2st(t * jnp.nan, x), "reference must be a finite"),
        (lambda t, x: diagnostics.mmd(t, x[:, :1]), "samples must have 2 columns"),
        (lambda t, x: diagnostics.mmd(t, x, permutations=2), "permutations must be an integer"),
        (lambda t, x: diagnostics.tarp(KEY, Constructed(), t, x, samples=3), "samples must be"),
        (lambda t, x: diagnostics.lc2st(KEY, 3, t, x), "posterior must have a prior"),
        (lambda t, x: diagnostics.lc2st(KEY, Constructed(), t, x), "theta must hold at least 40"),
        (
            lambda t, x: diagnostics.lc2st(
                KEY, Constructed(), jnp.tile(t, (3, 1)), jnp.tile(x, (3, 1))
            ),
            "x_o must be given",
        ),
        (lambda t, x: diagnostics.misspecification(x[0], x), "x must hold at least 40 valid"),
        (lambda t, x: diagnostics.misspecification(x[0, :1], jnp.tile(x, (3, 1))), "x_o must"),
        (
            lambda t, x: diagnostics.misspecification(x[0], jnp.tile(x, (3, 1)), names=["a"]),
            "names must be 2 strings",
        ),
        (lambda t, x: diagnostics.predictive(x, jnp.tile(x, (3, 1))), "x_o must be one"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    theta, x = joint(KEY, 20)
    with pytest.raises(ValueError, match=message) as error:
        call(theta, x)
    assert "\n" not in str(error.value)
