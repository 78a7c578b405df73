"""Losses: per-row training objectives of conditional densities, pure functions of a minibatch."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int

from jaxsbi.dataset import Simulations
from jaxsbi.types import Conditional, PRNGKey


def negative_log_likelihood(
    key: PRNGKey,
    conditional: Conditional,
    index: Int[Array, " batch"],
    simulations: Simulations,
) -> Float[Array, " batch"]:
    """−log q(z | x): its mean over p(z, x) is smallest where q is the posterior of z."""
    rows = simulations.take(index)
    return -jax.vmap(conditional.log_prob)(rows.z, rows.x)
