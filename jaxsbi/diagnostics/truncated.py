"""The joint p(θ) 1[θ ∈ A] p(x | θ) under a truncated prior, over which TSNPE is calibrated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxsbi.algorithms.proposals import pool
from jaxsbi.algorithms.regions import Region
from jaxsbi.algorithms.truncation import TruncatedPrior
from jaxsbi.arguments import check_count, check_key
from jaxsbi.diagnostics.rows import region_of
from jaxsbi.priors import Prior
from jaxsbi.simulation import predict
from jaxsbi.types import PRNGKey, Simulator

MOST_POOLS = 50


def truncated_joint(
    key: PRNGKey, posterior: Any, simulate: Simulator, n: int, *, batch: int | None = None
) -> tuple[Float[Array, "n d"], PyTree[Float[Array, "n ..."]]]:
    """(θ_i, x_i) ~ p(θ) 1[θ ∈ A] p(x | θ), i < n, A the region of a posterior by `tsnpe`.

    Over these rows that posterior is calibrated if it is right: hand them to `sbc`, `tarp` or
    `lc2st`. Failed simulations are left in, for those to leave out.
    """
    check_key(key)
    n = check_count("n", n)
    region = region_of(posterior)
    if region is None:
        raise ValueError(
            f"posterior must be one that jaxsbi.tsnpe() refined for its x_o, got {posterior!r}; "
            "rows for an amortised one are those of jaxsbi.simulate"
        )
    key_theta, key_x = jax.random.split(key)
    theta = posterior.prior.to_theta(_inside(key_theta, posterior.prior, region, n))
    return theta, predict(key_x, simulate, theta, batch=batch)


def _inside(key: PRNGKey, prior: Prior, region: Region, n: int) -> Float[Array, "n d"]:
    """z ~ p(z) 1[z ∈ A]: rows of the training's proposal, kept by how much they stand for."""
    key_judge, key_pool, key_kept = jax.random.split(key, 3)
    proposal = jax.jit(TruncatedPrior.inside)(key_judge, prior, region)
    z, log_weights = np.zeros((0, prior.dim)), np.zeros(0)
    for i in range(MOST_POOLS):
        more = pool(jax.random.fold_in(key_pool, i), proposal, n)
        found = more.z[: int(more.found)]
        z = np.concatenate([z, found])
        log_weights = np.concatenate([log_weights, -_log_ratio(proposal, found)])
        chance = np.asarray(jax.random.uniform(key_kept, (MOST_POOLS * n,)))[: len(z)]
        kept = np.log(chance) < log_weights - log_weights.max(initial=-np.inf)
        if kept.sum() >= n:
            return jnp.asarray(z[kept][:n], float)
    raise ValueError(
        f"n must be within reach: {int(kept.sum())} of {n} draws of the prior lie in the region, "
        f"after {MOST_POOLS * n:,} candidates; ask for fewer"
    )


@jax.jit
def _log_ratio(proposal: TruncatedPrior, z: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jax.lax.map(proposal.log_ratio, z, batch_size=1024)
