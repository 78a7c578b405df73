"""Ensembles: q(z | x) = 1/M Σ_m q_m(z | x), its members trained side by side in one program.

Members differ in their first weights. Each learns by its own loss, as if alone, while validation
looks at their mixture: what the members get wrong in different ways cancels in it, so it is the
better density, and the better calibrated one, where simulations are few. Where −log q is too dear
to train on, validation has the mean of the members' losses. Lakshminarayanan et al. 2017,
arXiv:1612.01474; Hermans et al. 2022, arXiv:2110.06581.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxsbi.arguments import check_count, check_estimator
from jaxsbi.dataset import Moments, Simulations
from jaxsbi.types import Conditional, Data, Estimator, Loss, PRNGKey

Result = TypeVar("Result")


class Members(nnx.Module):
    """M densities of one structure; the trained arrays of `stacked` have a leading axis M."""

    def __init__(self, key: PRNGKey, number: int, member: Callable[[PRNGKey], nnx.Module]) -> None:
        self.number = number
        keys = jax.random.split(key, number)
        graphdef, _, constants = nnx.split(member(keys[0]), nnx.Param, ...)
        weights = jax.vmap(lambda k: nnx.split(member(k), nnx.Param, ...)[1])(keys)
        self.stacked = nnx.merge(graphdef, weights, constants)

    def each(self, function: Callable[[Conditional], Result]) -> Result:
        """function(q_m), m = 1 … M, results stacked along a leading axis."""
        graphdef, params, constants = nnx.split(self.stacked, nnx.Param, ...)
        return jax.vmap(lambda p: function(nnx.merge(graphdef, p, constants)))(params)

    @property
    def loss(self) -> Callable[[PRNGKey, Array, Data], Array]:
        """(key, z, x) ↦ the mean of the members' own losses; an AttributeError where none is."""
        if not hasattr(self.stacked, "loss"):
            raise AttributeError("these members train on −log q(z | x)")
        return lambda key, z, x: jnp.mean(self.each(lambda member: member.loss(key, z, x)))

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x) = log 1/M Σ_m q_m(z | x)."""
        log_q = self.each(lambda member: member.log_prob(z, x))
        return jax.nn.logsumexp(log_q) - math.log(self.number)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x): a draw of each member, and one of them at random."""
        key_member, key_draw = jax.random.split(key)
        draws = self.each(lambda member: member.sample(key_draw, x))
        return draws[jax.random.randint(key_member, (), 0, self.number)]


class Likelihoods(Members):
    """M learned likelihoods, p(x | z) = 1/M Σ_m p_m(x | z)."""

    def log_prob(self, x: Data, z: Float[Array, " d"]) -> Float[Array, ""]:
        """log p(x | z)."""
        log_p = self.each(lambda member: member.log_prob(x, z))
        return jax.nn.logsumexp(log_p) - math.log(self.number)

    def log_likelihood(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log p(x | z)."""
        return self.log_prob(x, z)

    def spread(self, key: PRNGKey, x: Data) -> Data:
        """x as the members, which know the same of it, spread it for training."""
        return self.stacked.spread(key, x)


@dataclass(frozen=True)
class Ensemble:
    """What `ensemble` returns: an estimator and how many densities of it to train."""

    estimator: Estimator
    members: int

    def init(self, key: PRNGKey, dim: int, moments: Moments) -> Members:
        return Members(key, self.members, lambda k: self.estimator.init(k, dim, moments))

    def spec(self) -> dict[str, Any]:
        return {"name": "ensemble", "members": self.members, "estimator": self.estimator.spec()}


def ensemble(estimator: Estimator, members: int = 5) -> Estimator:
    """q(z | x) = 1/M Σ_m q_m(z | x): M densities of one estimator, trained in one program.

    Each starts from other weights and follows its own loss; what is kept are the weights whose
    mixture is best on the held-out rows.

    Errors: ValueError for a member count below 1, or an `estimator` that is no estimator.
    """
    check_estimator(estimator)
    return Ensemble(estimator, check_count("members", members))


def member_of(estimator: Estimator) -> Estimator:
    """The estimator of an ensemble's members; any other estimator itself."""
    return member_of(estimator.estimator) if isinstance(estimator, Ensemble) else estimator


def memberwise(loss: Loss) -> Loss:
    """The mean of an ensemble's losses over its members; any other density's loss as it is."""

    def mean(
        key: PRNGKey,
        conditional: Conditional,
        index: Int[Array, " batch"],
        simulations: Simulations,
    ) -> Float[Array, " batch"]:
        if not isinstance(conditional, Members):
            return loss(key, conditional, index, simulations)
        each = conditional.each(lambda member: loss(key, member, index, simulations))
        return jnp.mean(each, axis=0)

    return mean
