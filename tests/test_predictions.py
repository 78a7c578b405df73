"""Whether later rounds are kept: only if they come nearer to the observation."""

import numpy as np
import pytest

from experiments.predictions import judge

UNITS = np.array([1.0, 100.0])
X_O = np.array([1.0, -100.0])
N = 4000


@pytest.mark.parametrize(
    ("mean", "sd", "kept"), [([1.0, -1.0], 0.1, True), ([1.0, 0.5], 0.1, False)]
)
def test_what_leads_away_is_not_kept_however_narrow(mean, sd, kept):
    """Before: N(x_o, ½²) in units of the prior's sds, whose distance is √(χ²_2/2)/2, in the median
    √(ln 2)/2."""
    rng = np.random.default_rng(0)
    prior, before, after = (
        UNITS * (np.asarray(centre) + spread * rng.normal(size=(N, 2)))
        for centre, spread in (([0.0, 0.0], 1.0), ([1.0, -1.0], 0.5), (mean, sd))
    )
    found = judge(X_O, prior, before, after)
    np.testing.assert_allclose(found.before, np.sqrt(np.log(2)) / 2, rtol=0.1)
    assert found.kept == kept


def test_runs_without_a_feature_are_far_away():
    rng = np.random.default_rng(1)
    prior, x = rng.normal(size=(N, 2)), rng.normal(size=(N, 2))
    failed = np.where(np.arange(N)[:, None] % 5 < 3, np.nan, x)  # three in five
    assert np.isinf(judge(np.zeros(2), prior, x, failed).after)
    assert judge(np.zeros(2), prior, failed, x).kept


def test_narrow_draws_that_leave_the_observation_out_are_not_kept():
    """Nearer in the median, for their width, but around another point."""
    rng = np.random.default_rng(2)
    prior, before = rng.normal(size=(N, 2)), 0.5 * rng.normal(size=(N, 2))
    after = np.array([0.0, 0.2]) + 0.05 * rng.normal(size=(N, 2))
    found = judge(np.zeros(2), prior, before, after)
    assert found.after < found.before and found.lost == (1,) and not found.kept
