"""Inference end to end against oracles: closed forms, grids, the same bits, kept results."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi

QUICK = jaxsbi.Training(max_epochs=3, anneal=1)
SMALL = jaxsbi.maf(layers=2, hidden=(16,))
BOX = jaxsbi.box([-1.0, -1.0], [1.0, 1.0], names=["a", "b"])


def shift(key, theta):
    """x ~ N(θ, 0.1² I)."""
    return theta + 0.1 * jax.random.normal(key, theta.shape)


@pytest.fixture(scope="module")
def posterior():
    return jaxsbi.infer(
        jax.random.key(0), shift, BOX, simulations=2000, estimator=SMALL, training=QUICK,
        progress=False,
    )  # fmt: skip


def linear_gaussian(estimator, simulations, **training):
    """θ ~ N(0, 0.1 I), x ~ N(θ, 0.1 I), so θ | x ~ N(x/2, 0.05 I): posterior and exact draws."""
    dim, variance = 3, 0.1
    prior = jaxsbi.gaussian(np.zeros(dim), sd=np.full(dim, variance**0.5))
    x_o = jnp.array([0.3, -0.2, 0.1])

    def simulate(key, theta):
        return theta + variance**0.5 * jax.random.normal(key, (dim,))

    posterior = jaxsbi.infer(
        jax.random.key(1), simulate, prior, x_o, simulations=simulations, estimator=estimator,
        training=jaxsbi.Training(**training), progress=False,
    )  # fmt: skip
    mean, sd = x_o / 2, (variance / 2) ** 0.5
    exact = mean + sd * jax.random.normal(jax.random.key(2), (10_000, dim))
    return posterior, exact, jax.scipy.stats.norm.logpdf(exact, mean, sd).sum(axis=1)


def test_divergence_from_a_linear_gaussian_posterior_is_small():
    """KL(p ‖ q) in nats over three parameters, with the default estimator."""
    posterior, exact, log_p = linear_gaussian(jaxsbi.nsf(), 3000, max_epochs=60)
    assert np.mean(log_p - posterior.log_prob(exact)) < 0.04


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [jaxsbi.nsf(), jaxsbi.maf(), jaxsbi.mdn(components=1)],
    ids=["nsf", "maf", "mdn"],
)
def test_linear_gaussian_posterior_is_recovered(estimator):
    """Both classifiers below 0.52 at 10 000 simulations."""
    posterior, exact, _ = linear_gaussian(estimator, 10_000)
    score = jaxsbi.diagnostics.c2st(exact, posterior.sample(jax.random.key(3), 10_000))
    assert score.mlp < 0.52
    assert score.rf < 0.52


@pytest.mark.slow
def test_mass_piled_at_both_bounds_is_where_the_grid_says():
    """x ~ N((2θ − 1)², 0.1²) seen at 1: θ piles up at 0 and at 1, equally."""
    prior = jaxsbi.box([0.0], [1.0])

    def simulate(key, theta):
        return (2 * theta - 1) ** 2 + 0.1 * jax.random.normal(key, (1,))

    posterior = jaxsbi.infer(
        jax.random.key(0), simulate, prior, jnp.array([1.0]), simulations=20_000,
        estimator=jaxsbi.nsf(layers=2, hidden=(32, 32)), progress=False,
    )  # fmt: skip
    theta = posterior.sample(jax.random.key(1), 1_000_000)
    assert np.all(prior.in_support(theta))
    parts = [posterior.log_prob(part) for part in jnp.split(theta, 10)]
    assert np.all(np.isfinite(np.concatenate(parts)))
    grid = (np.arange(100_000) + 0.5) / 100_000
    exact = np.exp(-0.5 * (((2 * grid - 1) ** 2 - 1) / 0.1) ** 2)
    exact /= exact.sum()
    for near in (lambda t: t < 0.01, lambda t: t > 0.99):
        assert abs(np.mean(near(np.asarray(theta))) - exact[near(grid)].sum()) < 0.02


def test_density_integrates_to_one_over_the_support(posterior):
    side = (np.arange(400) + 0.5) / 200 - 1
    grid = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    mass = jnp.exp(posterior.log_prob(grid, x=jnp.array([0.5, 0.2]))).sum() / 200**2
    np.testing.assert_allclose(mass, 1.0, atol=0.01)


def test_samples_follow_the_density(posterior):
    """E log q over samples equals the quadrature of q log q."""
    x = jnp.array([0.5, -0.6])
    side = (np.arange(400) + 0.5) / 200 - 1
    grid = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    log_q = posterior.log_prob(grid, x=x)
    quadrature = jnp.sum(jnp.exp(log_q) * log_q) / 200**2
    theta = posterior.sample(jax.random.key(1), 20_000, x=x)
    np.testing.assert_allclose(posterior.log_prob(theta, x=x).mean(), quadrature, atol=0.05)


def test_same_seed_same_bits(posterior):
    again = jaxsbi.infer(
        jax.random.key(0), shift, BOX, simulations=2000, estimator=SMALL, training=QUICK,
        progress=False,
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, again.params, posterior.params)


def test_batches_of_observations_equal_single_ones(posterior):
    x = jnp.array([[0.1, 0.2], [-0.5, 0.9], [0.0, 0.0]])
    theta = BOX.sample(jax.random.key(0), 20)
    together = posterior.log_prob(theta, x=x)
    assert together.shape == (3, 20)
    for i in range(3):
        np.testing.assert_allclose(together[i], posterior.log_prob(theta, x=x[i]), atol=1e-4)
    assert posterior.sample(jax.random.key(0), 7, x=x).shape == (3, 7, 2)
    assert posterior.map(x=x).shape == (3, 2)


def test_a_sample_does_not_depend_on_how_many_are_drawn(posterior):
    x = jnp.zeros(2)
    many = posterior.sample(jax.random.key(5), 1000, x=x)
    few = posterior.sample(jax.random.key(5), 10, x=x)
    np.testing.assert_allclose(few, many[:10], rtol=1e-6)  # other kernels round otherwise


def test_posteriors_pass_through_jit_vmap_and_grad(posterior):
    x, theta = jnp.array([0.2, 0.1]), jnp.array([[0.1, 0.0], [2.0, 0.0]])
    value = jax.jit(lambda p, t, x: p.log_prob(t, x=x))(posterior, theta, x)
    np.testing.assert_allclose(value[0], posterior.log_prob(theta[0], x=x), atol=1e-5)
    assert np.isneginf(value[1])
    gradient = jax.grad(lambda t: posterior.log_prob(t, x=x))(theta[0])
    step = 1e-2
    for i in range(2):
        e = step * jnp.eye(2)[i]
        ends = posterior.log_prob(jnp.stack([theta[0] + e, theta[0] - e]), x=x)
        np.testing.assert_allclose(
            gradient[i], (ends[0] - ends[1]) / (2 * step), rtol=0.05, atol=0.05
        )


def test_no_draw_has_a_higher_density_than_the_mode(posterior):
    for x in (jnp.array([0.3, 0.1]), jnp.array([1.4, 0.0])):
        theta = posterior.sample(jax.random.key(0), 5000, x=x)
        highest = posterior.log_prob(theta, x=x).max()
        assert posterior.log_prob(posterior.map(x=x), x=x) >= highest - 0.01


def test_undefined_features_are_served_where_simulations_had_them():
    def partly(key, theta):
        x = shift(key, theta)
        return jnp.where(jnp.array([False, True]) & (theta[0] > 0.5), jnp.nan, x)

    posterior = jaxsbi.infer(
        jax.random.key(0), partly, BOX, jnp.array([0.8, jnp.nan]), simulations=2000,
        estimator=SMALL, training=QUICK, progress=False,
    )  # fmt: skip
    assert np.all(np.isfinite(posterior.log_prob(posterior.sample(jax.random.key(1), 100))))
    with pytest.raises(ValueError, match="x must be defined wherever"):
        posterior.sample(jax.random.key(1), 5, x=jnp.array([jnp.nan, 0.1]))


def test_failed_rows_are_counted_and_left_out():
    def failing(key, theta):
        return jnp.where(theta[0] < 0, jnp.nan, shift(key, theta))

    posterior = jaxsbi.infer(
        jax.random.key(0), failing, BOX, simulations=1000, estimator=SMALL, training=QUICK,
        progress=False,
    )  # fmt: skip
    (entry,) = posterior.history.rounds
    assert entry.drawn == 1000
    assert entry.valid == entry.used
    assert 400 < entry.valid < 600


def test_a_later_round_compiles_nothing_new():
    first, second = jaxsbi.infer(
        jax.random.key(0), shift, BOX, rounds=2, simulations=400, estimator=SMALL, training=QUICK,
        progress=False,
    ).history.rounds  # fmt: skip
    assert first.compilations > 0
    assert second.compilations == 0


def test_double_precision_is_kept_from_the_rows_to_the_density():
    with jax.enable_x64(True):
        theta = jnp.linspace(-0.9, 0.9, 120).reshape(60, 2)
        posterior = jaxsbi.fit(
            jax.random.key(0), theta, theta + 0.1, BOX, training=QUICK, progress=False,
            estimator=jaxsbi.mdn(components=1, hidden=(4,)),
        )  # fmt: skip
        density = posterior.log_prob(theta, x=theta[0])
        assert (
            density.dtype == posterior.sample(jax.random.key(0), 3, x=theta[0]).dtype == "float64"
        )
        assert np.all(np.isfinite(density))


def test_pytree_outcomes_of_integers_and_dicts():
    def simulate(key, theta):
        return {"x": shift(key, theta), "s": jnp.sum(theta)}

    posterior = jaxsbi.infer(
        jax.random.key(0), simulate, BOX, {"x": np.zeros(2), "s": 0}, simulations=500,
        estimator=SMALL, training=QUICK, progress=False,
    )  # fmt: skip
    assert posterior.sample(jax.random.key(1), 5).shape == (5, 2)
    batch = {"x": np.zeros((4, 2)), "s": np.zeros(4)}
    assert posterior.sample(jax.random.key(1), 5, x=batch).shape == (4, 5, 2)


def test_ctrl_c_keeps_the_best_so_far(monkeypatch):
    endless = jaxsbi.Training(max_epochs=1_000_000, patience=1_000_000)
    theta, x = jaxsbi.simulate(jax.random.key(0), shift, BOX, 2000)
    slices = []

    def press(*_):
        slices.append(None)
        if len(slices) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("jaxsbi.training.report", press)
    posterior = jaxsbi.fit(
        jax.random.key(0), theta, x, BOX, estimator=SMALL, training=endless, progress=False
    )
    (entry,) = posterior.history.rounds
    assert entry.interrupted
    assert 1 < entry.epochs < endless.max_epochs
    assert np.all(np.isfinite(posterior.sample(jax.random.key(1), 10, x=jnp.zeros(2))))


def test_ctrl_c_ends_a_program_with_its_posterior(tmp_path):
    """The same from outside: a process that gets SIGINT in training saves what it has."""
    program = f"""
import jax, jaxsbi
jaxsbi.progress.SECONDS_BETWEEN_LINES = 0.0
prior = jaxsbi.box([-1.0], [1.0])
simulate = lambda key, theta: theta + 0.1 * jax.random.normal(key, (1,))
training = jaxsbi.Training(max_epochs=10**6, patience=10**6)
theta, x = jaxsbi.simulate(jax.random.key(0), simulate, prior, 500)
posterior = jaxsbi.fit(jax.random.key(0), theta, x, prior, estimator=jaxsbi.mdn(components=1),
                       training=training)
posterior.save({str(tmp_path / "kept")!r})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("train: epoch"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, "".join([*said, errors])[-2000:]
    assert jaxsbi.load(tmp_path / "kept").history[0].interrupted
