"""Networks: the standardisation's law, the MADE's triangular Jacobian, embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import PyTree
from scipy.stats import norm

from jaxsbi.dataset import SCORES, Moments, moments
from jaxsbi.networks import MADE, MLP, Constant, NormalScores, Standardise


def location_scale(location: PyTree, scale: PyTree) -> Moments:
    """Moments of features that are normal about `location` with sd `scale`."""
    quantiles = jax.tree.map(
        lambda m, s: m + s * SCORES.reshape(-1, *[1] * m.ndim), location, scale
    )
    return Moments(location, scale, quantiles)


MOMENTS = location_scale(jnp.array([1.0, -2.0, 0.0]), jnp.array([2.0, 0.5, 1.0]))


def perturbed(module: nnx.Module, key: jax.Array, scale: float) -> nnx.Module:
    """The module with normal noise of sd `scale` added to every trained weight."""
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    leaves = [w + scale * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    return nnx.merge(graphdef, jax.tree.unflatten(treedef, leaves), rest)


def test_standardise_is_affine_within_five_scales() -> None:
    u = jnp.linspace(-5, 5, 41)[:, None] * jnp.ones(3)
    values, defined = jax.vmap(Standardise(MOMENTS))(MOMENTS.location + u * MOMENTS.scale)
    np.testing.assert_allclose(values, u, atol=1e-6)
    assert jnp.all(defined == 1)


def test_standardise_grows_like_a_logarithm_up_to_ten_where_infinity_lands() -> None:
    standardise = Standardise(location_scale(jnp.zeros(6), jnp.ones(6)))
    values, _ = standardise(jnp.array([6.0, -20.0, 1e3, 1e38, jnp.inf, -jnp.inf]))
    expected = [5 + np.log(2), -5 - np.log(16), 10, 10, 10, -10]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_standardise_is_monotone() -> None:
    x = jnp.linspace(-300, 300, 10_001)
    values, _ = jax.vmap(Standardise(location_scale(jnp.zeros(()), jnp.ones(()))))(x)
    assert jnp.all(jnp.diff(values) >= 0)
    assert jnp.all(jnp.diff(values)[jnp.abs(x[1:]) < 150] > 0)


def test_standardise_marks_undefined_entries_and_keeps_gradients_finite() -> None:
    standardise = Standardise(MOMENTS)
    x = jnp.array([jnp.nan, jnp.inf, 3.0])
    values, defined = standardise(x)
    np.testing.assert_array_equal(defined, [0, 1, 1])
    np.testing.assert_allclose(values, [0, 10, 3])
    slopes = jax.jacobian(lambda x: standardise(x)[0])(x)
    np.testing.assert_allclose(jnp.diag(slopes), [0, 0, 1], atol=1e-6)


def test_standardise_keeps_the_tree_of_x() -> None:
    moments = location_scale(
        {"sta": jnp.zeros((2, 3)), "count": jnp.array(4.0)},
        {"sta": jnp.ones((2, 3)), "count": jnp.array(2.0)},
    )
    values, defined = Standardise(moments)({"sta": jnp.full((2, 3), jnp.nan), "count": 8})
    assert values["sta"].shape == defined["sta"].shape == (2, 3)
    assert values["count"] == 2 and defined["count"] == 1 and jnp.all(defined["sta"] == 0)


def test_standardise_is_not_trained() -> None:
    standardise = Standardise(MOMENTS)
    assert not jax.tree.leaves(nnx.state(standardise, nnx.Param))
    assert len(jax.tree.leaves(nnx.state(standardise, Constant))) == 2


def test_normal_scores_make_a_skewed_feature_normal() -> None:
    x = jnp.exp(3 * jax.random.normal(jax.random.key(0), (20_000, 2)))
    scores = jax.vmap(NormalScores(moments(x, jnp.ones(len(x), bool))))
    expected = norm.ppf((np.argsort(np.argsort(x[:, 0])) + 0.5) / len(x))
    central = np.abs(expected) < 2.5
    np.testing.assert_allclose(np.asarray(scores(x))[central, 0], expected[central], atol=0.04)
    odd = scores(jnp.array([[jnp.nan, jnp.inf], [-jnp.inf, 1.0]]))
    np.testing.assert_allclose(odd, [[0, SCORES[-1]], [SCORES[0], 0]], atol=0.03)


def test_normal_scores_of_ties_are_their_mean_score() -> None:
    x = jnp.where(jnp.arange(1000) < 600, 0.0, jnp.linspace(1, 2, 1000))[:, None]
    score = NormalScores(moments(x, jnp.ones(1000, bool)))(jnp.zeros(1))
    np.testing.assert_allclose(score[0], SCORES[norm.cdf(SCORES) < 0.6].mean(), atol=0.05)


@pytest.mark.parametrize(
    ("d", "hidden"),
    [
        pytest.param(1, (5,), marks=pytest.mark.slow),
        pytest.param(2, (20, 3), marks=pytest.mark.slow),
        (7, (9, 4, 20)),
    ],
)
def test_made_parameters_depend_on_earlier_coordinates_alone(
    d: int, hidden: tuple[int, ...]
) -> None:
    key = jax.random.key(d)
    order = tuple(np.random.default_rng(d).permutation(d).tolist())
    made = perturbed(MADE(key, (order,), 3, hidden, (2, 3)), key, 0.5)
    context, z = jax.random.normal(key, (3,)), jax.random.normal(key, (d,))

    for jacobian in jax.jit(jax.jacobian(lambda z: made.given(context)[0](z)))(z):  # (s, d, d)
        in_order = jacobian[:, np.array(order)][:, :, np.array(order)]
        assert jnp.all(jnp.triu(in_order) == 0)


@pytest.mark.parametrize("d", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_made_sees_all_earlier_coordinates_and_the_context_everywhere(d: int) -> None:
    key = jax.random.key(d)
    made = perturbed(MADE(key, (tuple(range(d)),), 3, (40, 40), (2,)), key, 0.3)
    context, z = jax.random.normal(key, (3,)), jax.random.normal(key, (d,))
    by_z = jax.jacobian(made.given(context)[0])(z)[0]
    assert jnp.all(by_z[:, *np.tril_indices(d, -1)] != 0)
    by_context = jax.jacobian(lambda c: made.given(c)[0](z))(context)[0]
    assert jnp.all(by_context != 0)


@pytest.mark.parametrize("d", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_made_one_by_one_agrees_with_the_whole(d: int) -> None:
    key = jax.random.key(d)
    order = tuple(np.random.default_rng(d).permutation(d).tolist())
    made = perturbed(MADE(key, (order,), 2, (30, 20), (2, 4)), key, 0.3)
    conditioner, z = made.given(jnp.array([0.3, -1.0]))[0], jax.random.normal(key, (d,))
    whole, state = conditioner(z), conditioner.start
    for i in order:
        for section, row in zip(whole, conditioner.row(state, jnp.array(i)), strict=True):
            np.testing.assert_allclose(row, section[:, i], rtol=2e-5, atol=2e-5)
        state = conditioner.extend(state, jnp.array(i), z[i])


def test_made_starts_at_zero_outputs() -> None:
    made = MADE(jax.random.key(0), ((0, 1),), 3, (10,), (2, 5))
    for output in made.given(jnp.ones(3))[0](jnp.array([1.0, -2.0])):
        assert jnp.all(output == 0)


def test_mlp_with_one_linear_layer_is_linear() -> None:
    net = MLP(jax.random.key(0), 3, (), 2)
    a, b = jnp.array([1.0, 2.0, 3.0]), jnp.array([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(net(a) + net(b), net(a + b) + net(jnp.zeros(3)), atol=1e-6)
