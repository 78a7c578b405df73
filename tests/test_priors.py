"""Laws of priors: θ ↔ z inverts, its Jacobian is autodiff's, p(z) = N(0, I), masks survive jit."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from jaxsbi import Prior, box, gaussian

PRIORS = {
    "box": box([0.5, -100.0, 1e-4], [80.0, -35.0, 0.6]),
    "gaussian": gaussian([1.0, -2.0], precision=[[2.0, 0.5], [0.5, 1.0]]),
    "diagonal": gaussian([0.0, 5.0], sd=[0.1, 3.0]),
    "lognormal": Prior(dist.LogNormal(jnp.log(jnp.array([0.4, 0.125])), jnp.array([0.5, 0.2]))),
    "loguniform": Prior({"g": dist.LogUniform(1e-8, 1e-3), "e": dist.Uniform(-3.0, 3.0)}),
    "mixed": Prior({"a": dist.Normal(0, 2), "b": dist.Exponential(3.0), "c": dist.Laplace(1, 2)}),
    "no quantiles": Prior({"tau": dist.Gamma(2.0, 3.0), "p": dist.Beta(2.0, 3.0)}),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in ("mixed", "no quantiles") else ())
        for name in PRIORS
    ]
)
def prior(request):
    return PRIORS[request.param]


def test_theta_to_z_and_back_is_the_identity(prior):
    theta = prior.sample(jax.random.key(0), 1000)
    again = prior.to_theta(prior.to_z(theta))
    scale = np.asarray(theta).std(axis=0)
    assert np.max(np.abs(again - theta) / scale) < 1e-5


def test_log_jacobian_is_that_of_autodiff(prior):
    theta = prior.sample(jax.random.key(1), 200)
    expected = jax.vmap(lambda t: jnp.linalg.slogdet(jax.jacfwd(prior.to_z)(t))[1])(theta)
    np.testing.assert_allclose(prior.log_jacobian(theta), expected, rtol=1e-4, atol=1e-4)


def test_gradients_do_not_vanish_at_the_median():
    prior = PRIORS["box"]
    middle = (prior.bounds[0] + prior.bounds[1]) / 2
    slope = jnp.diagonal(jax.jacfwd(prior.to_z)(middle))
    np.testing.assert_allclose(
        slope, np.sqrt(2 * np.pi) / (prior.bounds[1] - prior.bounds[0]), rtol=1e-5
    )


def test_samples_are_standard_normal_in_z_where_quantiles_exist(prior):
    if not prior.gaussian:
        assert "tau" in prior.names
        return
    z = np.asarray(prior.to_z(prior.sample(jax.random.key(2), 20_000)))
    p = [stats.kstest(column, "norm").pvalue for column in z.T]
    assert min(p) > 1e-3 / len(p)
    assert np.max(np.abs(np.corrcoef(z.T) - np.eye(prior.dim))) < 0.03


def test_density_is_numpyros_inside_and_zero_outside_even_as_a_jit_argument(prior):
    log_prob = jax.jit(lambda prior, theta: prior.log_prob(theta))
    theta = prior.sample(jax.random.key(3), 50)
    parts = zip(prior.components, prior._split(theta), strict=True)
    expected = sum(component.log_prob(part) for component, part in parts)
    np.testing.assert_allclose(log_prob(prior, theta), expected, rtol=1e-5, atol=1e-5)
    low, high = prior.bounds
    beyond = jnp.where(jnp.isfinite(high), high + 1e-3 * jnp.abs(high), theta[0])
    if jnp.any(jnp.isfinite(high)):
        assert np.isneginf(log_prob(prior, beyond))


@pytest.mark.parametrize(
    ("name", "positive"), [("lognormal", 1), ("loguniform", 0), ("mixed", 1), ("no quantiles", 0)]
)
def test_what_must_be_positive_is_never_negative_even_as_a_jit_argument(name, positive):
    prior = PRIORS[name]
    theta = prior.sample(jax.random.key(3))
    log_prob = jax.jit(lambda prior, theta: prior.log_prob(theta))
    assert np.isfinite(log_prob(prior, theta))
    assert np.isneginf(log_prob(prior, theta.at[positive].multiply(-1)))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.5, 80.0), (-100.0, -35.0)])
@pytest.mark.parametrize("side", ["low", "high"])
def test_both_tails_are_mapped_with_the_same_accuracy(low, high, side):
    """z and its Jacobian against float64, from the middle to 10⁻⁴ of the range from either bound.

    θ itself is a float32, so its exact distance from the bound is taken as given.
    """
    prior = box([low], [high])
    share = np.logspace(-4, np.log10(0.5), 300)
    theta = np.float32(low + share * (high - low) if side == "low" else high - share * (high - low))
    exact_share = np.abs(theta.astype(np.float64) - (low if side == "low" else high)) / (high - low)
    z_exact = stats.norm.ppf(exact_share) * (1 if side == "low" else -1)
    z = np.asarray(prior.to_z(theta[:, None]))[:, 0]
    np.testing.assert_allclose(z, z_exact, atol=1e-5)
    jacobian = -np.log(high - low) - stats.norm.logpdf(z_exact)
    np.testing.assert_allclose(prior.log_jacobian(theta[:, None]), jacobian, atol=1e-5, rtol=0)
    again = np.asarray(prior.to_theta(z[:, None]))[:, 0]
    assert np.all(
        np.abs(again - theta) <= 1e-5 * exact_share * (high - low) + np.spacing(np.abs(theta))
    )


def test_bounds_themselves_have_finite_coordinates_and_densities():
    prior = PRIORS["box"]
    edges = jnp.stack(prior.bounds)
    assert np.all(np.isfinite(prior.to_z(edges)))
    assert np.all(np.isfinite(prior.log_jacobian(edges)))
    far = prior.to_theta(jnp.array([[-40.0] * 3, [40.0] * 3]))
    assert np.all(prior.in_support(far))


def test_log_prob_has_finite_gradients_outside_the_support():
    prior = PRIORS["lognormal"]
    assert np.all(np.isfinite(jax.grad(prior.log_prob)(jnp.array([-1.0, 1.0]))))


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: box([0, 0], [1]), "low and high"),
        (lambda: box([0, 3], [1, 2]), "low must lie below high .* parameter 1"),
        (lambda: box([1.0], [1 + 1e-9]), "low must lie below high .* in float32"),
        (lambda: box([1.0], [1e300]), "high must be finite in float32"),
        (lambda: box([-3e38], [3e38]), "by a finite range in float32"),
        (lambda: jax.jit(lambda: box([1.0], [0.0]).bounds)(), "low must lie below high"),
        (lambda: Prior(dist.Uniform(1.0, 0.0)), "low must lie below high"),
        (lambda: Prior({"g": dist.LogUniform(1.0, 0.1)}), r"parameter 0 \(g\)"),
        (lambda: box([0, np.nan], [1, 2]), "low must be finite"),
        (lambda: box([0, 0], [1, np.inf]), "high must be finite"),
        (lambda: box("ab", [1, 2]), "low must be numbers"),
        (lambda: box(3.0), "low must be a sequence of parameters"),
        (lambda: box([0, 0], [1, 1], names=["a"]), "names must be 2 strings"),
        (lambda: box([0, 0], [1, 1], names="ab"), "names must be 2 strings"),
        (lambda: box([0, 0], [1, 1], names=3), "names must be 2 strings"),
        (lambda: box([0, 0], [1, 1], units=5), "units must be 2 strings"),
        (lambda: box([0, 0], [1, 1], names=["a", "a"]), "names must differ"),
        (lambda: gaussian([0, 0]), "exactly one of sd, covariance, precision"),
        (lambda: gaussian([0, 0], sd=[1, -1]), "sd must be 2 positive"),
        (lambda: gaussian([0, 0], covariance=[[1, 2], [2, 1]]), "covariance must be positive"),
        (lambda: gaussian([0, 0], covariance=[[1, 2], [0, 1]]), "covariance must be symmetric"),
        (lambda: gaussian([0, 0], precision=[[1, 2]]), "precision must be a finite"),
        (lambda: Prior(lambda key: key), "distribution must be a numpyro distribution"),
        (lambda: Prior(dist.Uniform(jnp.zeros((2, 2)), 1)), "distribution must be over vectors"),
        (lambda: Prior(dist.Dirichlet(jnp.ones(3))), "as many free dimensions"),
    ],
)
def test_bad_priors_are_refused_in_one_line(build, names):
    with pytest.raises(ValueError, match=names) as error:
        build()
    assert "\n" not in str(error.value)
