"""NPE: neural posterior estimation, q(z | x) fitted to joint draws from the prior.

Papamakarios & Murray 2016 (NeurIPS); Gonçalves et al. 2020 (eLife 9:e56261), one round.
"""

from __future__ import annotations

from typing import Any

from flax import nnx
from jax.tree_util import Partial

from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.dataset import Moments
from jaxsbi.losses import negative_log_likelihood
from jaxsbi.posteriors import direct
from jaxsbi.priors import Prior
from jaxsbi.simulation import prior_draw
from jaxsbi.types import Data, Estimator, PRNGKey


def npe() -> Algorithm:
    """Amortised posterior estimation: argmin_q −E log q(z | x) over z ~ p(z), x ~ p(x | z).

    Further rounds draw from the prior again. Rows whose simulation failed as a whole are dropped:
    for an x that did not fail the posterior is the same.
    """
    return Algorithm(
        name="npe",
        sequential=False,
        init=_init,
        first_loss=negative_log_likelihood,
        loss=negative_log_likelihood,
        propose=_propose,
        posterior=direct,
    )


def _init(key: PRNGKey, estimator: Estimator, dim: int, moments: Moments) -> nnx.Module:
    return estimator.init(key, dim, moments)


def _propose(conditional: Any, prior: Prior, x_o: Data | None) -> Partial:
    return prior_draw(prior)
