"""Whether later rounds are kept: only if they made better predictions of the observation."""

import numpy as np
import pytest

from experiments.predictions import judge

UNITS = np.array([1.0, 100.0])
X_O = np.array([1.0, -100.0])
N = 2000


def predicted(mean, sd, seed):
    return UNITS * (np.asarray(mean) + sd * np.random.default_rng(seed).normal(size=(N, 2)))


PRIOR = predicted([0.0, 0.0], 1.0, 0)


def test_the_energy_score_of_a_gaussian_around_the_observation():
    """X ~ N(x_o, σ² I) in two dimensions: E|X − x_o| = σ √(π/2), E|X − X'| = σ √π."""
    found = judge(X_O, PRIOR, predicted([1.0, -1.0], 0.5, 1), predicted([1.0, -1.0], 0.1, 2))
    expected = np.array([0.5, 0.1]) * (np.sqrt(np.pi / 2) - np.sqrt(np.pi) / 2) / np.sqrt(2)
    np.testing.assert_allclose(found, expected, rtol=0.05)


@pytest.mark.parametrize(("away", "kept"), [(0.1, True), (0.25, False), (1.5, False)])
def test_narrow_predictions_are_kept_only_if_they_are_near(away, kept):
    """Of sd 0.01 the score is the distance, that of sd ½ around the observation is 0.184."""
    narrow = predicted([1.0, -1.0 + away], 0.01, 3)
    assert judge(X_O, PRIOR, predicted([1.0, -1.0], 0.5, 4), narrow).kept == kept


def test_runs_without_a_feature_are_far_away():
    x = predicted([1.0, -1.0], 0.1, 5)
    failed = np.where(np.arange(N)[:, None] % 5 < 3, np.nan, x)  # three in five
    assert not judge(X_O, PRIOR, x, failed).kept
    assert judge(X_O, PRIOR, failed, x).kept
