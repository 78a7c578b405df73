"""Draws of a density that is known up to a factor: importance sampling that adapts to it.

A mixture of Gaussians proposes; draws are weighed, and the next mixture is fitted to them
(population Monte Carlo; Cappé et al. 2004, J. Comput. Graph. Stat. 13:907). Chains cannot weigh
separate modes; this does, as long as some component begins near each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from jaxsbi.importance import weigh

WIDER, SHARE = 4.0, 0.2
"""Each component has a twin with so many times its covariance, and this share of its weight."""
LEAST_ESS = 20
"""Effective draws per coordinate to fit a mixture to: weights are tempered to have them."""
BATCH = 256  # densities computed at once

LogDensity = Callable[[Float[Array, " d"]], Float[Array, ""]]


class Mixture(NamedTuple):
    """Σ_k w_k N(m_k, C_k): weights (k,), means (k, d), covariances (k, d, d)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def safe(self) -> Mixture:
        """With the wider twins, so that no tail of the target is without draws."""
        return Mixture(
            np.concatenate([(1 - SHARE) * self.weights, SHARE * self.weights]),
            np.concatenate([self.means, self.means]),
            np.concatenate([self.covariances, WIDER * self.covariances]),
        )

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        chosen = rng.choice(len(self.weights), n, p=self.weights)
        steps = rng.standard_normal((n, self.means.shape[1], 1))
        return self.means[chosen] + (np.linalg.cholesky(self.covariances)[chosen] @ steps)[..., 0]

    def log_prob(self, z: np.ndarray) -> np.ndarray:
        each = zip(np.log(self.weights), self.means, self.covariances, strict=True)
        return logsumexp([w + multivariate_normal(m, c).logpdf(z) for w, m, c in each], axis=0)


class Exact(NamedTuple):
    """Draws z (n, d), none of them twice; of how many they were chosen, with which effective number
    and Pareto shape of the weights; log ∫ of the density."""

    z: np.ndarray
    proposed: int
    ess: float
    pareto_k: float
    log_evidence: float


def sample(
    key: jax.Array,
    log_density: LogDensity,
    start: Mixture,
    n: int,
    proposals: int,
    rounds: int = 4,
) -> Exact:
    """n draws, chosen by their weights among `proposals` of the last of `rounds` mixtures."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    density = jax.jit(lambda z: jax.lax.map(log_density, z, batch_size=BATCH))

    def proposed(mixture: Mixture, m: int) -> tuple[np.ndarray, np.ndarray]:
        z = mixture.sample(rng, m)
        return z, np.asarray(density(jnp.asarray(z, float)), float) - mixture.log_prob(z)

    mixture = start.safe
    for _ in range(rounds - 1):
        z, log_ratio = proposed(mixture, max(proposals // 4, 1))
        mixture = _fitted(rng, z, log_ratio, len(start.weights)).safe
    z, log_ratio = proposed(mixture, proposals)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws: they are counted, and told
        found = weigh(jnp.asarray(z), jnp.asarray(log_ratio))
    order = np.asarray(found.log_weights) + rng.gumbel(size=proposals)  # without replacement
    chosen = rng.permutation(np.argsort(-order)[:n])
    numbers = map(float, (found.ess, found.pareto_k, found.log_evidence))
    return Exact(z[chosen], proposals, *numbers)


def _fitted(rng: np.random.Generator, z: np.ndarray, log_ratio: np.ndarray, k: int) -> Mixture:
    from sklearn.mixture import GaussianMixture

    weights = _tempered(np.nan_to_num(log_ratio, nan=-np.inf), LEAST_ESS * z.shape[1])
    rows = z[rng.choice(len(z), len(z), p=weights)]
    seed = int(rng.integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that has not settled: it is only a proposal
        fit = GaussianMixture(k, reg_covar=1e-3, random_state=seed).fit(rows)
    return Mixture(fit.weights_ / fit.weights_.sum(), fit.means_, fit.covariances_)


def _tempered(log_ratio: np.ndarray, least: float) -> np.ndarray:
    """Weights ∝ e^{β log ratio}, β ≤ 1 the largest of a few that leave so many effective draws."""
    for power in 0.5 ** np.arange(12):
        weights = np.exp(power * (log_ratio - log_ratio.max()))
        weights /= weights.sum()
        if 1 / np.sum(weights**2) >= least:
            break
    return weights
