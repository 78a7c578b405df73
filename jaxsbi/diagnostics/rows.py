"""Rows (θ, x) by which a posterior can be judged, and its draws beside them, block by block.

The rows are draws of p(θ) p(x | θ) that the posterior has to do with: those whose simulation
failed are left out, for it is the posterior of the accepted joint; so are those whose undefined
features form a pattern that no row of its training had, and those outside a truncated prior.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, PyTree

from jaxsbi.algorithms.regions import Region, Restricted
from jaxsbi.compilation import at_once
from jaxsbi.dataset import is_valid
from jaxsbi.observations import as_joint_rows, as_observation, is_served
from jaxsbi.posteriors import Posterior
from jaxsbi.types import PRNGKey

BLOCK = 50
"""Observations whose posteriors are sampled in one compiled call."""


class Rows(NamedTuple):
    """Rows to judge by, and how many were left out: of unknown patterns, outside the region."""

    theta: Float[Array, "n d"]
    x: PyTree[Float[Array, "n ..."]]
    unserved: int
    outside: int


def judged_rows(posterior: Any, theta: Any, x: Any) -> Rows:
    """The rows that the posterior can be judged by; a ValueError where there is none."""
    theta, x = as_joint_rows(theta, x, posterior.prior)
    theta, x = _of("failed simulations", np.asarray(is_valid(x)), theta, x)
    region, outside = region_of(posterior), 0
    if region is not None:
        inside = np.asarray(_holds(region, posterior.prior.to_z(theta)))
        if not inside.any():
            raise ValueError(
                f"theta must lie in the truncated prior, but none of {len(inside)} rows does: draw "
                "rows with jaxsbi.diagnostics.truncated_joint"
            )
        outside = int(np.sum(~inside))
        theta, x = jax.tree.map(itemgetter(np.flatnonzero(inside)), (theta, x))
    served = _served(posterior, x)
    if not served.any():
        raise ValueError(
            "x must hold rows whose undefined features some simulation trained on had too, got "
            f"none among {len(served)}; simulate them as the posterior's were"
        )
    theta, x = jax.tree.map(itemgetter(np.flatnonzero(served)), (theta, x))
    return Rows(theta, x, int(np.sum(~served)), outside)


def region_of(posterior: Any) -> Region | None:
    """The set to which the prior was truncated for this posterior, if it was."""
    if not isinstance(posterior, Posterior) or posterior.amortised:
        return None
    conditional = posterior.conditional
    return conditional.region if isinstance(conditional, Restricted) else None


def everywhere(posterior: Any) -> Any:
    """The posterior as one that answers for any x, as it was trained to, well or not."""
    return replace(posterior, amortised=True) if isinstance(posterior, Posterior) else posterior


class Beside(NamedTuple):
    """Some rows and posterior draws beside them, with the densities of both."""

    theta: Float[Array, "b d"]
    x: PyTree[Float[Array, "b ..."]]
    draws: Float[Array, "b s d"]
    log_prob_theta: Float[Array, " b"] | None
    log_prob_draws: Float[Array, "b s"] | None


def beside(
    key: PRNGKey,
    posterior: Any,
    rows: Rows,
    samples: int,
    statistic: Callable[[Beside], PyTree[Array]],
    densities: bool = False,
) -> PyTree[np.ndarray]:
    """statistic(rows and draws), jitted, of all rows, a block at a time: arrays (n, …).

    Row i's draws depend on the key and on i. Blocks are all of one size, so that one program
    serves; on CPU as many run at once as there are cores, unless they call LAPACK.
    """
    n = rows.theta.shape[0]
    padded = -(-n // BLOCK) * BLOCK
    index = np.arange(padded) % n

    def found(key: PRNGKey, theta: Array, x: PyTree) -> PyTree[Array]:
        if not densities:
            return statistic(Beside(theta, x, posterior.sample(key, samples, x), None, None))
        if hasattr(posterior, "sample_and_log_prob"):
            draws, log_prob = posterior.sample_and_log_prob(key, samples, x)
            at_theta = posterior.log_prob(theta[:, None], x)[:, 0]
            return statistic(Beside(theta, x, draws, at_theta, log_prob))
        draws = posterior.sample(key, samples, x)
        both = posterior.log_prob(jnp.concatenate([theta[:, None], draws], axis=1), x)
        return statistic(Beside(theta, x, draws, both[:, 0], both[:, 1:]))

    def block(first: int) -> tuple[PRNGKey, Array, PyTree]:
        theta, x = jax.tree.map(itemgetter(index[first : first + BLOCK]), (rows.theta, rows.x))
        return jax.random.fold_in(key, first), theta, x

    def done(first: int) -> PyTree[np.ndarray]:
        return jax.tree.map(np.asarray, found(*block(first)))

    threads = at_once(Partial(found), *block(0)) if padded > BLOCK else 1
    with ThreadPoolExecutor(threads) as pool:
        parts = [done(0), *pool.map(done, range(BLOCK, padded, BLOCK))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:n], *parts)


def left_out(unserved: int, outside: int, kept: int) -> str:
    """What a verdict adds where rows were left out: a clause, or nothing."""
    n, clauses = kept + unserved + outside, []
    if outside:
        clauses.append(f"{outside:,} of {n:,} rows are left out, outside the truncated prior")
    if unserved:
        clauses.append(
            f"{unserved:,} of {n:,} rows are left out, their features undefined in a pattern "
            "never seen in training"
        )
    return "".join(f"; {clause}" for clause in clauses)


def _of(what: str, kept: Bool[np.ndarray, " n"], theta: Array, x: PyTree) -> tuple[Array, PyTree]:
    if not kept.any():
        raise ValueError(f"x must hold at least one valid row, got only {what}")
    return jax.tree.map(itemgetter(np.flatnonzero(kept)), (theta, x))


@jax.jit
def _holds(region: Region, z: Float[Array, "n d"]) -> Bool[Array, " n"]:
    return jax.lax.map(region.holds, z, batch_size=1024)


def _served(posterior: Any, x: PyTree) -> Bool[np.ndarray, " n"]:
    """Rows whose undefined features the posterior can be asked about."""
    if not isinstance(posterior, Posterior) or posterior.masks is None:
        return np.ones(jax.tree.leaves(x)[0].shape[0], bool)
    like = posterior.moments.location
    x, _ = as_observation("x", x, like, trials=posterior.algorithm.trials)
    return is_served(x, like, posterior.masks)
