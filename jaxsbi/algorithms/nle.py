"""NLE: neural likelihood estimation, p(x | z) learned as a flow of x.

Papamakarios, Sterratt & Murray 2019 (AISTATS), sequentially (SNL) for more than one round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.likelihood import ByLikelihood
from jaxsbi.dataset import Moments, Simulations
from jaxsbi.ensembles import Ensemble, Likelihoods, member_of
from jaxsbi.estimators import MAF, NSF
from jaxsbi.likelihoods import Likelihood
from jaxsbi.losses import negative_log_likelihood_of_x
from jaxsbi.parameters import Spread
from jaxsbi.priors import Prior
from jaxsbi.types import Estimator, Loss, PRNGKey


@dataclass(frozen=True)
class NLE(ByLikelihood):
    """What `nle` returns."""

    name: ClassVar[str] = "nle"

    def check(self, prior: Prior, estimator: Estimator, training: Any) -> None:
        super().check(prior, estimator, training)
        member = member_of(estimator)
        if not isinstance(member, MAF | NSF) or member.embedding is not None:
            raise ValueError(
                "estimator must be a flow without an embedding, jaxsbi.nsf() or jaxsbi.maf(), or "
                "an ensemble of them, for nle, whose density is of x itself, got "
                f"{estimator!r}; embed with jaxsbi.nre()"
            )

    def module(
        self, key: PRNGKey, estimator: MAF | NSF | Ensemble, moments: Moments, spread: Spread
    ) -> nnx.Module:
        flow = member_of(estimator)
        if flow is estimator:
            return Likelihood(key, flow, moments, spread)
        return Likelihoods(key, estimator.members, lambda k: Likelihood(k, flow, moments, spread))

    def first_loss(self) -> Loss:
        return Partial(negative_log_likelihood_of_x)

    def loss(self, memory: Memory, prior: Prior) -> Loss:
        return self.first_loss()

    def first_weights(self, simulations: Simulations) -> Float[Array, " capacity"]:
        """All attempted rows: a failed one tells where simulations fail."""
        return simulations.filled.astype(simulations.rows.z.dtype)


def nle(*, trials: bool = False) -> Algorithm:
    """Neural likelihood: argmin_q −E log q(x | z), then chains in p(z) q(x_o | z).

    Rows of all rounds train, whatever they were proposed from; later rounds propose from the
    posterior so far. Undefined features enter as a pattern with its own probability given z, and
    failed simulations through P(valid | z), both learned along. For features, not for images:
    the density is over all of x.

    trials: x_o has a leading axis of iid trials, whose log-likelihoods are summed; a simulation
        is of one trial.

    Errors: `infer` and `fit` raise a ValueError for a density that is no flow or has an embedding,
    and an ImportError where blackjax is not installed, before any simulation.
    """
    return NLE(trials=trials)
