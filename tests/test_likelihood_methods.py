"""NLE and NRE against closed forms, grids and enumeration; chain posteriors as posteriors."""

import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxsbi
from jaxsbi import reference

METHODS = {"nle": jaxsbi.nle(), "nre": jaxsbi.nre()}
ESTIMATORS = {
    "nle": jaxsbi.maf(layers=1, hidden=(32,)),
    "nre": jaxsbi.nsf(hidden=(32, 32)),
}
QUICK = jaxsbi.Training(max_epochs=60, anneal=10)
both = pytest.mark.parametrize("method", METHODS)


def infer(method, simulate, prior, x_o=None, *, algorithm=None, training=QUICK, **options):
    return jaxsbi.infer(
        jax.random.key(0), simulate, prior, x_o, algorithm=algorithm or METHODS[method],
        estimator=ESTIMATORS[method], training=training, progress=False, **options,
    )  # fmt: skip


def moments_of(grid):
    theta, mass = np.asarray(grid.theta, float), np.asarray(grid.mass, float)
    mean = mass @ theta
    return mean, np.sqrt(mass @ (theta - mean) ** 2)


def assert_kept(posterior, folder, start=None):
    """Saved and loaded it draws the same rows, of the same density."""
    posterior.save(folder / "posterior")
    again = jaxsbi.load(folder / "posterior", start=start)
    theta = posterior.sample(jax.random.key(3), 50)
    np.testing.assert_array_equal(again.sample(jax.random.key(3), 50), theta)
    np.testing.assert_array_equal(again.log_prob(theta), posterior.log_prob(theta))


# --- a posterior as any other -------------------------------------------------------------------

PRIOR = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0], names=["a", "b"])
X_O, SD = jnp.array([0.8, -0.4]), 0.5


def noisy(key, theta):
    """x ~ N(θ, 0.5² I): θ | x ~ N(0.8 x, 0.2 I)."""
    return theta + SD * jax.random.normal(key, (2,))


@pytest.fixture(scope="module")
def posterior():
    return infer("nle", noisy, PRIOR, X_O, simulations=4000)


def test_a_likelihood_gives_the_gaussian_posterior_and_its_evidence(posterior):
    theta = np.asarray(posterior.sample(jax.random.key(1), 4000))
    np.testing.assert_allclose(theta.mean(axis=0), 0.8 * X_O, atol=0.05)
    np.testing.assert_allclose(theta.std(axis=0), 0.2**0.5, rtol=0.08)
    evidence = stats.norm.logpdf(np.asarray(X_O), 0, 1.25**0.5).sum()
    assert posterior.population.log_evidence == pytest.approx(evidence, abs=0.2)
    error = posterior.log_prob(theta) - stats.norm.logpdf(theta, 0.8 * X_O, 0.2**0.5).sum(axis=1)
    assert abs(float(jnp.mean(error))) < 0.05
    assert posterior.log_prob(posterior.map()) >= posterior.log_prob(theta).max() - 0.01


def test_rows_do_not_depend_on_how_many_are_drawn(posterior):
    """A chain each for the first rows, whether sixteen of them run or a thousand."""
    many = posterior.sample(jax.random.key(5), 1500)
    np.testing.assert_allclose(posterior.sample(jax.random.key(5), 10), many[:10], atol=1e-3)
    np.testing.assert_array_equal(posterior.sample(jax.random.key(5), 1500), many)
    assert np.unique(np.asarray(many[:, 0])).size > 0.97 * 1500


def test_chains_converge_and_say_so(posterior):
    judged = posterior.convergence(jax.random.key(2), chains=64, length=20)
    assert np.all(judged.r_hat < 1.05)
    assert np.all(judged.ess > 400)


def test_arviz_gets_the_chains_and_how_they_went(posterior):
    pytest.importorskip("arviz")
    tree = posterior.to_arviz(400)
    assert tree["posterior"]["a"].sizes == {"chain": 8, "draw": 50}
    stats = {name: np.asarray(values) for name, values in tree["sample_stats"].items()}
    theta = np.stack([np.asarray(tree["posterior"][name]) for name in PRIOR.names], axis=-1)
    np.testing.assert_allclose(
        stats["lp"].ravel(), posterior.log_prob(theta.reshape(-1, 2)), rtol=1e-3, atol=1e-3
    )
    assert 0.6 < stats["acceptance_rate"].mean() <= 1 and not stats["diverging"].any()
    assert np.ptp(stats["step_size"]) == 0


def test_a_likelihoods_posterior_can_be_analysed(posterior):
    """Independent parameters: the conditional is the marginal, N(0.8 x₂, 0.2)."""
    given = jaxsbi.analysis.condition(posterior, {"a": 0.5}).grid(60)
    np.testing.assert_allclose(given.mean, 0.8 * X_O[1], atol=0.1)
    np.testing.assert_allclose(given.covariance, 0.2, rtol=0.2)
    key, mean = jax.random.key(6), 0.8 * X_O
    found = jaxsbi.analysis.conditional_correlations(key, posterior, samples=5, points=20)
    assert abs(found.matrix[0, 1]) < 0.15
    way = jaxsbi.analysis.path(posterior, mean - 0.4, mean + 0.4, points=15)
    np.testing.assert_allclose(way.theta[7], mean, atol=0.15)
    subspace = jaxsbi.analysis.active_subspace(key, posterior, samples=20)
    assert subspace.values[0] < 4 * subspace.values[1]


def test_a_saved_posterior_draws_the_same_rows(posterior, tmp_path):
    assert_kept(posterior, tmp_path)


@pytest.mark.slow
def test_an_ensemble_of_likelihoods_is_their_mean(tmp_path):
    posterior = jaxsbi.infer(
        jax.random.key(0), noisy, PRIOR, X_O, algorithm=jaxsbi.nle(), simulations=2000,
        estimator=jaxsbi.ensemble(ESTIMATORS["nle"], 3), training=QUICK, progress=False,
    )  # fmt: skip
    density = posterior.conditional
    each, mean = (
        np.asarray(jax.vmap(of)(jnp.linspace(-1, 1, 6).reshape(3, 2)), np.float64)
        for of in (
            lambda z: density.each(lambda member: member.log_likelihood(z, X_O)),
            lambda z: density.log_likelihood(z, X_O),
        )
    )
    assert np.all(np.ptp(each, axis=1) > 1e-3)
    np.testing.assert_allclose(np.exp(mean), np.exp(each).mean(axis=1), rtol=1e-4)
    theta = np.asarray(posterior.sample(jax.random.key(1), 4000))
    np.testing.assert_allclose(theta.mean(axis=0), 0.8 * X_O, atol=0.05)
    np.testing.assert_allclose(theta.std(axis=0), 0.2**0.5, rtol=0.08)
    assert_kept(posterior, tmp_path)


def test_another_observation_has_its_own_posterior(posterior):
    x = jnp.array([[-1.0, 0.5], [0.3, 0.3]])
    theta = posterior.sample(jax.random.key(4), 1000, x=x)
    np.testing.assert_allclose(theta.mean(axis=1), 0.8 * x, atol=0.1)
    density = posterior.log_prob(theta, x=x)
    for i in range(2):
        own = posterior.given(x[i])
        np.testing.assert_allclose(density[i], own.log_prob(theta[i]), atol=1e-3)
    exact = stats.norm.logpdf(np.asarray(theta), 0.8 * x[:, None], 0.2**0.5).sum(axis=-1)
    assert np.all(np.abs(np.mean(density - exact, axis=1)) < 0.15)


def test_known_likelihoods_reweight_the_draws(posterior):
    def log_likelihood(theta):
        return jnp.sum(jax.scipy.stats.norm.logpdf(X_O, theta, SD))

    weighted = posterior.reweight(log_likelihood, 4000)
    assert weighted.ess > 0.8 * 4000
    np.testing.assert_allclose(weighted.weights @ weighted.theta, 0.8 * X_O, atol=0.03)
    evidence = stats.norm.logpdf(np.asarray(X_O), 0, 1.25**0.5).sum()
    assert weighted.log_evidence == pytest.approx(evidence, abs=0.2)
    with pytest.raises(ValueError, match="next to no draws"):
        posterior.reweight(lambda theta: -1e4 * jnp.sum((theta - 5.0) ** 2), 1000)


# --- from an amortised posterior ----------------------------------------------------------------

ROUGH = jaxsbi.maf(layers=1, hidden=(16,))


@pytest.fixture(scope="module")
def amortised():
    return jaxsbi.infer(
        jax.random.key(7), noisy, PRIOR, simulations=300, estimator=ROUGH, progress=False,
        training=jaxsbi.Training(anneal=5, max_epochs=8),
    )  # fmt: skip


@pytest.fixture(scope="module", params=["nle", pytest.param("nre", marks=pytest.mark.slow)])
def refined(request, amortised):
    return infer(request.param, noisy, PRIOR, X_O, start=amortised, rounds=2, simulations=2000)


def test_a_rough_posterior_is_refined_to_the_exact_one(amortised, refined):
    """N(0.8 x, 0.2 I)."""
    assert [r.drawn for r in refined.history.rounds] == [300, 2000, 2000]
    assert refined.start == amortised.estimator and not refined.amortised
    theta = np.asarray(refined.sample(jax.random.key(1), 4000))
    np.testing.assert_allclose(theta.mean(axis=0), 0.8 * X_O, atol=0.06)
    np.testing.assert_allclose(theta.std(axis=0), 0.2**0.5, rtol=0.1)
    exact = stats.norm.logpdf(theta, 0.8 * X_O, 0.2**0.5).sum(axis=1)
    before = np.abs(np.mean(amortised.log_prob(theta, x=X_O) - exact))
    assert abs(float(np.mean(refined.log_prob(theta) - exact))) < min(0.1, before)


@pytest.mark.slow
def test_where_the_first_posterior_has_next_to_no_mass_the_refined_one_has_none(amortised, refined):
    theta = jnp.linspace(-8.0, 8.0, 201)[:, None] * jnp.ones(2)
    before, after = amortised.log_prob(theta, x=X_O), refined.log_prob(theta)
    own = amortised.log_prob(amortised.sample(jax.random.key(2), 200_000, X_O), X_O)
    least, less = jnp.quantile(own, jnp.array([1e-5, 1e-3]))
    assert np.all(np.isneginf(after[before < least]))
    assert np.all(np.isfinite(after[before > less]))


@pytest.mark.slow
def test_a_refined_posterior_is_saved_and_loaded(refined, tmp_path):
    assert_kept(refined, tmp_path)


def through_a_layer(rngs, example):
    """An embedding of the user's own, which is never stored."""
    return nnx.Sequential(lambda values, defined: values, nnx.Linear(2, 3, rngs=rngs))


OWN = jaxsbi.maf(layers=1, hidden=(16,), embedding=through_a_layer)


@pytest.mark.slow
@pytest.mark.parametrize(
    "guide", [OWN, jaxsbi.ensemble(jaxsbi.mdn(components=1, hidden=(16,)), members=2)]
)
def test_a_guide_may_be_any_density_and_is_loaded_with_its_code(guide, tmp_path):
    start = jaxsbi.infer(
        jax.random.key(7), noisy, PRIOR, simulations=300, estimator=guide, progress=False,
        training=jaxsbi.Training(anneal=5, max_epochs=8),
    )  # fmt: skip
    refined = infer("nle", noisy, PRIOR, X_O, start=start, simulations=500)
    assert_kept(refined, tmp_path, start=guide if guide is OWN else None)


def test_a_guide_s_estimator_that_nle_cannot_learn_is_told_before_any_simulation(amortised):
    start = replace(amortised, estimator=jaxsbi.mdn())
    with pytest.raises(ValueError, match=r"^estimator must be a flow .* \(start's own, since"):
        jaxsbi.infer(
            jax.random.key(0), noisy, PRIOR, X_O, algorithm=jaxsbi.nle(), start=start,
            progress=False,
        )  # fmt: skip


def test_trials_cannot_refine_a_posterior_of_single_observations(amortised):
    with pytest.raises(ValueError, match="trials must be False to refine"):
        infer("nle", noisy, PRIOR, X_O[None], algorithm=jaxsbi.nle(trials=True), start=amortised)


# --- oracles ------------------------------------------------------------------------------------


@pytest.mark.slow
@both
def test_trials_are_summed(method):
    """x_t ~ N(θ, 0.5²), t = 1 … 8, θ ~ N(0, 1): N(Σx / (8 + ¼), ¼ / (8 + ¼))."""
    prior = jaxsbi.gaussian([0.0], sd=[1.0])
    x_o = jnp.asarray(0.6 + SD * np.random.default_rng(1).standard_normal((8, 1)), jnp.float32)

    def simulate(key, theta):
        return theta + SD * jax.random.normal(key, (1,))

    algorithm = {"nle": jaxsbi.nle(trials=True), "nre": jaxsbi.nre(trials=True)}[method]
    posterior = infer(
        method, simulate, prior, x_o, algorithm=algorithm, simulations=10_000,
        training=jaxsbi.Training(),
    )  # fmt: skip
    theta = np.asarray(posterior.sample(jax.random.key(1), 4000))
    variance = SD**2 / (8 + SD**2)
    assert theta.mean() == pytest.approx(float(x_o.sum()) / (8 + SD**2), abs=0.06)
    assert theta.std() == pytest.approx(variance**0.5, rel=0.15)
    single = np.asarray(posterior.sample(jax.random.key(1), 2000, x=x_o[:1]))
    assert single.mean() == pytest.approx(0.8 * float(x_o[0, 0]), abs=0.06)
    assert posterior.sample(jax.random.key(1), 20, x=jnp.stack([x_o, x_o])).shape == (2, 20, 1)
    with pytest.raises(ValueError, match="axis of trials before the shape"):
        posterior.sample(jax.random.key(1), 20, x=x_o[0])


def partly(key, theta):
    """x = θ + noise, which fails with 1 − σ(3θ); x' = −θ + noise, defined with σ(−4θ)."""
    noise_a, noise_b, defined, valid = jax.random.split(key, 4)
    a = theta[0] + 0.4 * jax.random.normal(noise_a)
    b = -theta[0] + 0.4 * jax.random.normal(noise_b)
    b = jnp.where(jax.random.uniform(defined) < jax.nn.sigmoid(-4 * theta[0]), b, jnp.nan)
    x = jnp.stack([a, b])
    return jnp.where(jax.random.uniform(valid) < jax.nn.sigmoid(3 * theta[0]), x, jnp.nan)


@pytest.mark.slow
@both
def test_undefined_features_and_failures_count_as_the_grid_says(method):
    """Definedness and failure both depend on θ: each shifts the posterior by more than its sd/2."""
    prior = jaxsbi.box([-1.0], [1.0])
    posterior = infer(method, partly, prior, simulations=10_000, training=jaxsbi.Training())
    for x in ([0.1, -0.3], [0.1, np.nan]):

        def log_likelihood(theta, x=x):
            t, defined = theta[0], not np.isnan(x[1])
            total = jax.nn.log_sigmoid(3 * t) + jax.nn.log_sigmoid(-4 * t if defined else 4 * t)
            total += jax.scipy.stats.norm.logpdf(x[0], t, 0.4)
            return total + (jax.scipy.stats.norm.logpdf(x[1], -t, 0.4) if defined else 0.0)

        mean, sd = moments_of(reference.grid(log_likelihood, prior))
        theta = np.asarray(posterior.sample(jax.random.key(1), 5000, x=jnp.array(x)))
        np.testing.assert_allclose(theta.mean(axis=0), mean, atol=0.06)
        np.testing.assert_allclose(theta.std(axis=0), sd, rtol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nle"])
def test_a_posterior_piled_in_a_corner_after_three_rounds(method):
    """U[0, 1]² seen beyond a corner: mass within 1 % of the bounds as on the grid."""
    prior, x_o, sd = jaxsbi.box([0.0, 0.0], [1.0, 1.0]), jnp.array([-0.02, 1.01]), 0.02

    def simulate(key, theta):
        return theta + sd * jax.random.normal(key, (2,))

    posterior = infer(
        method, simulate, prior, x_o, rounds=3, simulations=2000, training=jaxsbi.Training()
    )
    grid = reference.grid(lambda theta: jnp.sum(jax.scipy.stats.norm.logpdf(x_o, theta, sd)), prior)
    theta = np.asarray(posterior.sample(jax.random.key(1), 10_000))
    assert np.all(prior.in_support(theta))
    exact, mass = np.asarray(grid.theta), np.asarray(grid.mass)
    for near in (lambda t: t[:, 0] < 0.01, lambda t: t[:, 1] > 0.99):
        assert abs(near(theta).mean() - mass[near(exact)].sum()) < 0.03
    with pytest.raises(ValueError, match="refined for its x_o alone"):
        posterior.sample(jax.random.key(1), 10, x=jnp.zeros(2))


def two_moons(key, theta):
    """Crescents at x = p(a, r) + (−|θ₁ + θ₂|, θ₂ − θ₁) / √2, a, r random."""
    key_angle, key_radius = jax.random.split(key)
    angle = jax.random.uniform(key_angle, minval=-np.pi / 2, maxval=np.pi / 2)
    radius = 0.1 + 0.01 * jax.random.normal(key_radius)
    p = jnp.stack([radius * jnp.cos(angle) + 0.25, radius * jnp.sin(angle)])
    return p + jnp.stack([-jnp.abs(theta[0] + theta[1]), theta[1] - theta[0]]) / 2**0.5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nle"])
def test_both_moons_weigh_the_same(method):
    """The posterior is symmetric under (θ₁, θ₂) → (−θ₂, −θ₁), up to the box: half in each moon."""
    prior = jaxsbi.box([-1.0, -1.0], [1.0, 1.0])
    posterior = jaxsbi.infer(
        jax.random.key(0), two_moons, prior, jnp.zeros(2), algorithm=METHODS[method],
        simulations=10_000, progress=False,
    )  # fmt: skip
    theta = np.asarray(posterior.sample(jax.random.key(1), 10_000))
    assert abs((theta.sum(axis=1) > 0).mean() - 0.5) < 0.05
    assert np.abs(theta.sum(axis=1)).min() > 0.05
    swapped = -theta[:, ::-1]
    np.testing.assert_allclose(swapped.mean(axis=0), theta.mean(axis=0), atol=0.03)


@pytest.mark.slow
def test_two_rounds_draw_from_the_posterior_of_the_first():
    """The second round's θ spread as the posterior does, and its training compiles nothing new."""
    seen = []

    def simulate(rng, theta):
        seen.append(np.array(theta))
        return (theta + SD * rng.standard_normal(2)).astype(np.float32)

    host = jaxsbi.host(simulate, output_shape=(2,))
    posterior = infer("nle", host, PRIOR, X_O, rounds=2, simulations=2000)
    second = np.asarray(seen)[-2000:]
    np.testing.assert_allclose(second.mean(axis=0), 0.8 * X_O, atol=0.1)
    np.testing.assert_allclose(second.std(axis=0), 0.2**0.5, rtol=0.15)
    assert not posterior.amortised
    assert posterior.history[1].used == 4000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: infer("nle", noisy, PRIOR, algorithm=jaxsbi.nle(trials=3)), "trials must be"),
        (lambda: jaxsbi.nre(atoms=0), "atoms must be an integer"),
        (lambda: jaxsbi.nre(odds=0.0), "odds must be a number above 0"),
        (
            lambda: jaxsbi.infer(
                jax.random.key(0), noisy, PRIOR, algorithm=jaxsbi.nle(), estimator=jaxsbi.mdn()
            ),
            "estimator must be a flow without an embedding",
        ),
        (
            lambda: infer("nle", noisy, PRIOR, X_O, algorithm=jaxsbi.nle(trials=True)),
            "x_o must have an axis of trials",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_blackjax_the_extra_is_named_before_any_simulation(monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    runs = []

    def simulate(rng, theta):
        runs.append(theta)
        return theta

    host = jaxsbi.host(simulate, output_shape=(2,))
    with pytest.raises(
        ImportError,
        match=r"blackjax is needed for chains, and not installed: pip install 'jaxsbi\[mcmc\]'",
    ):
        infer("nre", host, PRIOR, X_O)
    assert not runs


def test_the_core_does_not_import_blackjax():
    code = "import sys, jaxsbi, jaxsbi.reference; sys.exit('blackjax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
