"""Draws of a density known up to a factor: shares of modes, moments and evidence are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments import exact

MEANS = np.array([[-3.0, 0.0, 0.0], [3.0, 0.0, 1.0]])
SDS, SHARES, FACTOR = np.array([0.5, 1.0]), np.array([0.3, 0.7]), 2.5


def log_density(z):
    """2.5 (0.3 N(m₁, 0.5² I) + 0.7 N(m₂, I))."""
    each = [
        jnp.log(share) + jnp.sum(jax.scipy.stats.norm.logpdf(z, mean, sd))
        for mean, sd, share in zip(MEANS, SDS, SHARES, strict=True)
    ]
    return jnp.log(FACTOR) + jax.nn.logsumexp(jnp.stack(each))


@pytest.fixture(scope="module")
def found():
    """From starts that are near the modes, but neither there nor of their widths or shares."""
    start = exact.Mixture(np.full(2, 0.5), MEANS + 0.5, np.stack([0.3 * np.eye(3)] * 2))
    return exact.sample(jax.random.key(0), log_density, start, 4000, 20_000)


def test_separate_modes_have_their_shares(found):
    share = np.mean(found.z[:, 0] < 0)
    assert share == pytest.approx(SHARES[0], abs=4 * np.sqrt(0.21 / 4000))
    for side, mean, sd in zip((found.z[:, 0] < 0, found.z[:, 0] > 0), MEANS, SDS, strict=True):
        for column, centre in zip(found.z[side].T, mean, strict=True):
            assert stats.kstest(column, "norm", (centre, sd)).pvalue > 1e-3


def test_the_evidence_is_the_integral(found):
    assert found.log_evidence == pytest.approx(np.log(FACTOR), abs=0.02)


def test_no_draw_comes_twice_and_their_worth_is_told(found):
    assert len(np.unique(found.z, axis=0)) == len(found.z) == 4000
    assert found.ess > 0.5 * found.proposed
    assert found.pareto_k < 0.5
