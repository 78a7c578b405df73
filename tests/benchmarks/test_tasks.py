"""Benchmark tasks: simulators against NumPy, likelihoods against reference posterior samples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import odeint

import jaxsbi
from benchmarks import _dynamics
from benchmarks._tasks import TASKS, Task, observation
from simulators import glm

pytestmark = pytest.mark.usefixtures("reference")
each_task = pytest.mark.parametrize("name", TASKS)
DRAWS = 2000


@pytest.fixture(scope="module")
def reference(data: Callable) -> None:
    data("sbibm")


def design() -> np.ndarray:
    """A_t = (1, u_t, u_{t−1}, …, u_{t−8}), written out."""
    u = np.random.RandomState(42).standard_normal(100).astype(np.float32)
    rows = [[1, *(u[t - lag] if t >= lag else 0 for lag in range(9))] for t in range(100)]
    return np.array(rows)


def populations(slope: Callable, start: list[float], times: np.ndarray) -> np.ndarray:
    return odeint(slope, start, times, rtol=1e-10, atol=1e-12, tfirst=True)


def infected(theta: np.ndarray) -> np.ndarray:
    b, g = theta

    def slope(t, y):
        return [-b * y[0] * y[1] / 1e6, b * y[0] * y[1] / 1e6 - g * y[1]]

    return populations(slope, [1e6 - 1, 1.0], _dynamics.SIR_TIMES)[:, 1] / 1e6


def predators(theta: np.ndarray) -> np.ndarray:
    a, b, g, d = theta

    def slope(t, y):
        return [a * y[0] - b * y[0] * y[1], -g * y[1] + d * y[0] * y[1]]

    return populations(slope, [30.0, 1.0], _dynamics.LOTKA_VOLTERRA_TIMES).T.ravel()


def in_numpy(name: str, theta: np.ndarray, n: int, constants: Callable) -> np.ndarray:
    """n draws of x given θ, by NumPy and SciPy alone."""
    rng = np.random.default_rng(5)
    if name.startswith("gaussian_linear"):
        return rng.normal(theta, np.sqrt(0.1), (n, 10))
    if name.startswith("slcp"):
        s1, s2, rho = theta[2] ** 2, theta[3] ** 2, np.tanh(theta[4])
        covariance = np.array([[s1**2, rho * s1 * s2], [rho * s1 * s2, s2**2]]) + 1e-6 * np.eye(2)
        x = rng.multivariate_normal(theta[:2], covariance, (n, 4)).reshape(n, 8)
        if name == "slcp":
            return x
        with np.load(constants("sbibm/slcp_distractors_constants.npz")) as c:
            k = rng.choice(20, n, p=c["weights"])
            noise = np.einsum("nij,nj->ni", c["scale_tril"][k], rng.normal(size=(n, 92)))
            heavy = noise / np.sqrt(rng.chisquare(c["df"][k]) / c["df"][k])[:, None]
            return np.concatenate([x, c["loc"][k] + heavy], axis=1)[:, c["permutation"]]
    if name.startswith("bernoulli_glm"):
        a = design()
        y = rng.uniform(size=(n, 100)) < 1 / (1 + np.exp(-a @ theta))
        return y.astype(float) if name.endswith("raw") else y @ a
    if name == "gaussian_mixture":
        return theta + np.where(rng.uniform(size=(n, 1)) < 0.5, 1.0, 0.1) * rng.normal(size=(n, 2))
    if name == "two_moons":
        a, r = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
        shift = np.array([-abs(theta[0] + theta[1]), theta[1] - theta[0]]) / np.sqrt(2)
        return np.stack([r * np.cos(a) + 0.25, r * np.sin(a)], axis=1) + shift
    if name == "sir":
        return rng.binomial(1000, infected(theta), (n, 10)).astype(float)
    return rng.lognormal(np.log(predators(theta).clip(1e-10, 1e4)), 0.1, (n, 20))


@each_task
def test_simulations_are_distributed_as_those_of_numpy(name: str, data: Callable) -> None:
    task, o = TASKS[name](), observation(name, 1)
    simulate = jax.jit(jax.vmap(task.simulate, (0, None)))
    x = np.asarray(simulate(jax.random.split(jax.random.key(0), DRAWS), jnp.asarray(o.theta)))
    assert x.shape == (DRAWS, *o.x.shape)
    y = in_numpy(name, o.theta.astype(float), DRAWS, data)

    def features(x: np.ndarray) -> np.ndarray:
        """Each output, and the product of each with the next: a correlation changes it."""
        centred = x - np.median(y, axis=0)
        return np.concatenate([centred, centred * np.roll(centred, 1, axis=1)], axis=1)

    p = [stats.ks_2samp(*pair).pvalue for pair in zip(features(x).T, features(y).T, strict=True)]
    assert min(p) > 0.01 / len(p)


@each_task
def test_prior_has_the_density_of_the_benchmark(name: str) -> None:
    prior, theta = TASKS[name]().prior, observation(name, 2).reference[:200]
    half = {"gaussian_linear_uniform": 1, "gaussian_mixture": 10, "two_moons": 1}
    difference = np.eye(9) - np.eye(9, k=-1)
    f = difference @ difference + np.diag(np.sqrt(np.arange(9) / 9))
    log_mean = {
        "sir": ([np.log(0.4), np.log(0.125)], [0.5, 0.2]),
        "lotka_volterra": ([-0.125, -3, -0.125, -3], 0.5),
    }
    if name == "gaussian_linear":
        expected = stats.norm.logpdf(theta, 0, np.sqrt(0.1)).sum(axis=1)
    elif name in log_mean:
        mean, sd = log_mean[name]
        expected = (stats.norm.logpdf(np.log(theta), mean, sd) - np.log(theta)).sum(axis=1)
    elif name.startswith("bernoulli"):
        expected = stats.norm.logpdf(theta[:, 0], 0, np.sqrt(2))
        expected += stats.multivariate_normal(np.zeros(9), np.linalg.inv(f.T @ f)).logpdf(
            theta[:, 1:]
        )
    else:
        expected = np.full(200, -prior.dim * np.log(2 * half.get(name, 3)))
        assert not np.isfinite(prior.log_prob(jnp.asarray(theta[0] + 30)))
    np.testing.assert_allclose(prior.log_prob(jnp.asarray(theta)), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("sir", "lotka_volterra") else ())
        for name in TASKS
        if name != "two_moons"
    ],
)
def test_reference_samples_obey_steins_identity_for_prior_and_likelihood(name: str) -> None:
    """E[φ ∂_i log p(θ, x_o) + ∂_i φ] = 0 over p(θ | x_o), φ a function that ends at the bounds.

    It ties the order of x, every constant of the likelihood, and the prior to the reference.
    """
    task, o = TASKS[name](), observation(name, 1)
    low, high = task.prior.bounds
    boxed = jnp.isfinite(low)
    middle, half = jnp.where(boxed, (low + high) / 2, 0.0), jnp.where(boxed, (high - low) / 2, 1.0)

    def stein(theta: jax.Array) -> jax.Array:
        def log_joint(theta: jax.Array) -> jax.Array:
            return task.log_likelihood(theta, jnp.asarray(o.x)) + task.prior.log_prob(theta)

        u = (theta - middle) / half
        phi, slope = jnp.where(boxed, 1 - u**2, 1.0), jnp.where(boxed, -2 * u / half, 0.0)
        return phi * jax.grad(log_joint)(theta) + slope

    values = np.asarray(jax.jit(jax.vmap(stein))(jnp.asarray(o.reference[::5])))
    # where an adaptive step has an error of 0, its gradient is NaN
    values = values[np.isfinite(values).all(axis=1)]
    assert len(values) > 0.98 * len(o.reference[::5])
    score = values.mean(axis=0) / values.std(axis=0) * np.sqrt(len(values))
    assert np.all(np.abs(score) < 4.5), score


def test_reference_of_gaussian_linear_is_its_closed_form() -> None:
    o = observation("gaussian_linear", 3)
    p = [stats.kstest(s, stats.norm(x / 2, np.sqrt(0.05)).cdf).pvalue
         for s, x in zip(o.reference.T, o.x, strict=True)]  # fmt: skip
    assert min(p) > 1e-4
    o = observation("gaussian_linear_uniform", 3)
    for s, x in zip(o.reference.T, o.x, strict=True):
        sd = np.sqrt(0.1)
        truncated = stats.truncnorm((-1 - x) / sd, (1 - x) / sd, x, sd)
        assert stats.kstest(s, truncated.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ["gaussian_mixture", "two_moons"])
def test_reference_has_the_marginals_of_a_grid(name: str) -> None:
    task, o = TASKS[name](), observation(name, 4)
    low, high = np.asarray(task.prior.bounds)
    n = 600
    axes = np.linspace(low, high, n + 1)[:-1] + (high - low) / (2 * n)
    grid = jnp.stack(jnp.meshgrid(*axes.T, indexing="ij"), axis=-1).reshape(-1, 2)
    density = jax.jit(jax.vmap(task.log_likelihood, (0, None)))(grid, jnp.asarray(o.x))
    mass = np.exp(np.asarray(density, float)).reshape(n, n)
    for i in range(2):
        marginal = mass.sum(axis=1 - i)
        cdf = np.concatenate([[0], np.cumsum(marginal)]) / marginal.sum()
        edges = np.linspace(low[i], high[i], n + 1)
        found = stats.kstest(o.reference[:, i], lambda t, e=edges, c=cdf: np.interp(t, e, c))
        assert found.statistic < 0.025


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("sir", _dynamics.infected, infected),
        ("lotka_volterra", lambda t: jnp.exp(_dynamics.log_populations(t)), predators),
    ],
)
def test_dynamics_are_those_of_scipy(name: str, ours: Callable, theirs: Callable) -> None:
    theta = np.asarray(TASKS[name]().prior.sample(jax.random.key(3), 20))
    found = np.asarray(jax.jit(jax.vmap(ours))(jnp.asarray(theta)))
    expected = np.array([theirs(t) for t in theta.astype(float)]).clip(1e-10, 1e4)
    # the reference knows a population to 10⁻¹², not its logarithm
    np.testing.assert_allclose(np.log(found + 1e-6), np.log(expected + 1e-6), atol=2e-2)


def test_stimulus_and_design_are_those_of_the_benchmark(data: Callable) -> None:
    with np.load(data("sbibm/bernoulli_glm_constants.npz")) as constants:
        np.testing.assert_array_equal(constants["design_matrix"], design().astype(np.float32))
        protocol = glm.Protocol(constants["stimulus"])
    theta = jnp.asarray(observation("bernoulli_glm", 1).theta)
    key = jax.random.key(0)
    x = TASKS["bernoulli_glm"]().simulate(key, theta)
    np.testing.assert_array_equal(x, glm.simulate(key, theta, protocol))
    y = TASKS["bernoulli_glm_raw"]().simulate(key, theta)
    np.testing.assert_allclose(y @ design(), x, rtol=1e-5, atol=1e-5)


def test_an_observation_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="obs_6.npz must hold observation 6 .* JAXSBI_DATA"):
        observation("sir", 6)


@pytest.mark.parametrize("name", TASKS)
def test_priors_of_the_peer_are_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sbi")
    from benchmarks._peers_sbi import torch_prior

    task: Task = TASKS[name]()
    theta = np.array(task.prior.sample(jax.random.key(0), 50))
    theirs = torch_prior(task.prior).log_prob(torch.tensor(theta))
    np.testing.assert_allclose(theirs, task.prior.log_prob(theta), rtol=1e-4, atol=1e-4)


def test_the_peer_refuses_a_prior_it_does_not_know() -> None:
    pytest.importorskip("sbi")
    import numpyro.distributions as dist

    from benchmarks._peers_sbi import torch_prior

    with pytest.raises(ValueError, match="prior must be uniform, normal or log-normal"):
        torch_prior(jaxsbi.Prior(dist.Beta(jnp.full(2, 2.0), jnp.full(2, 2.0))))
