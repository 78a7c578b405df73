"""Importance weights: draws of one density made to stand for another, smoothed and judged."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsbi.arguments import check_count, check_key
from jaxsbi.extras import needed
from jaxsbi.types import PRNGKey

LEAST_ESS, FEW = 10.0, 0.01
"""Effective draws below which weights are refused; share of the draws below which they warn."""
HEAVY = 0.7
"""Pareto shape from which on sums of weights do not settle (Vehtari et al. 2024)."""


class Weighted(NamedTuple):
    """Draws θ (n, d) with log-weights (n,), normalised: Σ exp = 1.

    ess: effective sample size (Σ w)² / Σ w².
    pareto_k: shape of the weights' tail: below 0.5 good, above 0.7 not to be relied on.
    log_evidence: log of the mean raw weight, where both densities are normalised in θ.
    """

    theta: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    ess: Float[Array, ""]
    pareto_k: Float[Array, ""]
    log_evidence: Float[Array, ""]

    @property
    def weights(self) -> Float[Array, " n"]:
        """w_i, summing to one."""
        return jnp.exp(self.log_weights)

    def sample(self, key: PRNGKey, n: int) -> Float[Array, "n d"]:
        """n of the draws with replacement, by their weights."""
        check_key(key)
        check_count("n", n)
        return self.theta[jax.random.categorical(key, self.log_weights, shape=(n,))]


def weigh(theta: Float[Array, "n d"], log_ratio: Float[Array, " n"]) -> Weighted:
    """Draws of q with Pareto-smoothed weights ∝ p/q, given log p − log q of each.

    Warns where the weights are heavy-tailed or few draws count; raises ValueError where fewer than
    ten do. Vehtari, Simpson, Gelman, Yao & Gabry 2024 (JMLR 25:72).
    """
    log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
    lowest = jnp.min(log_ratio, where=jnp.isfinite(log_ratio), initial=jnp.inf)
    finite = jnp.maximum(log_ratio, jnp.where(jnp.isfinite(lowest), lowest, 0.0) - 50.0)
    diagnostics = needed("blackjax.diagnostics", "mcmc", "smoothed weights")
    smoothed, pareto_k = diagnostics.psis_weights(finite)
    log_weights = jax.nn.log_softmax(jnp.where(jnp.isneginf(log_ratio), -jnp.inf, smoothed))
    ess = jnp.exp(-jax.nn.logsumexp(2 * log_weights))
    evidence = jax.nn.logsumexp(log_ratio) - jnp.log(len(log_ratio))
    weighted = Weighted(theta, log_weights, ess, pareto_k, evidence)
    if not isinstance(ess, jax.core.Tracer):
        _judge(weighted)
    return weighted


def _judge(weighted: Weighted) -> None:
    n, ess, k = len(weighted.log_weights), float(weighted.ess), float(weighted.pareto_k)
    if not ess >= LEAST_ESS:
        raise ValueError(
            f"log_likelihood puts the mass where the posterior has next to no draws: {ess:.1f} of "
            f"{n} count; draw more (n=), train on more simulations, or use jaxsbi.reference.nuts"
        )
    if ess < FEW * n or k > HEAVY:
        warnings.warn(
            f"{ess:.0f} of {n} draws count after reweighting, with a Pareto shape of {k:.2f}: "
            "the weighted draws are not to be relied on where it exceeds 0.7",
            stacklevel=4,
        )
