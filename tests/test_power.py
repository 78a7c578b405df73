"""Each test's power on posteriors that are wrong on purpose, and its false alarms on exact ones."""

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


def c2st(key, posterior):
    return diagnostics.c2st(*two_samples(key, posterior, 300)).p_value


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
def test_c2st_has_power_and_few_false_alarms():
    assert alarms(c2st, Constructed(), 40) <= 6
    assert all(alarms(c2st, posterior, 3) == 3 for posterior in WRONG.values())
