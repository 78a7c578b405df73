"""SNPE-A: a mixture trained under a Gaussian proposal, which is then divided out.

Papamakarios & Murray 2016 (NeurIPS, arXiv:1605.06376).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import MixtureProposal, Proposal
from jaxsbi.dataset import Simulations
from jaxsbi.estimators import MDN
from jaxsbi.gaussians import Gaussians, no_wider_than_standard, quotient, standard
from jaxsbi.mixtures import Mixture
from jaxsbi.networks import Constant
from jaxsbi.priors import Prior
from jaxsbi.types import Data, Estimator, PRNGKey

SPREAD = 2.0
"""Variance of a proposal over that of the posterior so far. The wider the proposal, the less is
divided out, and the less an error of the mixture is magnified."""


class Corrected(nnx.Module):
    """q(z | x) p(z) / g(z), normalised, of a mixture q and a Gaussian g, with p = N(0, I)."""

    def __init__(self, mixture: Mixture, gaussian: Gaussians) -> None:
        self.mixture = mixture
        self.parts = nnx.List([Constant(leaf) for leaf in gaussian])

    def components(self, x: Data) -> Gaussians:
        """The mixture given x."""
        gaussian = Gaussians(*(part[...] for part in self.parts))
        return quotient(self.mixture.components(x), gaussian)[0]

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.components(x).log_prob(z)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x)."""
        return self.components(x).sample(key)


@dataclass(frozen=True)
class SNPEA(Algorithm):
    """What `snpe_a` returns. Its memory: the Gaussian under which the mixture is trained."""

    name: ClassVar[str] = "snpe_a"
    weighted: ClassVar[bool] = True

    def check(self, prior: Prior, estimator: Estimator, training: Any) -> None:
        if not isinstance(estimator, MDN):
            raise ValueError(
                f"estimator must be a mixture of Gaussians for snpe_a, got {estimator!r}; pass "
                "jaxsbi.mdn(), or use jaxsbi.apt() or jaxsbi.tsnpe()"
            )
        if not prior.gaussian:
            raise ValueError(
                "prior must have quantile functions, or be Gaussian, for the correction of snpe_a, "
                f"got {prior!r}; use jaxsbi.apt() or jaxsbi.tsnpe()"
            )

    def memory(
        self, conditional: nnx.Module, prior: Prior, x_o: Data | None, rounds: int
    ) -> Memory:
        return standard(1, prior.dim)

    def weights(
        self, memory: Memory, prior: Prior, simulations: Simulations
    ) -> Float[Array, " capacity"]:
        """Every round's rows, weighed as draws of the last proposal."""
        log_ratio = jax.vmap(memory.log_prob)(simulations.rows.z) - prior.log_prob_z(
            simulations.rows.z
        )
        valid = super().weights(memory, prior, simulations)
        return valid * jnp.exp(log_ratio - simulations.rows.log_proposal)

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        mean, covariance = quotient(conditional.components(x_o), memory)[0].moments()
        factor = jnp.linalg.cholesky(jnp.linalg.inv(SPREAD * covariance))
        gaussian = Gaussians(jnp.zeros(1), mean[None], factor[None])
        gaussian = no_wider_than_standard(gaussian)
        return gaussian, MixtureProposal(prior, gaussian)

    def density(self, conditional: nnx.Module, memory: Memory) -> nnx.Module:
        return Corrected(conditional, memory)

    def remark(self, conditional: nnx.Module, memory: Memory, x_o: Data | None) -> str | None:
        if x_o is None:
            return None
        mixture = conditional.components(x_o)
        corrected, lost = quotient(mixture, memory)
        if not bool(jnp.any(lost)):
            return None
        share = float(jnp.sum(jax.nn.softmax(corrected.logits) * lost))
        return (
            f"the correction of {int(jnp.sum(lost))} of {len(lost)} components, which hold "
            f"{100 * share:.0f} % of the posterior, leaves a covariance indefinite; along its "
            "offending axes the prior's precision stands in"
        )


def snpe_a() -> Algorithm:
    """Sequential posterior estimation: q(z | x_o) ∝ q̃(z | x_o) p(z)/p̃(z), q̃ a trained mixture.

    Later rounds draw from one Gaussian with the moments of the posterior so far, twice as wide but
    no wider than the prior; the rows of all rounds are weighed as its draws. For `mdn()` only.
    Where the correction would leave a covariance indefinite, the prior's precision stands in along
    the offending axes, and a warning says of how much of the posterior.

    Errors: `infer` and `fit` raise a ValueError for another density, and for a prior without
    quantile functions. Source: Papamakarios & Murray 2016 (NeurIPS, arXiv:1605.06376).
    """
    return SNPEA()
