"""NRE: neural ratio estimation, log p(x | z) / p(x) as the log-odds of a classifier.

Contrastive form NRE-C: Miller, Weniger & Forré 2022 (NeurIPS, arXiv:2210.06170).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from flax import nnx
from jax.tree_util import Partial

from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.likelihood import ByLikelihood
from jaxsbi.arguments import check_count, check_real
from jaxsbi.dataset import Moments
from jaxsbi.likelihoods import Ratio
from jaxsbi.losses import Contrastive
from jaxsbi.parameters import Spread
from jaxsbi.priors import Prior
from jaxsbi.types import Estimator, Loss, PRNGKey


@dataclass(frozen=True)
class NRE(ByLikelihood):
    """What `nre` returns."""

    name: ClassVar[str] = "nre"
    atoms: int = 10
    odds: float = 1.0

    def check(self, prior: Prior, estimator: Estimator, training: Any) -> None:
        super().check(prior, estimator, training)
        if not hasattr(estimator, "hidden"):
            raise ValueError(
                "estimator must have hidden layer sizes and an embedding, which nre gives to its "
                f"classifier, such as jaxsbi.nsf(hidden=…, embedding=…), got {estimator!r}"
            )

    def module(self, key: PRNGKey, estimator: Any, moments: Moments, spread: Spread) -> nnx.Module:
        return Ratio(key, moments, spread, estimator.hidden, estimator.embedding)

    def first_loss(self) -> Loss:
        return Partial(Contrastive(self.atoms, self.odds))

    def loss(self, memory: Memory, prior: Prior) -> Loss:
        return self.first_loss()


def nre(*, atoms: int = 10, odds: float = 1.0, trials: bool = False) -> Algorithm:
    """Contrastive neural ratio, then chains in p(z) exp f(z, x_o).

    The classifier is told an x and `atoms` parameters and says which of them made it, or none.
    Contrasts are drawn from every attempted θ, whether its simulation failed or not, so that
    f is log p(x, valid | z) up to a function of x. Of the estimator it takes the hidden layers'
    sizes and the embedding.

    atoms: parameters in one question. odds: prior odds of "one of them" against "none".
    trials: x_o has a leading axis of iid trials, whose ratios are multiplied; a simulation is of
        one trial.

    Errors: ValueError for fewer than one atom, or odds that are not positive; `infer` and `fit`
    raise one for a density without hidden layers, and an ImportError where blackjax is missing.
    """
    atoms, odds = check_count("atoms", atoms), check_real("odds", odds, 0, math.inf)
    return NRE(trials=trials, atoms=atoms, odds=odds)
