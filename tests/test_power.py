"""Each test's power on posteriors that are wrong on purpose, and its false alarms on exact ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constructed import WRONG, Constructed, joint

from jaxsbi import diagnostics

X_O = {1: jnp.array([0.5, -0.5]), 2: jnp.array([3.0, 0.5])}


def calibration_p(found):
    """Of ranks and coverage together."""
    parts = np.append(found.p_values, found.coverage_p_value)
    return min(1.0, len(parts) * parts.min())


def ranks(key, posterior):
    theta, x = joint(jax.random.fold_in(key, 1), 1000, posterior.modes)
    return calibration_p(diagnostics.calibrate(key, posterior, theta, x, samples=99))


def tarp(key, posterior):
    theta, x = joint(jax.random.fold_in(key, 1), 1000, posterior.modes)
    return diagnostics.tarp(key, posterior, theta, x, samples=99).p_value


def lc2st(key, posterior):
    theta, x = joint(jax.random.fold_in(key, 1), 2000, posterior.modes)
    return diagnostics.lc2st(
        key, posterior, theta, x, x_o=X_O[posterior.modes], nearest=600, samples=60,
        permutations=199,
    ).p_value  # fmt: skip


def two_samples(key, posterior, n):
    x_o = X_O[posterior.modes][None]
    exact = Constructed(modes=posterior.modes)
    return exact.sample(key, n, x_o)[0], posterior.sample(jax.random.fold_in(key, 1), n, x_o)[0]


def mmd(key, posterior):
    return diagnostics.mmd(*two_samples(key, posterior, 500), permutations=199).p_value


def c2st(key, posterior, n=600):
    return diagnostics.c2st(*two_samples(key, posterior, n)).p_value


def predictive(key, shift):
    """Of two features, of which the first is predicted too high."""
    x_o, predicted = normal(key, 1, 2)[0], normal(jax.random.fold_in(key, 1), 500, 2)
    found = diagnostics.predictive(x_o, predicted.at[:, 0].add(shift))
    return min(1.0, 2 * min(len(found.p_values) * float(found.p_values.min()), found.joint))


def misspecification(key, shift):
    """Of five features, of which the first lies outside what is simulated."""
    x_o, x = normal(key, 1, 5)[0], normal(jax.random.fold_in(key, 1), 1000, 5)
    return diagnostics.misspecification(x_o.at[0].add(shift), x).p_values[0]


def normal(key, n, k):
    return jax.random.normal(key, (n, k))


OF_X = {"predictive": (predictive, 5.0), "misspecification": (misspecification, 6.0)}
TESTS = {"ranks": ranks, "tarp": tarp, "lc2st": lc2st, "mmd": mmd}
LEVEL = 0.05
each = pytest.mark.parametrize("name", TESTS)
kinds = pytest.mark.parametrize("kind", WRONG)


def alarms(test, posterior, repeats):
    """How often of so many repeats the posterior is rejected at the level."""
    return sum(test(jax.random.key(seed), posterior) <= LEVEL for seed in range(repeats))


@each
@kinds
def test_errors_are_seen(name, kind):
    assert TESTS[name](jax.random.key(7), WRONG[kind]) <= 0.01


@each
def test_false_alarms_are_few(name):
    assert alarms(TESTS[name], Constructed(), 20) <= 4


@pytest.mark.slow
@each
@kinds
def test_power_exceeds_nine_tenths(name, kind):
    assert alarms(TESTS[name], WRONG[kind], 50) > 45


@pytest.mark.slow
@pytest.mark.parametrize("modes", [1, 2])
@each
def test_false_alarms_keep_to_their_rate(name, modes):
    """10 of 200 are expected; more than 18 in one of 100 such tests."""
    assert alarms(TESTS[name], Constructed(modes=modes), 200) <= 18


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_X)
def test_errors_of_x_are_seen_and_false_alarms_keep_to_their_rate(name):
    test, shift = OF_X[name]
    assert alarms(test, 0.0, 200) <= 18
    assert alarms(test, shift, 50) > 45


@pytest.mark.slow
def test_false_alarms_of_c2st_keep_to_their_rate():
    assert alarms(partial(c2st, n=200), Constructed(), 200) <= 18


@pytest.mark.slow
@kinds
def test_the_power_of_c2st_exceeds_nine_tenths(kind):
    assert alarms(c2st, WRONG[kind], 20) > 18
