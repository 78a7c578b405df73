"""Ensembles: the mean of their members' densities, each trained as if alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import logsumexp

import jaxsbi
from jaxsbi.dataset import Rows, append, empty, moments
from jaxsbi.ensembles import Members, memberwise
from jaxsbi.losses import density_loss
from jaxsbi.types import Conditional

MEMBERS = 3
ENSEMBLE = jaxsbi.ensemble(jaxsbi.mdn(components=1, hidden=(10,)), MEMBERS)
X = jnp.array([0.4, -1.0])


def scattered() -> Members:
    """An ensemble of two parameters whose members differ much."""
    moments_of_x = moments(jax.random.normal(jax.random.key(9), (200, 2)), jnp.ones(200, bool))
    density = ENSEMBLE.init(jax.random.key(0), 2, moments_of_x)
    graphdef, params, rest = nnx.split(density, nnx.Param, ...)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [w + 0.5 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys, strict=True)]
    return nnx.merge(graphdef, jax.tree.unflatten(treedef, leaves), rest)


def log_probs(density: Conditional, z: jax.Array) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(density.log_prob, (0, None)))(z, X), np.float64)


def alone(density: Members, m: int) -> Conditional:
    graphdef, params, rest = nnx.split(density.stacked, nnx.Param, ...)
    return nnx.merge(graphdef, jax.tree.map(lambda w: w[m], params), rest)


def test_density_is_the_mean_of_the_members_densities() -> None:
    density = scattered()
    z = 2 * jax.random.normal(jax.random.key(2), (50, 2))
    each = np.array([log_probs(alone(density, m), z) for m in range(MEMBERS)])
    assert np.abs(each[0] - each[1]).max() > 1
    np.testing.assert_allclose(
        log_probs(density, z), logsumexp(each, axis=0) - np.log(MEMBERS), rtol=1e-4
    )


def test_samples_come_from_each_member_equally_often() -> None:
    density, n = scattered(), 30_000
    keys = jax.random.split(jax.random.key(3), n)
    z = np.asarray(jax.jit(jax.vmap(density.sample, (0, None)))(keys, X))
    each = [np.asarray(alone(density, m).components(X)[1])[0] for m in range(MEMBERS)]
    assert np.ptp(each, axis=0).max() > 0.5
    error = z.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(z.mean(axis=0) - np.mean(each, axis=0)) < 4.5 * error)


def test_each_member_gets_the_gradient_it_would_get_alone() -> None:
    density = scattered()
    key_z, key_x = jax.random.split(jax.random.key(4))
    z, x = jax.random.normal(key_z, (20, 2)), jax.random.normal(key_x, (20, 2))
    rows = Rows(z, x, jnp.ones(20, bool), jnp.zeros(20, int), jnp.zeros(20))
    struct = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    simulations = append(empty(20, z.shape[1], struct), rows, 0.1)

    def slopes(density: Conditional) -> list[np.ndarray]:
        graphdef, params, rest = nnx.split(density, nnx.Param, ...)

        def loss(params: nnx.State) -> jax.Array:
            conditional = nnx.merge(graphdef, params, rest)
            each = memberwise(density_loss)(key_z, conditional, jnp.arange(20), simulations)
            return jnp.mean(each)

        return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(params))]

    together = slopes(density)
    for m in range(MEMBERS):
        for ours, theirs in zip(together, slopes(alone(density, m)), strict=True):
            np.testing.assert_allclose(MEMBERS * ours[m], theirs, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def trained() -> SimpleNamespace:
    """θ ~ N(0, I), x ~ N(θ, I): θ | x ~ N(x/2, ½ I)."""
    prior = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0])
    posterior = jaxsbi.infer(
        jax.random.key(0), lambda key, theta: theta + jax.random.normal(key, (2,)), prior, X,
        simulations=2000, estimator=ENSEMBLE, progress=False,
        training=jaxsbi.Training(max_epochs=60, anneal=20),
    )  # fmt: skip
    return SimpleNamespace(posterior=posterior, density=posterior.conditional)


def test_every_member_learns_a_linear_gaussian_posterior_in_its_own_way(trained) -> None:
    means = []
    for m in range(MEMBERS):
        _, mean, factor = alone(trained.density, m).components(X)
        means.append(np.asarray(mean[0]))
        np.testing.assert_allclose(means[-1], X / 2, atol=0.15)
        covariance = np.linalg.inv(factor[0] @ factor[0].T)
        np.testing.assert_allclose(covariance, 0.5 * np.eye(2), atol=0.12)
    assert np.ptp(means, axis=0).max() > 1e-3


def test_an_ensemble_is_saved_and_loaded(trained, tmp_path: Path) -> None:
    trained.posterior.save(tmp_path / "posterior")
    again = jaxsbi.load(tmp_path / "posterior")
    theta = trained.posterior.sample(jax.random.key(1), 50)
    np.testing.assert_array_equal(again.log_prob(theta), trained.posterior.log_prob(theta))
    assert again.estimator == ENSEMBLE


@pytest.mark.slow
def test_members_may_have_an_embedding_of_the_users_own() -> None:
    class Halves(nnx.Module):
        def __init__(self, rngs: nnx.Rngs, example: tuple) -> None:
            self.linear = nnx.Linear(example[0].size, 3, rngs=rngs)

        def __call__(self, values: jax.Array, defined: jax.Array) -> jax.Array:
            return self.linear(values)

    estimator = jaxsbi.ensemble(jaxsbi.maf(1, (8,), embedding=Halves), 2)
    moments_of_x = moments(jax.random.normal(jax.random.key(9), (200, 2)), jnp.ones(200, bool))
    density = estimator.init(jax.random.key(0), 2, moments_of_x)
    kernel = density.stacked.context.embedding.linear.kernel[...]
    assert kernel.shape == (2, 2, 3) and jnp.all(kernel[0] != kernel[1])


@pytest.mark.parametrize(
    ("estimator", "members", "message"),
    [
        (jaxsbi.maf(), 0, "members must be an integer of at least 1, got 0"),
        (jaxsbi.maf, 5, "estimator must be a value such as"),
        ("maf", 5, "estimator must be a value such as"),
    ],
)
def test_ensemble_names_the_bad_argument(estimator: object, members: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jaxsbi.ensemble(estimator, members)
