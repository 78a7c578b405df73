"""Losses: per-row training objectives of conditional densities, pure functions of a minibatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsbi.dataset import Rows, Simulations
from jaxsbi.gaussians import Gaussians, log_overlap
from jaxsbi.priors import Prior
from jaxsbi.types import Conditional, PRNGKey


def density_loss(
    key: PRNGKey,
    conditional: Conditional,
    index: Int[Array, " batch"],
    simulations: Simulations,
) -> Float[Array, " batch"]:
    """−log q(z | x), or the density's own loss(key, z, x), which stands in for it.

    Its mean over p(z, x) is smallest where q is the posterior of z.
    """
    rows = simulations.take(index)
    if not hasattr(conditional, "loss"):
        return -jax.vmap(conditional.log_prob)(rows.z, rows.x)
    return jax.vmap(conditional.loss)(jax.random.split(key, index.shape[0]), rows.z, rows.x)


@dataclass(frozen=True)
class Atomic:
    """−log [r(z, x) / Σ_a r(z_a, x)] − w log q(z | x), r = q(z | x)/p(z).

    The first term: which of `atoms` parameters z_a, z among them, made x? Whatever they were drawn
    from cancels, if z and the others were drawn from the same: the others are those of any row
    attempted, valid or not. Greenberg et al. 2019 (arXiv:1905.07488), equation 6.

    It says nothing of q where no row lies, and a few contrasts say little of a wide posterior. The
    second is the likelihood of the rows as draws of the posterior, w = p(z)/p̃(z) · p̃(x)/p(x): an x
    counts as often as it was simulated, most of all near x_o. p̃(x)/p(x) = E_p̃ p(z | x)/p(z) is told
    by the other atoms and the last round's q: any estimate leaves the optimum where it is, for it
    knows nothing of z. Weights end at √n, for n rows (Ionides 2008, doi:10.1198/106186008X320456).

    last: holds the last round's q as its `conditional`.
    """

    atoms: int

    def __call__(
        self,
        prior: Prior,
        last: Any,
        key: PRNGKey,
        conditional: Conditional,
        index: Int[Array, " batch"],
        simulations: Simulations,
    ) -> Float[Array, " batch"]:
        rows, z = _among_others(key, index, simulations, self.atoms - 1)
        log_prior = prior.log_prob_z(z)

        def log_q(conditional: Conditional, z: Array) -> Array:
            return jax.vmap(jax.vmap(conditional.log_prob, in_axes=(0, None)))(z, rows.x)

        log_q_now = log_q(conditional, z)
        log_ratio = log_q_now - log_prior
        contrast = jax.nn.logsumexp(log_ratio, axis=1) - log_ratio[:, 0]
        of_others = log_q(last.conditional, z[:, 1:]) - log_prior[:, 1:]
        of_x = jax.nn.logsumexp(of_others, axis=1) - jnp.log(self.atoms - 1)
        log_weight = jnp.minimum(of_x - rows.log_proposal, jnp.log(simulations.length) / 2)
        return contrast - jnp.exp(log_weight) * log_q_now[:, 0]


def _among_others(
    key: PRNGKey, index: Int[Array, " batch"], simulations: Simulations, number: int
) -> tuple[Rows, Float[Array, "batch atoms d"]]:
    """The rows of a batch, and each one's z followed by those of `number` other rows attempted."""
    rows = simulations.take(index)
    shape = (index.shape[0], number)
    others = jax.random.randint(key, shape, 0, simulations.length - 1)
    others += others >= index[:, None]  # any row but the row itself
    return rows, jnp.concatenate([rows.z[:, None], simulations.rows.z[others]], axis=1)


def proposal_posterior(
    proposals: Gaussians,
    key: PRNGKey,
    conditional: Conditional,
    index: Int[Array, " batch"],
    simulations: Simulations,
) -> Float[Array, " batch"]:
    """−log q̃(z | x), q̃ ∝ q(z | x) p̃_r(z)/p(z), p̃_r the mixture that round r drew z from.

    Exact for mixtures q in coordinates where p = N(0, I); `proposals` holds one p̃ per round.
    Greenberg et al. 2019 (arXiv:1905.07488), section 3.
    """
    rows = simulations.take(index)

    def one(z: Array, x: Array, round_: Array) -> Array:
        q = conditional.components(x)
        proposal = jax.tree.map(lambda leaf: leaf[round_], proposals)
        log_prior = jnp.sum(jax.scipy.stats.norm.logpdf(z))
        log_ratio = proposal.log_prob(z) - log_prior
        return log_overlap(q, proposal) - q.log_prob(z) - log_ratio

    return jax.vmap(one)(rows.z, rows.x, rows.round)


def negative_log_likelihood_of_x(
    key: PRNGKey, likelihood: Any, index: Int[Array, " batch"], simulations: Simulations
) -> Float[Array, " batch"]:
    """−log q(x | z): its mean over any p̃(z) p(x | z) is smallest where q is the likelihood.

    likelihood: a module with log_prob(x, z), and spread(key, x) for discrete features.
    """
    rows = simulations.take(index)
    x = jax.vmap(likelihood.spread)(jax.random.split(key, index.shape[0]), rows.x)
    return -jax.vmap(likelihood.log_prob)(x, rows.z)


@dataclass(frozen=True)
class Contrastive:
    """−1/(1+γ) log P(none | x, z'_{1…K}) − γ/(1+γ) log P(first | x, z, z'_{K+1…2K−1}).

    P(i) = γ e^{f_i} / (K + γ Σ_k e^{f_k}), P(none) = K / (K + γ Σ_k e^{f_k}), f_k = f(z_k, x): one
    of K `atoms` made x, or none did, at prior `odds` γ. Smallest at f = log p(x | z) / p̃(x); the z'
    are those of any other row attempted, valid or not.
    Miller, Weniger & Forré 2022 (NeurIPS, arXiv:2210.06170).
    """

    atoms: int
    odds: float

    def __call__(
        self, key: PRNGKey, ratio: Any, index: Int[Array, " batch"], simulations: Simulations
    ) -> Float[Array, " batch"]:
        rows, z = _among_others(key, index, simulations, 2 * self.atoms - 1)

        def one(z: Array, x: Array) -> Array:
            log_odds = jax.vmap(ratio.given(x))(z) + jnp.log(self.odds)
            joint, apart = log_odds[: self.atoms], log_odds[self.atoms :]
            none = jnp.log(self.atoms)
            log_none = none - jax.nn.logsumexp(jnp.append(apart, none))
            log_first = joint[0] - jax.nn.logsumexp(jnp.append(joint, none))
            return -(log_none + self.odds * log_first) / (1 + self.odds)

        return jax.vmap(one)(z, rows.x)
