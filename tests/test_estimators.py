"""Estimators: densities that start at the prior, integrate to one, and are what they sample."""

from __future__ import annotations

import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxsbi
from jaxsbi.dataset import Moments, moments
from jaxsbi.embeddings import deepset, mlp
from jaxsbi.ensembles import ensemble
from jaxsbi.estimators import flow_matching, from_spec, maf, mdn, nsf
from jaxsbi.flows import orders
from jaxsbi.types import Estimator

ESTIMATORS = {
    "mdn": mdn(components=3, hidden=(20,)),
    "maf": maf(layers=3, hidden=(20, 20)),
    "nsf": nsf(layers=2, hidden=(20, 20), bins=6),
    "ensemble": ensemble(maf(layers=2, hidden=(10,)), members=3),
}
each_flow = pytest.mark.parametrize("name", ["maf", "nsf"])
in_each_dimension = pytest.mark.parametrize(
    "d", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (1, 8))]
)


def mostly_slow(*fast: str) -> pytest.MarkDecorator:
    """All estimators, of which the default run takes some."""
    cases = [
        pytest.param(estimator, id=name, marks=() if name in fast else pytest.mark.slow)
        for name, estimator in ESTIMATORS.items()
    ]
    return pytest.mark.parametrize("estimator", cases)


X = jnp.array([0.7, -1.2, 3.0])


def moments_of_x() -> Moments:
    return moments(jax.random.normal(jax.random.key(9), (200, 3)), jnp.ones(200, bool))


def perturbed(estimator: Estimator, d: int, scale: float = 0.15, seed: int = 0) -> nnx.Module:
    """A density far from its start: normal noise of sd `scale` on every trained weight."""
    key = jax.random.key(seed)
    density = nnx.jit(lambda scale: estimator.init(key, d, scale))(moments_of_x())
    graphdef, params, rest = nnx.split(density, nnx.Param, ...)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    leaves = [w + scale * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    return nnx.merge(graphdef, jax.tree.unflatten(treedef, leaves), rest)


def log_probs(density: nnx.Module, z: jax.Array, x: jax.Array = X) -> jax.Array:
    return jax.jit(jax.vmap(density.log_prob, (0, None)))(z, x)


def samples(density: nnx.Module, n: int, x: jax.Array = X) -> jax.Array:
    keys = jax.random.split(jax.random.key(42), n)
    return jax.jit(jax.vmap(density.sample, (0, None)))(keys, x)


@each_flow
@in_each_dimension
def test_flows_start_at_the_prior_for_every_x(name: str, d: int) -> None:
    density = ESTIMATORS[name].init(jax.random.key(0), d, moments_of_x())
    z = 3 * jax.random.normal(jax.random.key(1), (50, d))
    x = 5 * jax.random.normal(jax.random.key(2), (50, 3))
    expected = stats.norm.logpdf(z).sum(axis=1)
    found = jax.jit(jax.vmap(density.log_prob))(z, x)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_mixtures_start_near_the_prior() -> None:
    density = mdn().init(jax.random.key(0), 4, moments_of_x())
    z = jax.random.normal(jax.random.key(1), (20_000, 4))
    expected = jnp.asarray(stats.norm.logpdf(z).sum(axis=1))
    divergence = jnp.mean(expected - log_probs(density, z))
    assert abs(divergence) < 0.01
    single = mdn(components=1).init(jax.random.key(0), 4, moments_of_x())
    np.testing.assert_allclose(log_probs(single, z), expected, rtol=1e-5, atol=1e-5)


@mostly_slow("mdn", "nsf")
def test_density_of_one_parameter_integrates_to_one_and_is_sampled(estimator: Estimator) -> None:
    density = perturbed(estimator, 1, scale=0.1)
    grid = jnp.linspace(-40, 40, 80_001)
    p = np.exp(np.asarray(log_probs(density, grid[:, None]), np.float64))
    cdf = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2 * np.diff(grid))])
    assert abs(cdf[-1] - 1) < 1e-3
    drawn = np.asarray(samples(density, 5000))[:, 0]
    assert stats.kstest(np.interp(drawn, grid, cdf), "uniform").pvalue > 0.01


@mostly_slow("mdn", "maf", "ensemble")
def test_density_of_two_parameters_integrates_to_one_and_is_sampled(estimator: Estimator) -> None:
    density = perturbed(estimator, 2, scale=0.1)
    axis = np.linspace(-15, 15, 1201)
    grid = jnp.asarray(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2))
    p = np.exp(np.asarray(log_probs(density, grid), np.float64)) * (axis[1] - axis[0]) ** 2
    assert abs(p.sum() - 1) < 2e-3

    drawn = np.asarray(samples(density, 20_000), np.float64)
    points = np.asarray(grid, np.float64)
    for statistic in (
        lambda z: z,
        lambda z: np.tanh(z) ** 2,
        lambda z: np.cos(z[:, :1] * z[:, 1:]),
    ):
        values = statistic(drawn)
        expected = (p[:, None] * statistic(points)).sum(axis=0)
        error = values.std(axis=0) / np.sqrt(len(drawn))
        assert np.all(np.abs(values.mean(axis=0) - expected) < 4.5 * error + 2e-3)


@each_flow
@in_each_dimension
def test_flow_inverts_and_its_log_det_is_autodiffs(name: str, d: int) -> None:
    with jax.enable_x64(True):
        density = perturbed(ESTIMATORS[name], d)

        @jax.jit
        def evaluate(z: jax.Array) -> tuple[jax.Array, ...]:
            bijector = density.distribution(X).bijector
            u, log_det = bijector.inverse_and_log_det(z)
            back, inverse_log_det = bijector.forward_and_log_det(u)
            by_autodiff = jnp.linalg.slogdet(jax.jacobian(bijector.inverse)(z))[1]
            return back, log_det, inverse_log_det, by_autodiff

        for z in 2 * jax.random.normal(jax.random.key(d), (10, d)):
            back, log_det, inverse_log_det, by_autodiff = evaluate(z)
            assert log_det.dtype == jnp.float64
            np.testing.assert_allclose(back, z, atol=1e-6)
            np.testing.assert_allclose(log_det, by_autodiff, atol=1e-8)
            np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-6)


def test_mixture_is_that_of_its_components() -> None:
    density = perturbed(ESTIMATORS["mdn"], 3, scale=0.3)
    logits, means, factors = (np.asarray(a, np.float64) for a in density.components(X))
    assert np.all(factors == np.tril(factors)) and np.all(np.diagonal(factors, 0, 1, 2) > 0)
    weights = np.exp(logits) / np.exp(logits).sum()
    covariances = np.linalg.inv(factors @ factors.transpose(0, 2, 1))
    z = np.random.default_rng(0).normal(size=(20, 3))
    oracle = sum(
        w * stats.multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(weights, means, covariances, strict=True)
    )
    np.testing.assert_allclose(log_probs(density, jnp.asarray(z)), np.log(oracle), rtol=1e-4)

    drawn = np.asarray(samples(density, 50_000))
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances + means[:, :, None] * means[:, None, :])
    covariance = second - np.outer(mean, mean)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / sd, 0, atol=0.025)
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.04
    )


@mostly_slow("mdn", "nsf")
def test_undefined_and_infinite_features_give_finite_densities_and_gradients(
    estimator: Estimator,
) -> None:
    density = perturbed(estimator, 2)
    graphdef, params, rest = nnx.split(density, nnx.Param, ...)
    z = jnp.array([0.3, -4.0])
    location = moments_of_x().location

    @jax.jit
    def evaluate(x: jax.Array) -> tuple[jax.Array, ...]:
        def log_prob(params: nnx.State, z: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, params, rest).log_prob(z, x)

        value, slopes = jax.value_and_grad(log_prob, (0, 1))(params, z)
        sums = jax.tree.leaves(jax.tree.map(jnp.sum, slopes))
        return value, jnp.stack(sums), density.sample(jax.random.key(0), x)

    at_location, _, _ = evaluate(location)
    for odd in (jnp.nan, jnp.inf, -jnp.inf, 1e38):
        value, sums, z_drawn = evaluate(location.at[1].set(odd))
        assert jnp.isfinite(value) and value != at_location  # the mask itself is seen
        assert jnp.all(jnp.isfinite(sums)) and jnp.all(jnp.isfinite(z_drawn))


@mostly_slow("nsf")
def test_densities_differentiate_in_x_and_samples_in_the_weights(estimator: Estimator) -> None:
    density = perturbed(estimator, 3)
    z = jnp.array([0.1, -0.5, 1.0])
    by_x = jax.jit(jax.grad(lambda x: density.log_prob(z, x)))(X)
    step = 1e-2 * jnp.eye(3)
    log_prob = jax.jit(jax.vmap(lambda x: density.log_prob(z, x)))
    differences = (log_prob(X + step) - log_prob(X - step)) / 2e-2
    np.testing.assert_allclose(by_x, differences, rtol=0.05, atol=0.05)
    assert jnp.any(by_x != 0)
    graphdef, params, rest = nnx.split(density, nnx.Param, ...)

    def drawn(params: nnx.State) -> jax.Array:
        return jnp.sum(nnx.merge(graphdef, params, rest).sample(jax.random.key(0), X))

    slopes = jax.tree.leaves(jax.jit(jax.grad(drawn))(params))
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in slopes)
    assert any(jnp.any(leaf != 0) for leaf in slopes)


@mostly_slow("mdn", "nsf")
def test_equal_specifications_share_a_graph_definition(estimator: Estimator) -> None:
    first, second = (
        nnx.split(from_spec(json.loads(json.dumps(estimator.spec()))).init(
            jax.random.key(seed), 2, moments_of_x()
        ), nnx.Param, ...)[0]
        for seed in (0, 1)
    )  # fmt: skip
    assert first == second and hash(first) == hash(second)


@pytest.mark.parametrize(
    "estimator",
    [
        mdn(4, (10,), mlp((8,), 3)),
        maf(2, (7, 9)),
        nsf(layers=1, hidden=(5,), bins=3, embedding=mlp()),
        flow_matching((5, 6), draws=2, embedding=mlp()),
        ensemble(maf(2, (7,), embedding=deepset((4,), 3)), members=2),
    ],
    ids=["mdn", "maf", "nsf", "flow_matching", "ensemble"],
)
def test_specifications_survive_json(estimator: Estimator) -> None:
    restored = from_spec(json.loads(json.dumps(estimator.spec())))
    assert restored == estimator and hash(restored) == hash(estimator)


class TwoNumbers(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, example: tuple) -> None:
        self.linear = nnx.Linear(example[0].size, 2, rngs=rngs)

    def __call__(self, values: jax.Array, defined: jax.Array) -> jax.Array:
        return self.linear(values * defined)


def test_any_module_embeds_but_is_not_stored() -> None:
    estimator = maf(layers=1, hidden=(10,), embedding=TwoNumbers)
    density = estimator.init(jax.random.key(0), 2, moments_of_x())
    assert density.context(X).shape == (2,)
    stored = json.loads(json.dumps(estimator.spec()))
    with pytest.raises(ValueError, match="embedding 'TwoNumbers' is code of your own"):
        from_spec(stored)
    assert from_spec(stored, embedding=TwoNumbers) == estimator


def test_context_of_one_x_is_computed_once_for_many_z() -> None:
    density = maf(embedding=mlp(hidden=(31,))).init(jax.random.key(0), 2, moments_of_x())
    program = jax.make_jaxpr(jax.vmap(density.log_prob, (0, None)))(jnp.zeros((77, 2)), X)
    shapes = {str(v.aval) for e in program.jaxpr.eqns for v in e.outvars}
    assert not any("77,31" in shape for shape in shapes)


@pytest.mark.parametrize("d", [1, 2, 5, 8])
def test_orders_are_permutations_and_every_pair_is_seen_both_ways(d: int) -> None:
    for order in orders(d, 5):
        assert sorted(order) == list(range(d))
    first, second = orders(d, 2)
    assert first == second[::-1]


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (mdn, {"components": 0}, "components must be an integer of at least 1, got 0"),
        (maf, {"layers": 2.0}, "layers must be an integer of at least 1, got 2.0"),
        (maf, {"hidden": 50}, "hidden must be a tuple of layer sizes such as"),
        (nsf, {"hidden": (50, -1)}, r"hidden\[1\] must be an integer of at least 1, got -1"),
        (nsf, {"bins": 1}, "bins must be an integer of at least 2, got 1"),
        (flow_matching, {"draws": 0}, "draws must be an integer of at least 1, got 0"),
        (nsf, {"embedding": 3}, r"embedding must be a factory \(rngs, example\) .* got int"),
    ],
)
def test_factories_name_the_bad_argument(factory: Callable, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factory(**arguments)


def test_an_embedding_must_give_a_vector() -> None:
    class Scalar(TwoNumbers):
        def __call__(self, values: jax.Array, defined: jax.Array) -> jax.Array:
            return jnp.sum(values)

    with pytest.raises(ValueError, match="embedding must build a module .* one vector"):
        maf(embedding=Scalar).init(jax.random.key(0), 2, moments_of_x())


@pytest.mark.slow
def test_a_spline_flow_learns_a_gaussian_posterior_from_few_rows() -> None:
    """θ ~ N(0, I₁₀), x ~ N(θ, I): the mean of KL(p ‖ q) below ⅓ nat after 1000 simulations."""
    prior = jaxsbi.gaussian(np.zeros(10), sd=np.ones(10))

    def simulate(key: jax.Array, theta: jax.Array) -> jax.Array:
        return theta + jax.random.normal(key, (10,))

    posterior = jaxsbi.infer(jax.random.key(0), simulate, prior, simulations=1000, progress=False)
    theta, x = jaxsbi.simulate(jax.random.key(1), simulate, prior, 2000)
    log_q = jax.jit(jax.vmap(posterior.conditional.log_prob))(theta, x)
    log_p = stats.norm.logpdf(theta, x / 2, np.sqrt(0.5)).sum(axis=1)
    assert np.mean(log_p - log_q) < 0.33
