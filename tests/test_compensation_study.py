"""The study of compensations: how circuits are changed, what is gained by it, whole runs."""

import numpy as np
import pytest

from experiments import compensation as study

RNG = np.random.default_rng(0)
MIDDLE = (study.LOW + study.HIGH) / 2


def test_a_change_moves_two_conductances_equally_far_and_no_other():
    theta = RNG.uniform(study.LOW, study.HIGH, (20, 31))
    rows = (study.moved(theta, 3, 25, -0.4, 1.5) - theta[:, None]) / study.SD
    assert np.all(np.delete(rows, [3, 25], axis=-1) == 0)
    np.testing.assert_allclose(np.linalg.norm(rows[:, study.COMPENSATED], axis=-1), 1.5)
    np.testing.assert_allclose(np.linalg.norm(rows[:, study.OPPOSED], axis=-1), 1.5)
    np.testing.assert_allclose(rows[:, study.ALONE, 3], rows[:, study.OPPOSED, 3])
    assert np.all(rows[:, study.ALONE, 25] == 0)
    towards = np.sign(MIDDLE - theta)[:, 3]
    np.testing.assert_array_equal(np.sign(rows[:, :, 3]), np.repeat(towards[:, None], 3, axis=1))


@pytest.mark.parametrize("coupling", [-0.6, 0.6])
def test_in_a_gaussian_compensation_costs_least_and_opposition_most(coupling):
    """log p = −½ uᵀPu about its peak, with conditional correlation −P_ij / √(P_ii P_jj)."""
    theta = MIDDLE + 1e-6 * study.SD
    u = (study.moved(theta, 1, 9, -coupling, 1.0) - theta) / study.SD
    cost = u[:, 1] ** 2 + u[:, 9] ** 2 + 2 * coupling * u[:, 1] * u[:, 9]
    assert cost[study.COMPENSATED] == pytest.approx(1 - abs(coupling))
    assert cost[study.OPPOSED] == pytest.approx(1 + abs(coupling))


def test_the_strongest_pairs_are_each_named_once():
    rho = np.eye(5)
    for (i, j), value in {(0, 3): -0.5, (1, 2): 0.4, (2, 4): -0.3, (0, 1): 0.1}.items():
        rho[i, j] = rho[j, i] = value
    assert study.strongest(rho, 3).tolist() == [[0, 3], [1, 2], [2, 4]]


def change(pyloric, used=None):
    pyloric = np.asarray(pyloric, bool)
    used = np.ones(pyloric.shape[:2], bool) if used is None else used
    return study.Change(np.array([[0, 1]]), np.array([0.3]), pyloric, used)


def test_what_is_gained_is_that_of_circuits_that_were_changed():
    always = np.zeros((1, 30, 2, 3), bool)
    always[..., study.COMPENSATED] = True
    assert study.difference(change(always)) == (1.0, 1.0, 1.0)
    by_chance = RNG.random((1, 400, 2, 3)) < 0.5
    share, low, high = study.difference(change(by_chance))
    assert low < 0 < high and abs(share) < 0.1
    used = np.arange(30)[None] < 10
    always[:, 10:] = False
    assert study.difference(change(always, used))[0] == 1.0
    assert np.isnan(study.difference(change(always, np.zeros_like(used)))[0])


def test_flags_are_those_of_one_arm_one_step_and_one_pair():
    pyloric = RNG.random((2, 7, 3, 3)) < 0.5
    used = RNG.random((2, 7)) < 0.7
    found = study.Change(np.array([[0, 1], [1, 2]]), np.ones(2), pyloric, used)
    expected = [pyloric[p, c, 1, 2] for p in range(2) for c in range(7) if used[p, c]]
    assert found.flags(2, step=1).tolist() == expected
    of_pair = [pyloric[1, c, s, 0] for c in range(7) if used[1, c] for s in range(3)]
    assert found.flags(0, pair=1).tolist() == of_pair
