"""Proposals p̃(z) ∝ g(z) 1[z ∈ A]: what the θ of a round are drawn from, as pytrees."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxsbi.dataset import fill
from jaxsbi.gaussians import Gaussians
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey
from jaxsbi.validity import Validity

TILE = 8192
"""Candidates drawn at once."""
MAX_CANDIDATES = 2_000
"""Candidates per row at most, before a set A is taken to be unreachable."""


class Proposal:
    """A density to draw from, restricted to a set; the prior itself by default.

    Subclasses are registered dataclass pytrees of one structure in all rounds.
    """

    prior: Prior

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        """z ~ g."""
        return self.prior.to_z(self.prior.sample(key))

    def draws(self, keys: PRNGKey) -> Float[Array, "n d"]:
        """z_i ~ g, one for each key."""
        return jax.vmap(self.sample)(keys)

    def accept(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether z lies in A."""
        return jnp.ones((), bool)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """log g(z) − log p(z), p the prior."""
        return jnp.zeros(())


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PriorProposal(Proposal):
    """The prior."""

    prior: Prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtObservation(Proposal):
    """g(z) = q(z | x_o)."""

    prior: Prior
    params: PyTree[Array]
    constants: PyTree[Array]
    x_o: Data
    graphdef: nnx.GraphDef = field(metadata={"static": True})

    @classmethod
    def of(cls, conditional: nnx.Module, prior: Prior, x_o: Data) -> AtObservation:
        graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
        return cls(prior, params, constants, x_o, graphdef)

    @property
    def conditional(self) -> nnx.Module:
        return nnx.merge(self.graphdef, self.params, self.constants)

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        return self.conditional.sample(key, self.x_o)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        return self.conditional.log_prob(z, self.x_o) - self.prior.log_prob_z(z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MixtureProposal(Proposal):
    """g, a mixture of Gaussians."""

    prior: Prior
    mixture: Gaussians

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        return self.mixture.sample(key)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        return self.mixture.log_prob(z) - self.prior.log_prob_z(z)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Defensive(Proposal):
    """(1 − a) g(z) + a p(z): never much rarer than the prior."""

    base: Proposal
    share: Float[Array, ""]

    @property
    def prior(self) -> Prior:
        return self.base.prior

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        key_which, key_z = jax.random.split(key)
        of_prior = jax.random.uniform(key_which) < self.share
        return jnp.where(of_prior, super().sample(key_z), self.base.sample(key_z))

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        base = jnp.log1p(-self.share) + self.base.log_ratio(z)
        return jnp.logaddexp(base, jnp.log(self.share))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Valid(Proposal):
    """A proposal where a learned c(z) exceeds its threshold: its simulations seldom fail."""

    base: Proposal
    params: PyTree[Array]
    constants: PyTree[Array]
    graphdef: nnx.GraphDef = field(metadata={"static": True})

    @classmethod
    def of(cls, base: Proposal, validity: Validity) -> Valid:
        graphdef, params, constants = nnx.split(validity, nnx.Param, ...)
        return cls(base, params, constants, graphdef)

    @property
    def prior(self) -> Prior:
        return self.base.prior

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        return self.base.sample(key)

    def draws(self, keys: PRNGKey) -> Float[Array, "n d"]:
        return self.base.draws(keys)

    def accept(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        validity = nnx.merge(self.graphdef, self.params, self.constants)
        return self.base.accept(z) & validity.holds(z)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        return self.base.log_ratio(z)


class Pool(NamedTuple):
    """Draws of a proposal: the first `found` rows of z, of so many candidates."""

    z: Float[Array, "n d"]
    found: Int[Array, ""]
    acceptance: Float[Array, ""]


@partial(jax.jit, static_argnames="n")
def pool(key: PRNGKey, proposal: Proposal, n: int) -> Pool:
    """n draws by rejection, tile after tile of candidates, in the order in which they are found."""
    tile = min(TILE, -(-n // 256) * 256)

    def more(state: tuple) -> tuple:
        z, found, tiles, kept = state
        keys = jax.random.split(jax.random.fold_in(key, tiles), tile)
        candidates = proposal.draws(keys)
        inside = jax.vmap(proposal.accept)(candidates)
        z, found = fill(z, found, candidates, inside)
        return z, found, tiles + 1, kept + jnp.sum(inside, dtype=jnp.int32)

    def unfinished(state: tuple) -> Array:
        _, found, tiles, _ = state
        return (found < n) & (tiles * tile < MAX_CANDIDATES * n)

    zero = jnp.zeros((), jnp.int32)
    z, found, tiles, kept = jax.lax.while_loop(
        unfinished, more, (jnp.zeros((n, proposal.prior.dim)), zero, zero, zero)
    )
    return Pool(z, found, kept / (tiles * tile))
