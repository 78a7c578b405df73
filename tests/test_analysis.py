"""Analyses against closed forms: of a Gaussian, and of a ridge that curves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constructed import untrained
from jax.scipy.stats import multivariate_normal

import jaxsbi
from jaxsbi import analysis
from jaxsbi.analysis.correlations import _slices

KEY = jax.random.key(0)


@jax.tree_util.register_pytree_node_class
class Gaussian:
    """N(mean, precision⁻¹) in the prior's support: all that an analysis may ask of a posterior."""

    def __init__(self, prior, mean, precision):
        self.prior, self.mean, self.precision = prior, mean, precision

    def log_prob(self, theta, x=None):
        at = multivariate_normal.logpdf(theta, self.mean, jnp.linalg.inv(self.precision))
        return jnp.where(self.prior.in_support(theta), at, -jnp.inf)

    def sample(self, key, n, x=None):
        covariance = jnp.linalg.inv(self.precision)
        return jax.random.multivariate_normal(key, self.mean, covariance, (n,))

    def tree_flatten(self):
        return (self.prior, self.mean, self.precision), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


PRIOR = jaxsbi.box([-3.0] * 4, [3.0] * 4, names=["a", "b", "c", "d"], units=["mV", "", "ms", ""])
PRECISION = np.array(
    [[20.0, 8.0, 0.0, -4.0], [8.0, 16.0, 3.0, 0.0], [0.0, 3.0, 12.0, 6.0], [-4.0, 0.0, 6.0, 25.0]]
)
MEAN = np.array([0.3, -0.2, 0.1, 0.0])
GAUSSIAN = Gaussian(PRIOR, jnp.asarray(MEAN), jnp.asarray(PRECISION))


class Banana:
    """θ₁ ~ N(0, 1), θ₂ | θ₁ ~ N(θ₁², 0.1²): a ridge along a parabola."""

    prior = jaxsbi.box([-3.0, -1.0], [3.0, 9.0])

    def log_prob(self, theta, x=None):
        apart = (theta[..., 1] - theta[..., 0] ** 2) / 0.1
        inside = self.prior.in_support(theta)
        return jnp.where(inside, -0.5 * (theta[..., 0] ** 2 + apart**2), -jnp.inf)

    def sample(self, key, n, x=None):
        first, apart = jax.random.normal(key, (2, n)).clip(-2.9, 2.9)
        return jnp.stack([first, first**2 + 0.1 * apart], axis=1)


BANANA = Banana()


def test_conditional_correlations_of_a_gaussian_are_minus_its_normalised_precision():
    found = analysis.conditional_correlations(KEY, GAUSSIAN, samples=20, limits=(-2.0, 2.0))
    spread = np.sqrt(np.diagonal(PRECISION))
    exact = -PRECISION / np.outer(spread, spread)
    np.fill_diagonal(exact, 1.0)
    np.testing.assert_allclose(found.matrix, exact, atol=1e-3)
    assert found.coarse == 0 and found.names == ("a", "b", "c", "d")


def test_a_grid_too_coarse_for_the_density_is_told():
    narrow = Gaussian(PRIOR, jnp.asarray(MEAN), 100 * jnp.asarray(PRECISION))
    found = analysis.conditional_correlations(KEY, narrow, samples=2, points=20)
    assert found.coarse > 0.5


def test_marginal_correlations_of_a_gaussian_are_those_of_its_covariance():
    found = analysis.marginal_correlations(KEY, GAUSSIAN, samples=20_000)
    covariance = np.linalg.inv(PRECISION)
    spread = np.sqrt(np.diagonal(covariance))
    exact = covariance / np.outer(spread, spread)
    assert np.max(np.abs(found.matrix - exact) / np.maximum(found.error, 1e-6)) < 4.5


def conditional_moments(fixed, values):
    """Mean and covariance of the other parameters of the Gaussian."""
    free = [i for i in range(4) if i not in fixed]
    of_free = PRECISION[np.ix_(free, free)]
    shift = PRECISION[np.ix_(free, fixed)] @ (np.asarray(values) - MEAN[fixed])
    covariance = np.linalg.inv(of_free)
    return MEAN[free] - covariance @ shift, covariance


def test_a_conditional_density_has_the_gaussians_moments_and_integrates_to_one():
    given = analysis.condition(GAUSSIAN, {"b": 0.1, "d": -0.2})
    slice_ = given.grid(120)
    mean, covariance = conditional_moments([1, 3], [0.1, -0.2])
    assert (slice_.names, slice_.units) == (("a", "c"), ("mV", "ms"))
    np.testing.assert_allclose(slice_.density.sum() * slice_.cell, 1.0, rtol=1e-5)
    np.testing.assert_allclose(slice_.mean, mean, atol=1e-3)
    np.testing.assert_allclose(slice_.covariance, covariance, atol=1e-3)
    draws = np.asarray(given.sample(KEY, 20_000))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.01)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.003)


def test_one_free_parameter_of_a_whole_point():
    theta = jnp.array([0.2, 0.1, 0.4, -0.2])
    given = analysis.condition(GAUSSIAN, theta, free="c")
    mean, covariance = conditional_moments([0, 1, 3], [0.2, 0.1, -0.2])
    draws = np.asarray(given.sample(KEY, 20_000))[:, 0]
    np.testing.assert_allclose([draws.mean(), draws.var()], [mean[0], covariance[0, 0]], atol=0.01)


def test_chains_draw_from_a_conditional_of_three_parameters():
    given = analysis.condition(GAUSSIAN, {"b": 0.6})
    draws = np.asarray(given.sample(KEY, 4000))
    mean, covariance = conditional_moments([1], [0.6])
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.01)


@pytest.fixture(scope="module")
def ridge():
    return analysis.path(BANANA, jnp.array([-1.5, 2.25]), jnp.array([1.5, 2.25]))


def test_the_path_of_high_probability_follows_the_ridge(ridge):
    straight = np.linspace([-1.5, 2.25], [1.5, 2.25], 80)
    off = np.abs(ridge.theta[:, 1] - ridge.theta[:, 0] ** 2)
    assert off.max() < 0.1  # one standard deviation; the straight line is 22 away
    assert ridge.log_prob.min() > -2.0 > np.asarray(BANANA.log_prob(straight)).min()
    np.testing.assert_allclose(ridge.theta[[0, -1]], [[-1.5, 2.25], [1.5, 2.25]], atol=1e-5)


def test_the_orthogonal_path_is_orthogonal_and_descends(ridge):
    down = analysis.orthogonal_path(BANANA, ridge, at=23, step=0.002)
    away = down.u - ridge.u[23]
    assert np.abs(away @ ridge.tangent(23)).max() < 1e-5
    assert np.all(np.diff(down.log_prob) < 0)
    np.testing.assert_allclose(np.linalg.norm(np.diff(down.u, axis=0), axis=1), 0.002, rtol=1e-3)
    np.testing.assert_allclose(down.length, ridge.length / 27, atol=0.002)


def test_a_descent_keeps_inside_the_prior(ridge):
    start = np.array([2.99, 8.9])
    u = (start - [0.0, 4.0]) / (np.array([6.0, 10.0]) / np.sqrt(12))
    along = analysis.Path(("a", "b"), start[None], np.stack([u, u + [0.1, 0.5]]), np.zeros(1))
    down = analysis.orthogonal_path(BANANA, along, at=0, step=0.05, share=3.0)
    assert np.isfinite(down.log_prob).all()


def test_the_active_subspace_of_a_gaussian_is_its_precisions():
    found = analysis.active_subspace(KEY, GAUSSIAN, samples=4000)
    scale = 6 / np.sqrt(12)
    values, directions = np.linalg.eigh(PRECISION * scale**2)
    np.testing.assert_allclose(found.values, values[::-1], rtol=0.1)
    overlap = np.abs(np.sum(found.directions * directions[:, ::-1], axis=0))
    assert overlap[0] > 0.99 and overlap[-1] > 0.99
    np.testing.assert_allclose(found.shares.sum(), 1.0)


def test_the_active_subspace_of_a_feature_is_its_gradient():
    direction = np.array([0.0, 3.0, 4.0, 0.0])
    found = analysis.active_subspace(KEY, GAUSSIAN, lambda t: jnp.tanh(t @ direction / 9))
    np.testing.assert_allclose(np.abs(found.directions[:, 0]), direction / 5, atol=1e-4)
    assert found.shares[0] > 0.9999
    assert found.importance[2] > found.importance[1] > 100 * found.importance[0]


def test_a_regression_stands_in_for_a_feature_without_slopes():
    theta = PRIOR.sample(KEY, 400)
    values = np.floor(5 * np.sin(np.asarray(theta) @ [0.0, 0.6, 0.8, 0.0])).astype(float)
    values[::50] = np.nan
    feature = analysis.regression(theta, values)
    assert feature.r_squared > 0.9
    found = analysis.active_subspace(KEY, GAUSSIAN, feature)
    assert abs(found.directions[:, 0] @ [0.0, 0.6, 0.8, 0.0]) > 0.98


def test_a_derived_quantity_has_the_law_of_its_parameters():
    found = analysis.derived(KEY, GAUSSIAN, lambda t: t[0] - t[1], samples=20_000)
    covariance = np.linalg.inv(PRECISION)
    sd = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    np.testing.assert_allclose(found.mean, 0.5, atol=0.02)
    np.testing.assert_allclose(found.interval(0.95), 0.5 + 1.96 * sd * np.array([-1, 1]), atol=0.03)
    assert abs(found.probability(lambda v: v > 0.5) - 0.5) < 0.02


def test_flows_can_be_analysed_and_two_of_a_kind_share_a_program():
    prior = jaxsbi.box([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0])
    flow = jaxsbi.maf(layers=2, hidden=(8,))
    posterior, other = (untrained(flow, prior, jnp.zeros(3), seed) for seed in (1, 2))
    given = analysis.condition(posterior, {"theta_0": 0.1, "theta_2": 0.2})
    at = jnp.array([[-0.5], [0.5]])
    whole = jnp.array([[0.1, -0.5, 0.2], [0.1, 0.5, 0.2]])
    np.testing.assert_allclose(given.log_prob(at), posterior.log_prob(whole), rtol=1e-4)
    analysis.conditional_correlations(KEY, posterior, samples=3, points=10)
    programs = _slices._cache_size()
    found = analysis.conditional_correlations(KEY, other, samples=3, points=10)
    assert _slices._cache_size() == programs
    assert np.all(np.abs(found.matrix) <= 1 + 1e-6)
    analysis.active_subspace(KEY, posterior, samples=10)


def test_an_ensemble_is_analysed_as_the_mean_of_its_members():
    prior = jaxsbi.box([-1.0, -1.0], [1.0, 1.0])
    members = jaxsbi.ensemble(jaxsbi.mdn(components=1, hidden=(4,)), 2)
    posterior = untrained(members, prior, jnp.zeros(2))
    given = analysis.condition(posterior, {"theta_0": 0.1})
    at = jnp.linspace(-0.9, 0.9, 5)
    whole = jnp.stack([jnp.full(5, 0.1), at], axis=1)
    np.testing.assert_allclose(given.log_prob(at[:, None]), posterior.log_prob(whole), rtol=1e-4)
    found = analysis.conditional_correlations(KEY, posterior, samples=3, points=10)
    assert np.all(np.abs(found.matrix) <= 1 + 1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.condition(GAUSSIAN, {"e": 0.1}), "fixed must name"),
        (lambda: analysis.condition(GAUSSIAN, {"a": 9.0}), "fixed must be one θ"),
        (lambda: analysis.condition(GAUSSIAN, jnp.zeros(4)), "free must name"),
        (lambda: analysis.condition(GAUSSIAN, {"a": 0.0}, free="b"), "free is for a whole"),
        (lambda: analysis.condition(3, {"a": 0.0}), "posterior must have prior"),
        (
            lambda: analysis.condition(GAUSSIAN, dict.fromkeys("abcd", 0.0)),
            "fixed must leave a parameter free",
        ),
        (lambda: analysis.condition(GAUSSIAN, {"a": 0.0}).grid(), "grid is for one or two"),
        (
            lambda: analysis.conditional_correlations(KEY, GAUSSIAN, limits=(1.0, 0.0)),
            "limits must be",
        ),
        (lambda: analysis.conditional_correlations(0, GAUSSIAN), "key must be a typed key"),
        (
            lambda: analysis.conditional_correlations(KEY, GAUSSIAN, pairs=[[0, 4]]),
            "pairs must be",
        ),
        (lambda: analysis.path(BANANA, jnp.zeros(2), jnp.zeros(2)), "end must differ"),
        (lambda: analysis.path(BANANA, jnp.zeros(2), 9 * jnp.ones(2)), "end must be one θ"),
        (lambda: analysis.orthogonal_path(BANANA, 3), "along must be a path"),
        (lambda: analysis.active_subspace(KEY, BANANA, 3), "feature must be a function"),
        (lambda: analysis.active_subspace(KEY, BANANA, lambda t: t), "feature must map one"),
        (lambda: analysis.regression(jnp.zeros((30, 2)), np.zeros(20)), "values must be"),
        (lambda: analysis.derived(KEY, BANANA, 3), "quantity must be a function"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
