"""TSNPE: draws of the prior inside the region that the posterior so far does not rule out.

Deistler, Gonçalves & Macke 2022 (NeurIPS, arXiv:2210.04815).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import Proposal
from jaxsbi.algorithms.regions import Region, Restricted
from jaxsbi.algorithms.truncation import TruncatedPrior
from jaxsbi.arguments import check_real
from jaxsbi.dataset import Simulations
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey


@dataclass(frozen=True)
class TSNPE(Algorithm):
    """What `tsnpe` returns. Its memory: the region, the intersection of every round's set."""

    epsilon: float = 1e-4
    name: ClassVar[str] = "tsnpe"
    refines: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def memory(
        self, conditional: nnx.Module, prior: Prior, x_o: Data | None, rounds: int
    ) -> Memory:
        return () if x_o is None else Region.empty(conditional, prior, x_o, rounds)

    def weights(
        self, memory: Memory, prior: Prior, simulations: Simulations
    ) -> Float[Array, " capacity"]:
        """The valid rows of any round inside the region, by p/p̃: there they are draws of p."""
        inside = jax.lax.map(memory.holds, simulations.rows.z, batch_size=1024)
        valid = super().weights(memory, prior, simulations)
        log_proposal = simulations.rows.log_proposal
        drawn = inside & jnp.isfinite(log_proposal)  # rounding may put a row outside its own set
        return jnp.where(drawn, valid * jnp.exp(-jnp.where(drawn, log_proposal, 0.0)), 0.0)

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        key_cut, key_inside = jax.random.split(key)
        region = memory.cut(key_cut, conditional, self.epsilon)
        return region, TruncatedPrior.inside(key_inside, prior, region)

    def density(self, conditional: nnx.Module, memory: Memory) -> nnx.Module:
        return conditional if memory == () else Restricted(conditional, memory)


def tsnpe(epsilon: float = 1e-4) -> Algorithm:
    """Sequential posterior estimation by truncation: argmin_q −E log q(z | x) over p(z) 1[z ∈ A].

    A is where log q(z | x_o) − log p(z) exceeds its ε-quantile under q(z | x_o), within the range
    of 10⁵ draws of it, and within the sets of all rounds before. Later rounds draw from the prior
    inside A by rejection; the ledger has the acceptance. Where that would be rare, some rows stand
    for more of the prior than others, and weigh more: the ledger has their effective number. All
    rows inside A are trained on. A draw of the posterior that falls outside A is drawn anew, a
    hundred times at most.

    epsilon: the posterior mass given up in each round, between 0 and 1.

    Errors: ValueError for another ε. Source: Deistler, Gonçalves & Macke 2022 (NeurIPS,
    arXiv:2210.04815).
    """
    return TSNPE(check_real("epsilon", epsilon, 0, 1))
