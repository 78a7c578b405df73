"""When a posterior is drawn over its own range too, and how far that reaches."""

import jax.numpy as jnp
import numpy as np

import jaxsbi
from experiments import closeup

PRIOR = jaxsbi.box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
rng = np.random.default_rng(0)


def draws(narrow):
    return np.stack([0.3 + narrow * rng.uniform(size=4000), *rng.uniform(size=(2, 4000))], axis=1)


def test_one_narrow_parameter_is_enough_though_outliers_span_the_range():
    few = draws(0.05)
    few[::250, 0] = np.linspace(0, 1, 16)  # 0.4 %
    mode = np.array([0.32, 0.5, 0.5])
    found = closeup.limits(few, PRIOR, None, mode)
    assert 0.29 < found[0, 0] < 0.3 and 0.35 < found[0, 1] < 0.36
    assert np.all(found[1:, 0] < 0.01) and np.all(found[1:, 1] > 0.99)
    assert closeup.limits(draws(0.2), PRIOR, None, mode) is None


def test_marks_beside_the_draws_are_seen():
    truth, mode = np.array([0.1, 0.5, 0.5]), np.array([0.6, 0.5, 0.5])
    np.testing.assert_allclose(closeup.limits(draws(0.05), PRIOR, truth, mode)[0], [0.1, 0.6])


def test_a_prior_without_bounds_needs_no_second_figure():
    prior = jaxsbi.gaussian(jnp.zeros(3), sd=jnp.ones(3))
    figures = closeup.pairs(draws(0.05), prior, None, np.full(3, 0.5))
    assert set(figures) == {"posterior"}
