"""Flow matching: densities by differential equations, against closed forms, grids and entropies."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats
from scipy.special import logsumexp

import jaxsbi
from jaxsbi.dataset import moments
from jaxsbi.flow_matching import Transport
from jaxsbi.types import Estimator

FLOW = jaxsbi.flow_matching(hidden=(20, 20))
X = jnp.array([0.7, -1.2, 3.0])
MOMENTS = moments(jax.random.normal(jax.random.key(9), (200, 3)), jnp.ones(200, bool))


def fresh(d: int, estimator: Estimator = FLOW) -> nnx.Module:
    return nnx.jit(lambda key: estimator.init(key, d, MOMENTS))(jax.random.key(0))


def perturbed(density: nnx.Module, scale: float = 0.1) -> nnx.Module:
    """Normal noise of sd `scale` on every weight."""
    graphdef, params, rest = nnx.split(density, nnx.Param, ...)
    rng = np.random.default_rng(0)

    def shaken(weight: jax.Array) -> jax.Array:
        noise = scale * rng.normal(size=weight.shape)
        return jnp.asarray(np.asarray(weight) + noise, weight.dtype)

    return nnx.merge(graphdef, jax.tree.map(shaken, params), rest)


class OfMixture(nnx.Module):
    """The field F that carries N(0, I) to ½ N(a, s² I) + ½ N(−a, r² I), whatever x is."""

    means, sds = np.array([[0.9, -0.5], [-0.9, 0.5]]), np.array([0.05, 0.4])

    def given(self, context: jax.Array):
        def field(angle: jax.Array, u: jax.Array) -> jax.Array:
            sine, cosine = jnp.sin(angle), jnp.cos(angle)
            apart = u - cosine * self.means
            variances = (cosine * self.sds) ** 2 + sine**2
            densities = -0.5 * jnp.sum(apart**2, 1) / variances - jnp.log(variances)
            slopes = (sine * cosine * (self.sds**2 - 1) / variances)[:, None]
            return jax.nn.softmax(densities) @ (sine * self.means + slopes * apart)

        return field

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        each = [
            stats.norm.logpdf(z, mean, sd).sum(axis=1)
            for mean, sd in zip(self.means, self.sds, strict=True)
        ]
        return logsumexp(each, axis=0) - math.log(2)

    def sample(self, n: int) -> np.ndarray:
        rng = np.random.default_rng(0)
        which = rng.integers(2, size=n)
        return self.means[which] + self.sds[which, None] * rng.normal(size=(n, 2))


@pytest.fixture(scope="module")
def mixture() -> Transport:
    density = fresh(2)
    density.velocity = OfMixture()
    return density


def gaussian_of(density: Transport) -> tuple[np.ndarray, np.ndarray]:
    """m and L."""
    m, factor = jax.jit(lambda x: density.gaussian(density.context(x)))(X)
    return np.asarray(m, np.float64), np.asarray(factor, np.float64)


def log_probs(density: Transport, z: jax.Array) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(density.log_prob, (0, None)))(z, X), np.float64)


def samples(density: Transport, n: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(42), n)
    return np.asarray(jax.jit(jax.vmap(density.sample, (0, None)))(keys, X), np.float64)


def test_it_starts_at_the_prior() -> None:
    z = 3 * jax.random.normal(jax.random.key(1), (50, 8))
    expected = stats.norm.logpdf(z).sum(axis=1)
    np.testing.assert_allclose(log_probs(fresh(8), z), expected, rtol=2e-5)


def test_without_a_field_it_is_the_gaussian() -> None:
    density = perturbed(fresh(3))
    density.velocity = fresh(3).velocity
    mean, factor = gaussian_of(density)
    law = stats.multivariate_normal(mean, np.linalg.inv(factor @ factor.T))
    z = 2 * jax.random.normal(jax.random.key(2), (50, 3))
    np.testing.assert_allclose(log_probs(density, z), law.logpdf(z), rtol=1e-4, atol=1e-4)
    drawn = samples(density, 20_000)
    errors = np.linalg.solve(np.linalg.cholesky(law.cov), (drawn - law.mean).T)
    np.testing.assert_allclose(errors.mean(axis=1), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(errors), np.eye(3), atol=0.05)


def test_a_mixtures_field_gives_the_mixtures_density_and_draws(mixture: Transport) -> None:
    law = OfMixture()
    z = law.sample(500)
    np.testing.assert_allclose(log_probs(mixture, z), law.log_prob(z), atol=0.05)
    drawn = samples(mixture, 4000)
    narrow = drawn @ law.means[0] > 0.53
    assert abs(narrow.mean() - 0.5) < 0.03


def test_the_true_fields_loss_is_the_entropy(mixture: Transport) -> None:
    """The bound on −log q is tight in the mean where F is the conditional mean."""
    law = OfMixture()
    z = law.sample(40_000)
    keys = jax.random.split(jax.random.key(3), len(z))
    losses = np.asarray(jax.jit(jax.vmap(mixture.loss, (0, 0, None)))(keys, z, X))
    error = np.std(losses + law.log_prob(z)) / math.sqrt(len(z))
    assert abs(np.mean(losses + law.log_prob(z))) < 4 * error + 0.01 and error < 0.03


def on_grid(density: Transport, axis: np.ndarray) -> np.ndarray:
    """The density of ζ = Lᵀ(z − m) on a grid, every coordinate along the axis."""
    mean, factor = gaussian_of(density)
    zeta = np.stack(np.meshgrid(*[axis] * len(mean), indexing="ij"), -1).reshape(-1, len(mean))
    z = mean + np.linalg.solve(factor.T, zeta.T).T
    return np.exp(log_probs(density, jnp.asarray(z))) / np.prod(np.diagonal(factor))


def test_density_of_one_parameter_integrates_to_one_and_is_sampled() -> None:
    density, axis = perturbed(fresh(1)), np.linspace(-12, 12, 4001)
    p = on_grid(density, axis)
    cdf = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2 * np.diff(axis))])
    assert abs(cdf[-1] - 1) < 2e-3
    mean, factor = gaussian_of(density)
    zeta = (samples(density, 5000) - mean) @ factor
    assert stats.kstest(np.interp(zeta[:, 0], axis, cdf), "uniform").pvalue > 0.01


def test_density_of_two_parameters_integrates_to_one() -> None:
    axis = np.linspace(-8, 8, 161)
    assert abs(on_grid(perturbed(fresh(2)), axis).sum() * (axis[1] - axis[0]) ** 2 - 1) < 2e-3


PRIOR = jaxsbi.box([-1.0, -1.0], [1.0, 1.0], names=["a", "b"])
X_O = jnp.array([0.3, 0.5])
NOISE = 0.1


def square(key: jax.Array, theta: jax.Array) -> jax.Array:
    """x ~ N((a², b), 0.1² I): a posterior of two modes."""
    return theta ** jnp.array([2.0, 1.0]) + NOISE * jax.random.normal(key, (2,))


def log_posterior(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p(θ | x), the first factor normalised on a grid."""
    grid = np.linspace(-1, 1, 2001)
    on_grid = stats.norm.logpdf(x[:, :1], grid**2, NOISE)
    first = stats.norm.logpdf(x[:, 0], theta[:, 0] ** 2, NOISE)
    ends = stats.norm.cdf([[1.0], [-1.0]], x[:, 1], NOISE)
    second = stats.norm.logpdf(theta[:, 1], x[:, 1], NOISE) - np.log(ends[0] - ends[1])
    return first - logsumexp(on_grid, axis=1) - math.log(grid[1] - grid[0]) + second


def infer(**options: object) -> jaxsbi.posteriors.Posterior:
    options = {"x_o": X_O, "estimator": FLOW, "progress": False} | options
    return jaxsbi.infer(jax.random.key(0), square, PRIOR, **options)


@pytest.fixture(scope="module")
def trained() -> jaxsbi.posteriors.Posterior:
    return infer(
        simulations=2000, estimator=jaxsbi.flow_matching(hidden=(50, 50)),
        training=jaxsbi.Training(max_epochs=60, anneal=20, weight_decay=0.1),
    )  # fmt: skip


@pytest.mark.slow
def test_it_learns_a_posterior_of_two_modes(trained) -> None:
    theta, x = jaxsbi.simulate(jax.random.key(5), square, PRIOR, 1000)
    log_q = jax.jit(jax.vmap(lambda t, x: trained.log_prob(t, x=x)))(theta, x)
    gap = log_posterior(np.float64(theta), np.float64(x)) - log_q
    assert np.mean(gap) < 0.15


@pytest.mark.slow
def test_its_maximum_is_a_posteriors(trained) -> None:
    best = trained.map()
    np.testing.assert_allclose([best[0] ** 2, best[1]], X_O, atol=0.1)


def test_it_serves_batches_and_is_saved(trained, tmp_path: Path) -> None:
    batch = jnp.stack([X_O, -X_O, 0 * X_O])
    theta = trained.sample(jax.random.key(7), 5, x=batch)
    density = trained.log_prob(theta, x=batch)
    assert theta.shape == (3, 5, 2) and density.shape == (3, 5)
    trained.save(tmp_path / "posterior")
    again = jaxsbi.load(tmp_path / "posterior")
    np.testing.assert_array_equal(again.log_prob(theta, x=batch), density)
    assert again.estimator == trained.estimator


QUICK = jaxsbi.Training(max_epochs=4, anneal=1)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [jaxsbi.snpe_b(), jaxsbi.tsnpe()], ids=["snpe_b", "tsnpe"])
def test_rounds_narrow_on_the_observation(algorithm) -> None:
    posterior = infer(
        algorithm=algorithm, rounds=2, simulations=400, training=jaxsbi.Training(max_epochs=200)
    )
    theta = posterior.sample(jax.random.key(8), 500)
    assert not posterior.amortised and jnp.all(jnp.isfinite(posterior.log_prob(theta)))
    assert jnp.abs(jnp.mean(theta[:, 1]) - X_O[1]) < 0.05
    np.testing.assert_allclose(jnp.std(theta[:, 1]), NOISE, rtol=0.25)


def test_an_ensemble_of_it_is_validated_by_its_members_losses() -> None:
    density = perturbed(fresh(2, jaxsbi.ensemble(FLOW, 2)))
    z = jnp.array([0.3, -1.0])

    @jax.jit
    def losses(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return density.loss(key, z, X), density.each(lambda member: member.loss(key, z, X))

    loss, each = losses(jax.random.key(1))
    assert each[0] != each[1]
    np.testing.assert_allclose(loss, jnp.mean(each), rtol=1e-5)
    mixtures = jaxsbi.ensemble(jaxsbi.mdn(components=1, hidden=(4,)), 2)
    assert not hasattr(fresh(2, mixtures), "loss")


@pytest.mark.slow
def test_an_ensemble_of_it_is_trained() -> None:
    posterior = infer(simulations=300, estimator=jaxsbi.ensemble(FLOW, 2), training=QUICK)
    assert jnp.all(jnp.isfinite(posterior.log_prob(jnp.zeros((3, 2)))))


@pytest.mark.parametrize("estimator", [FLOW, jaxsbi.ensemble(FLOW, 2)], ids=["one", "ensemble"])
@pytest.mark.parametrize(
    ("algorithm", "remedy"),
    [
        (jaxsbi.apt(), r"cheap to train on for apt, .* keep it with jaxsbi.tsnpe\(\)"),
        (jaxsbi.nle(), r"a flow without an embedding, jaxsbi.nsf\(\)"),
    ],
    ids=["apt", "nle"],
)
def test_methods_that_train_on_the_density_refuse_it(algorithm, remedy, estimator) -> None:
    with pytest.raises(ValueError, match=remedy):
        infer(algorithm=algorithm, simulations=100, estimator=estimator)


def test_undefined_and_infinite_features_give_finite_losses_and_gradients() -> None:
    graphdef, params, rest = nnx.split(perturbed(fresh(2)), nnx.Param, ...)
    z = jnp.array([0.3, -4.0])

    @jax.jit
    def evaluate(x: jax.Array) -> tuple[jax.Array, ...]:
        def loss(params: nnx.State) -> jax.Array:
            return nnx.merge(graphdef, params, rest).loss(jax.random.key(0), z, x)

        value, slopes = jax.value_and_grad(loss)(params)
        return value, jnp.stack([jnp.sum(leaf) for leaf in jax.tree.leaves(slopes)])

    for odd in (jnp.nan, jnp.inf, 1e38):
        value, sums = evaluate(X.at[1].set(odd))
        assert jnp.isfinite(value) and jnp.all(jnp.isfinite(sums))


@pytest.mark.slow
def test_its_density_differentiates_in_z_and_x() -> None:
    density, z = perturbed(fresh(2)), jnp.array([0.1, -0.5])
    slopes = jax.jit(jax.grad(density.log_prob, (0, 1)))(z, X)
    log_prob = jax.jit(jax.vmap(density.log_prob))
    for number, (slope, point) in enumerate(zip(slopes, (z, X), strict=True)):
        step = 1e-2 * jnp.eye(len(point))
        n = len(point)
        above, below = (
            [jnp.broadcast_to(a, (n, len(a))) + (sign * step if number == i else 0)
             for i, a in enumerate((z, X))]
            for sign in (1, -1)
        )  # fmt: skip
        differences = (log_prob(*above) - log_prob(*below)) / 2e-2
        np.testing.assert_allclose(slope, differences, rtol=0.05, atol=0.02)
        assert jnp.all(slope != 0)
