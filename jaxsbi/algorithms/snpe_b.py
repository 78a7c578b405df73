"""SNPE-B: importance weights make every round's rows draws of the prior.

Lueckmann et al. 2017 (NeurIPS, arXiv:1711.01861).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import AtObservation, Defensive, Proposal
from jaxsbi.arguments import check_real
from jaxsbi.dataset import Simulations
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey


@dataclass(frozen=True)
class SNPEB(Algorithm):
    """What `snpe_b` returns."""

    defensive: float = 0.2
    name: ClassVar[str] = "snpe_b"
    weighted: ClassVar[bool] = True

    def weights(
        self, memory: Memory, prior: Prior, simulations: Simulations
    ) -> Float[Array, " capacity"]:
        valid = super().weights(memory, prior, simulations)
        return valid * jnp.exp(-simulations.rows.log_proposal)

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        posterior = AtObservation.of(conditional, prior, x_o)
        return memory, Defensive(posterior, jnp.asarray(self.defensive))


def snpe_b(defensive: float = 0.2) -> Algorithm:
    """Sequential posterior estimation: argmin_q −E_p̃ [p(z)/p̃(z) log q(z | x)].

    Later rounds draw from (1 − a) q(z | x_o) + a p(z); p̃ is the mixture of all rounds' proposals,
    so that no weight exceeds all rounds' rows over the first's. The ledger has the effective
    sample size of the weights.

    defensive: the prior's share a, between 0 and 1.
    """
    return SNPEB(check_real("defensive", defensive, 0, 1))
