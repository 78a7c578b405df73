"""Sequential algorithms against oracles: closed form, grid, enumeration under failures."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import jaxsbi
from benchmarks._exact import CASES, MIXTURE, PROBLEMS, reach
from jaxsbi.algorithms import truncation
from jaxsbi.algorithms.proposals import AtObservation, Defensive, PriorProposal, pool
from jaxsbi.algorithms.regions import Region, Restricted
from jaxsbi.algorithms.truncation import TruncatedPrior, log_normal_mass, truncated_normal
from jaxsbi.collecting import new_rows
from jaxsbi.dataset import append, empty
from jaxsbi.gaussians import Gaussians


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("case", CASES)
def test_three_rounds_reach_the_exact_posterior(case, problem, request):
    """Both classifiers below 0.55; in the corner, the mass within 1 % of each bound within .02.

    There that is the goal, which they reach with most keys: see `benchmarks/corner.py`.
    """
    if problem == "corner":
        missed = ".03 at a bound with some keys"
        request.applymarker(pytest.mark.xfail(reason=missed, strict=False))
    reached = reach(problem, case, seed=1)
    assert reached.c2st.worst < 0.55, reached.c2st
    if problem == "corner":
        assert np.all(np.abs(reached.off) < 0.02), reached.off


class Table(nnx.Module):
    """q(z | x), x one of two outcomes, constant in θ ~ U(0, 1) on each half."""

    def __init__(self):
        self.logits = nnx.Param(jnp.zeros((2, 2)))

    def log_prob(self, z, x):
        half = (z[0] > 0).astype(int)
        log_share = jax.nn.log_softmax(self.logits[...][x[0].astype(int)])[half]
        return log_share + jnp.log(2.0) + jax.scipy.stats.norm.logpdf(z[0])

    def sample(self, key, x):
        key_half, key_z = jax.random.split(key)
        half = jax.random.categorical(key_half, self.logits[...][x[0].astype(int)])
        size = jnp.abs(jax.random.normal(key_z, (1,)))
        return jnp.where(half == 1, size, -size)


@dataclass(frozen=True)
class Tabular:
    """An estimator that holds the posterior of the problem below exactly."""

    def init(self, key, dim, moments):
        return Table()

    def spec(self):
        return {"name": "tabular"}


P_ONE, P_VALID = np.array([0.3, 0.6]), np.array([0.25, 0.95])
"""p(x = 1 | half of θ) and p(valid | half of θ)."""


def failing(key, theta):
    """x in {0, 1} by the half in which θ lies; it fails by the half, too."""
    key_x, key_valid = jax.random.split(key)
    half = (theta > 0.5).astype(int)
    x = jax.random.bernoulli(key_x, jnp.asarray(P_ONE)[half]).astype(float)
    return jnp.where(jax.random.bernoulli(key_valid, jnp.asarray(P_VALID)[half]), x, jnp.nan)


@pytest.mark.parametrize(
    "case", [*(pytest.param(c, marks=pytest.mark.slow)
               for c in ("apt-mixture", "snpe_a", "npe", "nre")),
             "apt", "snpe_b", "tsnpe"],
)  # fmt: skip
def test_failures_that_depend_on_theta_leave_the_posterior_right(case):
    """p(half | x = 1, valid) by enumeration, .884; contrasts of valid rows only would give .68.

    A likelihood of smooth networks of z has no such step; for it see the grid of
    `test_likelihood_methods.test_undefined_features_and_failures_count_as_the_grid_says`.
    """
    algorithm = jaxsbi.apt if case == "apt-mixture" else getattr(jaxsbi, case)
    exact = P_ONE * P_VALID / np.sum(P_ONE * P_VALID)
    estimator = {"apt-mixture": MIXTURE, "snpe_a": MIXTURE, "nre": SMALL_FLOW}
    posterior = jaxsbi.infer(
        jax.random.key(0), failing, jaxsbi.box([0.0], [1.0]), jnp.ones(1), algorithm=algorithm(),
        rounds=3, simulations=6000, estimator=estimator.get(case, Tabular()), progress=False,
    )  # fmt: skip
    share = np.mean(np.asarray(posterior.sample(jax.random.key(1), 40_000)) > 0.5)
    assert abs(share - exact[1]) < 0.03, share


def test_a_correction_that_leaves_a_covariance_indefinite_is_remarked_on():
    """q̃ as wide as the prior, trained under a proposal of a third of its sd: 1 − 9 + 1 < 0."""
    x_o, wide = jnp.zeros(1), Gaussians(jnp.zeros(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    conditional = SimpleNamespace(components=lambda x: wide)
    narrow = Gaussians(jnp.zeros(1), jnp.zeros((1, 2)), 3 * jnp.eye(2)[None])
    told = jaxsbi.snpe_a().remark(conditional, narrow, x_o)
    assert told.startswith("the correction of 1 of 1 components, which hold 100 % of the posterior")
    assert jaxsbi.snpe_a().remark(conditional, wide, x_o) is None


class Conjugate(nnx.Module):
    """The posterior of x ~ N(z, 0.3²), exactly: N(0.92 x, 0.29²)."""

    def __init__(self):
        self.precision = nnx.Param(jnp.asarray(1 + 1 / 0.09))

    def law(self, x):
        return x / 0.09 / self.precision[...], self.precision[...] ** -0.5

    def log_prob(self, z, x):
        return jnp.sum(jax.scipy.stats.norm.logpdf(z, *self.law(x)))

    def sample(self, key, x):
        mean, sd = self.law(x)
        return mean + sd * jax.random.normal(key, (1,))


def test_rows_are_weighed_by_the_posterior_over_that_of_the_proposal():
    """w = p(z)/p̃(z) · p̃(x)/p(x), known here: 1 on average, near x_o too."""
    prior, x_o, n = jaxsbi.gaussian([0.0], sd=[1.0]), jnp.array([2.5]), 4000
    algorithm = jaxsbi.snpe_b(defensive=0.2)
    memory = algorithm.memory(Conjugate(), prior, x_o, 2)
    memory, proposal = algorithm.propose(jax.random.key(0), Conjugate(), memory, prior, x_o)
    z = jnp.concatenate([
        jax.random.normal(jax.random.key(1), (n, 1)), pool(jax.random.key(2), proposal, n).z
    ])  # fmt: skip
    x = z + 0.3 * jax.random.normal(jax.random.key(3), z.shape)
    log_proposal = jax.vmap(lambda z: jnp.logaddexp(0.0, proposal.log_ratio(z)) - jnp.log(2.0))(z)
    rows = [new_rows(prior, prior.to_theta(part), x_, r) for r, part, x_ in (
        (jnp.asarray(0), z[:n], x[:n]), (jnp.asarray(1), z[n:], x[n:])
    )]  # fmt: skip
    buffer = empty(2 * n, 1, jax.ShapeDtypeStruct((1,), x.dtype))
    for part in rows:
        buffer = append(buffer, part, 0.1)
    buffer = buffer._replace(rows=buffer.rows._replace(log_proposal=log_proposal))
    weights = np.asarray(algorithm.weights(memory, prior, buffer), float)
    mean, sd = map(float, Conjugate().law(x_o[0]))
    narrow = stats.norm.pdf(x[:, 0], mean, np.hypot(sd, 0.3))
    of_x = 0.6 + 0.4 * narrow / stats.norm.pdf(x[:, 0], 0, np.hypot(1, 0.3))
    exact = np.exp(-np.asarray(log_proposal, float)) * of_x
    np.testing.assert_allclose(np.mean(weights / exact), 1.0, atol=0.02)
    assert np.std(np.log(weights / exact)) < 0.3

    near = np.abs(np.asarray(x)[:, 0] - 2.5) < 0.3
    assert 0.8 < weights[near].mean() < 1.2  # near x_o a row counts as elsewhere
    assert np.exp(-log_proposal)[near].mean() < 0.3


BOX = jaxsbi.box([-1.0, -1.0], [1.0, 1.0])
QUICK = jaxsbi.Training(max_epochs=3, anneal=1)
SMALL = jaxsbi.mdn(components=2, hidden=(8,))
SMALL_FLOW = jaxsbi.maf(layers=1, hidden=(8,))
X_O = jnp.array([0.5, 0.2])


def shift(key, theta):
    """x ~ N(θ, 0.1² I)."""
    return theta + 0.1 * jax.random.normal(key, theta.shape)


def quick(algorithm, estimator=SMALL, simulate=shift, **options):
    options = {"rounds": 2, "simulations": 400, "x_o": X_O} | options
    return jaxsbi.infer(
        jax.random.key(0), simulate, BOX, algorithm=algorithm, estimator=estimator,
        training=QUICK, progress=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def truncated():
    return quick(jaxsbi.tsnpe(epsilon=0.01), rounds=3)


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(jaxsbi.snpe_a(), marks=pytest.mark.slow), jaxsbi.tsnpe(epsilon=0.01)],
    ids=str,
)
def test_what_corrects_a_density_is_saved_with_it(algorithm, truncated, tmp_path):
    posterior = truncated if algorithm.name == "tsnpe" else quick(algorithm)
    posterior.save(tmp_path / "p")
    again = jaxsbi.load(tmp_path / "p")
    theta = posterior.sample(jax.random.key(2), 50)
    np.testing.assert_array_equal(again.sample(jax.random.key(2), 50), theta)
    np.testing.assert_array_equal(again.log_prob(theta), posterior.log_prob(theta))
    assert again.algorithm == algorithm


def test_a_truncated_posterior_is_normalised_over_nested_sets(truncated):
    side = (np.arange(400) + 0.5) / 200 - 1
    grid = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    log_density = truncated.log_prob(grid)
    np.testing.assert_allclose(jnp.exp(log_density).sum() / 200**2, 1.0, atol=0.02)
    region = truncated.conditional.region
    z = BOX.to_z(grid)
    inside = jax.vmap(region.holds)(z)
    assert int(region.count) == 2
    assert not np.any(np.isfinite(log_density) & ~inside)
    first = jax.vmap(replace(region, count=jnp.asarray(1)).holds)(z)
    assert not np.any(inside & ~first)
    assert 0 < inside.mean() <= first.mean() < 1
    theta = truncated.sample(jax.random.key(0), 2000)
    assert np.all(jax.vmap(region.holds)(BOX.to_z(theta)))


def test_a_truncated_proposal_is_the_prior_inside_its_set():
    """q = N(0, ½) in z: a set |z| ≤ a, in which draws of the proposal follow the prior."""

    class Narrow(nnx.Module):
        def __init__(self):
            self.scale = nnx.Param(jnp.asarray(0.5))

        def log_prob(self, z, x):
            return jnp.sum(jax.scipy.stats.norm.logpdf(z, scale=self.scale[...]))

        def sample(self, key, x):
            return self.scale[...] * jax.random.normal(key, (1,))

    prior = jaxsbi.box([0.0], [1.0])
    region = Region.empty(Narrow(), prior, jnp.zeros(1), 2).cut(jax.random.key(0), Narrow(), 0.1)
    z, found, _ = pool(
        jax.random.key(1), TruncatedPrior.inside(jax.random.key(2), prior, region), 20_000
    )
    assert found == 20_000
    end = 0.5 * stats.norm.ppf(0.95)
    assert np.max(np.abs(z)) < 1.02 * end
    law = stats.truncnorm(-end, end)
    assert stats.kstest(np.asarray(z)[:, 0], law.cdf).pvalue > 1e-3
    q = Restricted(Narrow(), region)
    np.testing.assert_allclose(float(q.log_mass[...]), np.log(0.9), atol=0.02)


def test_a_narrow_flow_draws_the_prior_inside_its_set_from_its_ball(monkeypatch):
    """z = m + 0.1 sinh u: the ball meets the set more often than the box does, and what is kept of
    it, weighed by p/p̃, is the prior there, as the box's draws are; acceptance tells its mass."""

    class Narrow(nnx.Module):
        def __init__(self):
            self.mean = nnx.Param(jnp.array([1.0, -1.5, 0.5]))

        def push(self, u, x):
            return self.mean[...] + 0.1 * jnp.sinh(u), jnp.sum(jnp.log(0.1 * jnp.cosh(u)))

        def pull(self, z, x):
            u = jnp.arcsinh((z - self.mean[...]) / 0.1)
            return u, -self.push(u, x)[1]

        def log_prob(self, z, x):
            u, log_det = self.pull(z, x)
            return jnp.sum(jax.scipy.stats.norm.logpdf(u)) + log_det

        def sample(self, key, x):
            return self.push(jax.random.normal(key, (3,)), x)[0]

    prior = jaxsbi.box([0.0] * 3, [1.0] * 3)
    region = Region.empty(Narrow(), prior, jnp.zeros(1), 2)
    region = jax.jit(lambda key: region.cut(key, Narrow(), 0.01))(jax.random.key(0))
    monkeypatch.setattr(truncation, "ACCEPTANCE", 0.3)
    proposal = TruncatedPrior.inside(jax.random.key(3), prior, region)
    assert proposal.by_ball
    z, found, share = pool(jax.random.key(1), proposal, 20_000)
    assert found == 20_000 and share > 0.27 and np.all(jax.vmap(region.holds)(z))
    weights = np.exp(-np.asarray(jax.vmap(proposal.log_ratio)(z), float))
    assert weights.max() > 1.5 * weights.min()  # some are kept less often than others
    boxed = jax.vmap(proposal.from_box)(jax.random.split(jax.random.key(2), 400_000))
    inside = np.asarray(boxed)[np.asarray(jax.vmap(region.holds)(boxed))]
    assert 2000 < len(inside) < 400_000 * share
    log_mass = np.log(len(inside) / 400_000) + float(proposal.log_mass_of_box)
    np.testing.assert_allclose(np.log(float(share) * weights.mean()), log_mass, atol=0.1)
    chosen = np.random.default_rng(0).choice(len(z), 4000, p=weights / weights.sum())
    for axis in range(3):
        assert stats.ks_2samp(np.asarray(z)[chosen, axis], inside[:, axis]).pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (3.0, 4.5), (7.0, 8.0), (-5.0, -4.0)])
def test_truncated_normals_follow_their_law_in_both_tails(low, high):
    ends = jnp.full((20_000,), low), jnp.full((20_000,), high)
    u = np.asarray(truncated_normal(jax.random.key(0), *ends), float)
    assert stats.kstest(u, stats.truncnorm(low, high).cdf).pvalue > 1e-3
    first, second = sorted([-abs(low), -abs(high)]) if low * high > 0 else (low, high)
    mass = np.log(stats.norm.cdf(second) - stats.norm.cdf(first))
    np.testing.assert_allclose(log_normal_mass(ends[0][0], ends[1][0]), mass, rtol=1e-5)


@pytest.mark.slow
def test_a_defensive_proposal_is_the_mixture_that_it_is_drawn_from():
    """E_g f = E_p [f g/p], for f the squared length."""
    density = SMALL.init(jax.random.key(0), 2, quick(jaxsbi.npe(), rounds=1).moments)
    base = AtObservation.of(density, BOX, X_O)
    proposal = Defensive(base, jnp.asarray(0.3))
    keys = jax.random.split(jax.random.key(1), 50_000)
    z = jax.vmap(proposal.sample)(keys)
    from_prior = jax.vmap(PriorProposal(BOX).sample)(keys)
    ratio = jnp.exp(jax.vmap(proposal.log_ratio)(from_prior))
    np.testing.assert_allclose(jnp.mean(ratio), 1.0, atol=0.03)
    weighed = jnp.mean(ratio * jnp.sum(from_prior**2, axis=1))
    np.testing.assert_allclose(jnp.mean(jnp.sum(z**2, axis=1)), weighed, rtol=0.05)
