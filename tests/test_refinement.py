"""Whether later rounds are kept: only if they come nearer to the observation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi
from experiments.refinement import judge

PRIOR = jaxsbi.gaussian(jnp.zeros(2), sd=jnp.array([1.0, 100.0]))
X_O = jnp.array([1.0, -100.0])


class Around:
    """Draws N(mean, sd²) in units of the prior's sds."""

    prior = PRIOR

    def __init__(self, mean, sd):
        self.mean, self.sd = mean, sd

    def sample(self, key, n):
        units = jnp.array([1.0, 100.0])
        return units * (jnp.asarray(self.mean) + self.sd * jax.random.normal(key, (n, 2)))


@pytest.mark.parametrize(
    ("mean", "sd", "kept"), [([1.0, -1.0], 0.1, True), ([1.0, 0.5], 0.1, False)]
)
def test_what_leads_away_is_not_kept_however_narrow(mean, sd, kept):
    """Before: N(x_o, ½²), whose distance is √(χ²_2/2)/2, in the median √(ln 2)/2."""
    before, after = Around([1.0, -1.0], 0.5), Around(mean, sd)
    found = judge(jax.random.key(0), lambda key, theta: theta, X_O, before, after, 4000)
    np.testing.assert_allclose(found.before, np.sqrt(np.log(2)) / 2, rtol=0.1)
    assert found.kept == kept
