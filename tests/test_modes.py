"""What is said of a mode: at which bounds it lies, and where few draws are beside it."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi
from experiments import modes

PRIOR = jaxsbi.box([0.0, -100.0], [3000.0, -35.0], names=["tau", "E"])
rng = np.random.default_rng(0)
DRAWS = np.stack([3000 - rng.exponential(300, 4000), rng.normal(-67, 5, 4000)], axis=1)


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ([2996.0, -67.0], ("tau",)),
        ([2960.0, -35.0], ("E",)),
        ([0.0, -99.9], ("tau", "E")),
        ([2980.0, -36.0], ()),
    ],
)
def test_a_mode_within_half_a_percent_of_a_bound_is_at_it(mode, found):
    assert modes.at_bound(np.array(mode), PRIOR) == found


def test_a_prior_without_bounds_has_none_to_be_at():
    prior = jaxsbi.gaussian(jnp.zeros(2), sd=jnp.ones(2))
    assert modes.at_bound(np.array([0.0, 1e9]), prior) == ()


def test_a_mode_that_few_draws_lie_beside_is_told_of_and_one_at_the_bound_they_pile_up_at_is_not():
    assert modes.sentences(np.array([2999.0, -66.0]), DRAWS, PRIOR.names, ()) == []
    (at_bound,) = modes.sentences(np.array([3000.0, -70.0]), DRAWS, PRIOR.names, ("tau",))
    assert "at a bound of the prior in tau" in at_bound
    _, few = modes.sentences(np.array([2900.0, -35.0]), DRAWS, PRIOR.names, ("E",))
    assert "few posterior draws are near it in E (0 %)" in few and "tau" not in few
    np.testing.assert_allclose(
        modes.beside(np.array([3000.0, -67.0]), DRAWS), [0.307, 0.305], atol=0.02
    )
