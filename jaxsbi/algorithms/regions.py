"""Regions of z that a posterior leaves, one set a round, and what is restricted to them.

The set of a round is {z: log q(z | x_o) − log p(z) ≥ τ} within a box along the principal axes of
q's own draws. p = N(0, I) looks the same along any axes, so the prior in the box is drawn exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxsbi.algorithms.proposals import Proposal
from jaxsbi.networks import Constant
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey

DRAWS, MASS_DRAWS, TILE = 100_000, 16_384, 4096
TRIES = 100
"""Draws after which a restricted density gives up and returns the last one."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Region:
    """⋂ of the sets of the first `count` rounds; everything where there is none.

    params: each round's weights; thresholds (R,): τ; axes (R, d, d), low, high (R, d): the boxes.

    """

    params: PyTree[Array]
    constants: PyTree[Array]
    prior: Prior
    x_o: Data
    thresholds: Float[Array, " R"]
    axes: Float[Array, "R d d"]
    low: Float[Array, "R d"]
    high: Float[Array, "R d"]
    count: Int[Array, ""]
    graphdef: nnx.GraphDef = field(metadata={"static": True})

    @classmethod
    def empty(cls, conditional: nnx.Module, prior: Prior, x_o: Data, rounds: int) -> Region:
        """Everything, with room for the sets of so many rounds."""
        graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
        sets = max(rounds - 1, 1)
        params = jax.tree.map(lambda leaf: jnp.zeros((sets, *leaf.shape), leaf.dtype), params)
        far = jnp.full((sets, prior.dim), jnp.inf)
        return cls(
            params=params,
            constants=constants,
            prior=prior,
            x_o=x_o,
            thresholds=jnp.full(sets, -jnp.inf),
            axes=jnp.broadcast_to(jnp.eye(prior.dim), (sets, prior.dim, prior.dim)),
            low=-far,
            high=far,
            count=jnp.zeros((), jnp.int32),
            graphdef=graphdef,
        )

    def holds(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether z lies in every set."""

        def one(r: Array, inside: Array) -> Array:
            params = jax.tree.map(lambda leaf: leaf[r], self.params)
            q = nnx.merge(self.graphdef, params, self.constants)
            ratio = q.log_prob(z, self.x_o) - self.prior.log_prob_z(z)
            u = z @ self.axes[r]
            in_box = jnp.all((u >= self.low[r]) & (u <= self.high[r]))
            return inside & in_box & (ratio >= self.thresholds[r])

        return jax.lax.fori_loop(0, self.count, one, jnp.ones((), bool))

    def cut(self, key: PRNGKey, conditional: nnx.Module, epsilon: float) -> Region:
        """The region within the set of one round more, whose q is `conditional` in the region."""
        _, params, _ = nnx.split(conditional, nnx.Param, ...)
        q = Restricted(conditional, self)

        def draw(key: PRNGKey) -> tuple[Array, Array]:
            z = q.sample(key, self.x_o)
            return z, conditional.log_prob(z, self.x_o) - self.prior.log_prob_z(z)

        keys = jax.random.split(key, DRAWS)
        z, ratios = jax.lax.map(draw, keys, batch_size=TILE)
        _, axes = jnp.linalg.eigh(jnp.cov(z, rowvar=False).reshape(self.axes.shape[1:]))
        if not self.prior.gaussian:
            axes = jnp.eye(self.prior.dim)
        u = z @ axes

        def put(stack: Array, new: Array) -> Array:
            return stack.at[self.count].set(new)

        return Region(
            params=jax.tree.map(put, self.params, params),
            constants=self.constants,
            prior=self.prior,
            x_o=self.x_o,
            thresholds=put(self.thresholds, jnp.quantile(ratios, epsilon)),
            axes=put(self.axes, axes),
            low=put(self.low, jnp.min(u, axis=0)),
            high=put(self.high, jnp.max(u, axis=0)),
            count=self.count + 1,
            graphdef=self.graphdef,
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TruncatedPrior(Proposal):
    """The prior inside the last set's box, accepted inside the region."""

    prior: Prior
    region: Region

    @property
    def box(self) -> tuple[Array, Array, Array]:
        """Axes, lower and upper ends."""
        last = self.region.count - 1
        return self.region.axes[last], self.region.low[last], self.region.high[last]

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        if not self.prior.gaussian:
            return super().sample(key)
        axes, low, high = self.box
        return axes @ truncated_normal(key, low, high)

    def accept(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        return self.region.holds(z)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        if not self.prior.gaussian:
            return jnp.zeros(())
        _, low, high = self.box
        return -jnp.sum(jnp.log(ndtr(high) - ndtr(low)))


def truncated_normal(
    key: PRNGKey, low: Float[Array, " d"], high: Float[Array, " d"]
) -> Float[Array, " d"]:
    """u ~ N(0, I) given low ≤ u ≤ high, the upper tail as accurate as the lower one."""
    mirrored = low + high > 0
    first, second = jnp.where(mirrored, -high, low), jnp.where(mirrored, -low, high)
    share = jax.random.uniform(key, low.shape)
    u = ndtri(ndtr(first) + share * (ndtr(second) - ndtr(first)))
    u = jnp.clip(u, first, second)
    return jnp.where(mirrored, -u, u)


class Restricted(nnx.Module):
    """q(z | x_o) inside a region, normalised by its mass there."""

    def __init__(self, conditional: nnx.Module, region: Region) -> None:
        self.conditional = conditional
        leaves, self.treedef = jax.tree.flatten(region)
        self.leaves = nnx.List([Constant(leaf) for leaf in leaves])
        graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
        self.log_mass = Constant(_log_mass(graphdef, params, constants, region))

    @property
    def region(self) -> Region:
        return self.treedef.unflatten([leaf[...] for leaf in self.leaves])

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x), −inf outside."""
        log_q = self.conditional.log_prob(z, x) - self.log_mass[...]
        return jnp.where(self.region.holds(z), log_q, -jnp.inf)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x), by rejection."""
        region = self.region

        def draw(tries: Array) -> Array:
            return self.conditional.sample(jax.random.fold_in(key, tries), x)

        def outside(state: tuple[Array, Array]) -> Array:
            z, tries = state
            return ~region.holds(z) & (tries < TRIES)

        def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
            _, tries = state
            return draw(tries), tries + 1

        zero = jnp.zeros((), jnp.int32)
        return jax.lax.while_loop(outside, again, (draw(zero), zero + 1))[0]


@partial(jax.jit, static_argnums=0)
def _log_mass(
    graphdef: nnx.GraphDef, params: PyTree[Array], constants: PyTree[Array], region: Region
) -> Array:
    """log of the share of q(· | x_o) inside the region."""
    conditional = nnx.merge(graphdef, params, constants)

    def estimate() -> Array:
        keys = jax.random.split(jax.random.key(0), MASS_DRAWS)
        inside = jax.lax.map(
            lambda k: region.holds(conditional.sample(k, region.x_o)), keys, batch_size=TILE
        )
        return jnp.log(jnp.maximum(jnp.mean(inside), 1 / MASS_DRAWS))

    return jax.lax.cond(region.count > 0, estimate, lambda: jnp.zeros(()))
