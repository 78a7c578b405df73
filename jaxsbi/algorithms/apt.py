"""APT, also SNPE-C: the posterior itself, trained on rows of any proposal.

Greenberg, Nonnenmacher & Macke 2019 (arXiv:1905.07488).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.tree_util import Partial

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import AtObservation, MixtureProposal, Proposal
from jaxsbi.arguments import check_count
from jaxsbi.ensembles import member_of
from jaxsbi.estimators import FlowMatching
from jaxsbi.gaussians import no_wider_than_standard, standard
from jaxsbi.losses import Atomic, proposal_posterior
from jaxsbi.mixtures import Mixture
from jaxsbi.priors import Prior
from jaxsbi.types import Data, Estimator, Loss, PRNGKey


@dataclass(frozen=True)
class APT(Algorithm):
    """What `apt` returns. Its memory: the last round's density, as a proposal; for mixtures every
    round's proposal, and the number of the last."""

    atoms: int = 10
    name: ClassVar[str] = "apt"
    weighted: ClassVar[bool] = True

    def check(self, prior: Prior, estimator: Estimator, training: Any) -> None:
        if isinstance(member_of(estimator), FlowMatching):
            raise ValueError(
                "estimator must have a density that is cheap to train on for apt, such as "
                f"jaxsbi.nsf(), got {estimator!r}; keep it with jaxsbi.tsnpe() or jaxsbi.snpe_b()"
            )
        if self.atoms > training.batch_size:
            raise ValueError(
                f"atoms must be at most the training's batch_size, {training.batch_size}, got "
                f"{self.atoms}; lower atoms or raise batch_size"
            )

    def memory(
        self, conditional: nnx.Module, prior: Prior, x_o: Data | None, rounds: int
    ) -> Memory:
        if not (isinstance(conditional, Mixture) and prior.gaussian):
            return () if x_o is None else AtObservation.of(conditional, prior, x_o)
        one = standard(conditional.components_number, prior.dim)
        proposals = jax.tree.map(lambda leaf: jnp.stack([leaf] * rounds), one)
        return proposals, jnp.zeros((), jnp.int32)

    def loss(self, memory: Memory, prior: Prior) -> Loss:
        if isinstance(memory, AtObservation):
            return Partial(Atomic(self.atoms), prior, memory)
        return Partial(proposal_posterior, memory[0])

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        if isinstance(memory, AtObservation):
            posterior = AtObservation.of(conditional, prior, x_o)
            return posterior, posterior
        # no wider than the prior, so that q p̃ / p can be normalised whatever q is
        mixture = no_wider_than_standard(conditional.components(x_o))
        proposals, last = memory
        proposals = jax.tree.map(lambda all_, new: all_.at[last + 1].set(new), proposals, mixture)
        return (proposals, last + 1), MixtureProposal(prior, mixture)


def apt(atoms: int = 10) -> Algorithm:
    """Sequential posterior estimation: argmax_q E log [r(z, x) / Σ_a r(z_a, x)], r = q(z|x)/p(z).

    Later rounds draw from the last round's q(z | x_o); of mixtures, with each component made no
    wider than the prior. Each row is told apart from `atoms` − 1
    other parameters of the buffer; rows whose simulation failed are among these contrasts, for
    they were attempted. The likelihood of rows weighed as draws of the posterior, as in `snpe_b`,
    is maximised along with that: it is less noisy where the posterior is wide, and keeps q from
    where no row lies. For `mdn()`, where the prior is N(0, I) in z, the proposal is divided out
    exactly instead, without atoms.

    atoms: at least 2, at most the training's batch_size.

    Errors: ValueError for fewer atoms; `infer` and `fit` raise one for more, and for a density
    that is too dear to evaluate in training.
    """
    check_count("atoms", atoms, 2)
    return APT(atoms)
