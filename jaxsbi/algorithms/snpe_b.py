"""SNPE-B: importance weights make every round's rows draws of the posterior at their x.

Lueckmann et al. 2017 (NeurIPS, arXiv:1711.01861).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import AtObservation, Defensive, Proposal
from jaxsbi.arguments import check_real
from jaxsbi.dataset import Simulations
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey

DRAWS, TILE = 8, 1024


@dataclass(frozen=True)
class SNPEB(Algorithm):
    """What `snpe_b` returns. Its memory: the last round's density, as a proposal."""

    defensive: float = 0.2
    name: ClassVar[str] = "snpe_b"
    weighted: ClassVar[bool] = True

    def memory(
        self, conditional: nnx.Module, prior: Prior, x_o: Data | None, rounds: int
    ) -> Memory:
        return () if x_o is None else AtObservation.of(conditional, prior, x_o)

    def weights(
        self, memory: Memory, prior: Prior, simulations: Simulations
    ) -> Float[Array, " capacity"]:
        """p/p̃ of z, times p̃/p of x, of which an estimate will do: it is the same for all z."""
        valid = super().weights(memory, prior, simulations)
        rows = simulations.rows
        of_prior = jnp.sum(simulations.filled & (rows.round == 0)) / simulations.length
        of_prior += self.defensive * (1 - of_prior)
        q, proposal = memory.conditional, Defensive(memory, of_prior)

        def one(row: tuple[Array, Data]) -> Array:
            number, x = row
            keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), DRAWS)
            log_ratios = jax.vmap(lambda key: proposal.log_ratio(q.sample(key, x)))(keys)
            return jax.nn.logsumexp(log_ratios) - jnp.log(DRAWS)

        numbers = jnp.arange(simulations.capacity)
        of_x = jax.lax.map(one, (numbers, rows.x), batch_size=TILE)
        return valid * jnp.exp(jnp.where(valid > 0, of_x - rows.log_proposal, 0.0))

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        posterior = AtObservation.of(conditional, prior, x_o)
        return posterior, Defensive(posterior, jnp.asarray(self.defensive))


def snpe_b(defensive: float = 0.2) -> Algorithm:
    """Sequential posterior estimation: argmin_q −E_p̃ [p(z | x)/p̃(z | x) log q(z | x)].

    Later rounds draw from (1 − a) q(z | x_o) + a p(z); p̃ is the mixture of all rounds' proposals.
    The weights are p(z)/p̃(z) times p̃(x)/p(x), so that x counts as often as it was simulated, most
    of all near x_o; the latter ratio is estimated by draws of the last round's q(z | x), and any
    estimate leaves the posterior the optimum. The ledger has the weights' effective sample size.

    defensive: the prior's share a, between 0 and 1.

    Errors: ValueError for another share.
    """
    return SNPEB(check_real("defensive", defensive, 0, 1))
