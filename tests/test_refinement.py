"""Whether later rounds are kept: only if they come nearer to the observation."""

import numpy as np
import pytest

from experiments.refinement import judge

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
