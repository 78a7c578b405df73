"""The study of compensations: how circuits are changed, what is gained by it."""

import numpy as np
import pytest

from experiments import compensation, compensation_report
from experiments import compensation_changes as study
from experiments.stg_circuits import Circuits
from simulators.stg import PARAMETERS

RNG = np.random.default_rng(0)
MIDDLE = (study.LOW + study.HIGH) / 2
ARMS = study.COMPENSATED, study.ALONE, study.OPPOSED


def test_the_first_moves_alike_in_all_arms_and_the_second_by_the_slope():
    theta = RNG.uniform(study.LOW, study.HIGH, (20, 31))
    rows = (study.moved(theta, 3, 25, -0.4, 1.5) - theta[:, None]) / study.SD
    assert np.all(np.delete(rows, [3, 25], axis=-1) == 0)
    towards = 1.5 * np.sign(MIDDLE - theta)[:, 3]
    for arm, slope in zip(ARMS, (-0.4, 0.0, 0.4), strict=True):
        np.testing.assert_allclose(rows[:, arm, 3], towards)
        np.testing.assert_allclose(rows[:, arm, 25], slope * towards, atol=1e-12)


@pytest.mark.parametrize("rho", [-0.6, -0.2, 0.6])
@pytest.mark.parametrize("widths", [(1.0, 1.0), (0.3, 1.0), (1.0, 0.1)])
def test_in_a_gaussian_compensation_costs_less_than_nothing_done_and_opposition_more(rho, widths):
    """Of −log p = ½ uᵀPu about its peak; P⁻¹ the covariance given all others."""
    covariance = np.array([[1, rho], [rho, 1]]) * np.outer(widths, widths)
    first, slope = study.follow(covariance)
    assert first == (widths[0] <= widths[1]) and abs(slope) <= 1
    pair = (1, 9) if first else (9, 1)
    theta = MIDDLE + 1e-6 * study.SD
    u = (study.moved(theta, *pair, slope, 1.0) - theta)[:, [1, 9]] / study.SD[[1, 9]]
    cost = np.einsum("ai,ij,aj->a", u, np.linalg.inv(covariance), u) / 2
    assert cost[study.COMPENSATED] < cost[study.ALONE] < cost[study.OPPOSED]


def test_the_slope_is_the_one_that_costs_least():
    covariance = np.array([[1.0, -0.3], [-0.3, 1.0]])
    _, slope = study.follow(covariance)
    u = np.stack([np.ones(201), np.linspace(-1, 1, 201)])
    cost = np.einsum("ia,ij,ja->a", u, np.linalg.inv(covariance), u)
    assert slope == pytest.approx(u[1, np.argmin(cost)])


def test_the_strongest_pairs_are_each_named_once():
    rho = np.eye(5)
    for (i, j), value in {(0, 3): -0.5, (1, 2): 0.4, (2, 4): -0.3, (0, 1): 0.1}.items():
        rho[i, j] = rho[j, i] = value
    assert study.strongest(rho, 3).tolist() == [[0, 3], [1, 2], [2, 4]]


def change(pyloric, used=None, unchanged=None):
    pyloric = np.asarray(pyloric, bool)
    used = np.ones(pyloric.shape[:2], bool) if used is None else used
    unchanged = np.ones_like(used) if unchanged is None else unchanged
    ones = np.ones(len(pyloric))
    pairs = np.tile([[0, 1]], (len(pyloric), 1))
    return study.Change(pairs, 0.3 * ones, 0.5 * ones, pyloric, unchanged, used)


def test_the_example_is_a_circuit_that_was_changed_by_the_longest_step():
    """Where the second conductance cannot follow, a circuit is passed over; so are silent ones."""
    theta = MIDDLE + np.array([[0.1], [0.2], [0.3]]) * study.SD
    theta[0, 1] = study.HIGH[1]
    circuits = Circuits(theta, np.zeros((3, 18)), np.array([True, False, True]))
    rows, inside = study.changed(theta, 0, 1, 0.5, (0.5, 1.0))
    assert inside.tolist() == [False, True, True]
    found = study.example(circuits, change(np.ones((1, 2, 2, 3))), (0.5, 1.0))
    np.testing.assert_array_equal(found.pop("unchanged"), theta[2])
    first, second = (PARAMETERS[i].name for i in (0, 1))
    arms = {
        f"{first} changed alone": study.ALONE,
        f"compensated by {second}": study.COMPENSATED,
        f"opposed by {second}": study.OPPOSED,
    }
    assert set(arms) == set(found)
    for name, arm in arms.items():
        np.testing.assert_array_equal(found[name], rows[2, -1, arm])
    none = change(np.ones((1, 2, 2, 3)), used=np.zeros((1, 2), bool))
    assert list(study.example(circuits, none, (0.5, 1.0))) == ["unchanged"]


def test_what_is_gained_is_that_of_circuits_that_were_changed():
    always = np.zeros((1, 30, 2, 3), bool)
    always[..., study.COMPENSATED] = True
    assert study.gain(change(always), study.OPPOSED) == (1.0, 1.0, 1.0, 1, 0, 0)
    by_chance = RNG.random((1, 400, 2, 3)) < 0.5
    share, low, high, *_ = study.gain(change(by_chance), study.ALONE)
    assert low < 0 < high and abs(share) < 0.1
    used = np.arange(30)[None] < 10
    always[:, 10:] = False
    assert study.gain(change(always, used), study.OPPOSED).share == 1.0
    nothing = study.gain(change(always, np.zeros_like(used)), study.ALONE)
    assert np.isnan(nothing.share) and nothing[3:] == (0, 0, 0)


def test_gains_are_over_the_arm_that_is_named_and_pairs_are_counted():
    """Alone keeps the rhythm always, opposed never; compensated in all, half and no circuits."""
    kept = np.zeros((4, 10, 1, 3), bool)
    kept[..., study.ALONE] = True
    kept[0, ..., study.COMPENSATED] = True
    kept[1, :5, :, study.COMPENSATED] = True
    used = np.array([True, True, True, False])[:, None] & np.ones((4, 10), bool)
    over_alone = study.gain(change(kept, used), study.ALONE)
    over_opposed = study.gain(change(kept, used), study.OPPOSED)
    assert over_alone.share == pytest.approx(-0.5) and over_alone[3:] == (0, 1, 2)
    assert over_opposed.share == pytest.approx(0.5) and over_opposed[3:] == (2, 1, 0)
    alone, opposed = compensation.judge(over_alone, over_opposed)[::-1]
    assert opposed.met and not alone.met and "alone" in alone.what and alone.asked == "> 0"


def test_no_gain_at_all_is_a_miss():
    same = study.gain(change(np.ones((1, 30, 2, 3))), study.ALONE)
    assert same.share == 0 and not any(target.met for target in compensation.judge(same, same))


def test_every_arm_is_told():
    told = " ".join(compensation_report._of_changes(outcome_of(RNG.random((2, 50, 3, 3)) < 0.7)))
    for word in ("Unchanged", "alone", "compensated", "opposed", "of 2 pairs"):
        assert word in told


def outcome_of(pyloric):
    found = change(pyloric)
    over = study.gain(found, study.ALONE), study.gain(found, study.OPPOSED)
    return compensation.Outcome(None, None, None, None, found, *over, (), None, None, ())


def test_flags_are_those_of_one_arm_one_step_and_one_pair():
    pyloric = RNG.random((2, 7, 3, 3)) < 0.5
    used = RNG.random((2, 7)) < 0.7
    unchanged = RNG.random((2, 7)) < 0.5
    found = change(pyloric, used, unchanged)
    expected = [pyloric[p, c, 1, 2] for p in range(2) for c in range(7) if used[p, c]]
    assert found.flags(2, step=1).tolist() == expected
    of_pair = [pyloric[1, c, s, 0] for c in range(7) if used[1, c] for s in range(3)]
    assert found.flags(0, pair=1).tolist() == of_pair
    assert found.still().tolist() == unchanged[used].tolist()
    assert found.still(1).tolist() == unchanged[1][used[1]].tolist()
