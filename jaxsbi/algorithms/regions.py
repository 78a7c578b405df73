"""Regions of z that a posterior leaves, one set a round, and a density restricted to them.

The set of a round is {z: log q(z | x_o) − log p(z) ≥ τ} within a box along the principal axes of
q's own draws, and for a flow, u ↦ z, within a ball of u.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxsbi.flows import Invertible
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

    params: each round's weights; thresholds (R,): τ; axes (R, d, d), low, high (R, d): the boxes;
    radii (R,): of the balls.
    """

    params: PyTree[Array]
    constants: PyTree[Array]
    prior: Prior
    x_o: Data
    thresholds: Float[Array, " R"]
    axes: Float[Array, "R d d"]
    low: Float[Array, "R d"]
    high: Float[Array, "R d"]
    radii: Float[Array, " R"]
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
            radii=jnp.full(sets, jnp.inf),
            count=jnp.zeros((), jnp.int32),
            graphdef=graphdef,
        )

    def density(self, r: Int[Array, ""]) -> nnx.Module:
        """q of round r, whose set is the r-th."""
        params = jax.tree.map(lambda leaf: leaf[r], self.params)
        return nnx.merge(self.graphdef, params, self.constants)

    def holds(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        """Whether z lies in every set."""

        def one(r: Array, inside: Array) -> Array:
            ratio, distance = self._seen(self.density(r), z)
            u = z @ self.axes[r]
            in_box = jnp.all((u >= self.low[r]) & (u <= self.high[r]))
            in_ball = distance <= self.radii[r]
            return inside & in_box & in_ball & (ratio >= self.thresholds[r])

        return jax.lax.fori_loop(0, self.count, one, jnp.ones((), bool))

    def _seen(self, q: nnx.Module, z: Float[Array, " d"]) -> tuple[Array, Array]:
        """log q(z | x_o) − log p(z), and |u|, 0 where q is no flow."""
        log_p = self.prior.log_prob_z(z)
        if not isinstance(q, Invertible):
            return q.log_prob(z, self.x_o) - log_p, jnp.zeros(())
        u, log_det = q.pull(z, self.x_o)
        return jnp.sum(jax.scipy.stats.norm.logpdf(u)) + log_det - log_p, jnp.linalg.norm(u)

    def cut(self, key: PRNGKey, conditional: nnx.Module, epsilon: float) -> Region:
        """The region within the set of one round more, whose q is `conditional` in the region."""
        _, params, _ = nnx.split(conditional, nnx.Param, ...)

        def draw(key: PRNGKey) -> tuple[Array, tuple[Array, Array]]:
            z = _draw_inside(key, conditional, self.x_o, self)
            return z, self._seen(conditional, z)

        keys = jax.random.split(key, DRAWS)
        z, (ratios, distances) = jax.lax.map(draw, keys, batch_size=TILE)
        _, axes = jnp.linalg.eigh(jnp.cov(z, rowvar=False).reshape(self.axes.shape[1:]))
        if not self.prior.gaussian:
            axes = jnp.eye(self.prior.dim)
        along = z @ axes
        r = self.count
        return replace(
            self,
            params=jax.tree.map(lambda stack, new: stack.at[r].set(new), self.params, params),
            thresholds=self.thresholds.at[r].set(jnp.quantile(ratios, epsilon)),
            axes=self.axes.at[r].set(axes),
            low=self.low.at[r].set(jnp.min(along, axis=0)),
            high=self.high.at[r].set(jnp.max(along, axis=0)),
            radii=self.radii.at[r].set(jnp.max(distances)),
            count=r + 1,
        )


class Restricted(nnx.Module):
    """q(z | x_o) inside a region, normalised by its mass there."""

    def __init__(self, conditional: nnx.Module, region: Region) -> None:
        self.conditional = conditional
        leaves, self.treedef = jax.tree.flatten(region)
        self.leaves = nnx.List([Constant(leaf) for leaf in leaves])
        graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
        self.log_mass = Constant(_log_mass(graphdef, params, constants, region))

    @property
    def uncut(self) -> nnx.Module:
        """q everywhere."""
        return self.conditional

    @property
    def region(self) -> Region:
        return self.treedef.unflatten([leaf[...] for leaf in self.leaves])

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x), −inf outside."""
        log_q = self.conditional.log_prob(z, x) - self.log_mass[...]
        return jnp.where(self.region.holds(z), log_q, -jnp.inf)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x), by rejection."""
        return _draw_inside(key, self.conditional, x, self.region)


def _draw_inside(
    key: PRNGKey, conditional: nnx.Module, x: Data, region: Region
) -> Float[Array, " d"]:
    def unfinished(state: tuple[Array, Array]) -> Array:
        z, tries = state
        return (tries == 0) | (~region.holds(z) & (tries < TRIES))

    def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, tries = state
        return conditional.sample(jax.random.fold_in(key, tries), x), tries + 1

    start = jnp.zeros(region.prior.dim), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(unfinished, again, start)[0]


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
