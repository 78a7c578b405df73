"""The prior inside a region, drawn by rejection from whichever of two meets the region more often.

One is the prior inside the box of the region's last set: p = N(0, I) looks the same along any axes,
so that is drawn exactly. The other, where the set is that of a flow u ↦ z, is the flow of u uniform
in the set's ball. Such a z stands for the weight w = p(z) |∂z/∂u|; it is kept with the probability
min(w/c, 1), which for a c below the largest weight leaves rows that count more than others, by
max(w/c, 1) (Liu, Chen & Wong 1998, J. Am. Stat. Assoc. 93:1022, "rejection control"). Where the
flow is nearly linear nearly all are kept, however narrow the posterior is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float

from jaxsbi.algorithms.proposals import Proposal
from jaxsbi.algorithms.regions import TILE, Region
from jaxsbi.flows import Invertible
from jaxsbi.priors import Prior
from jaxsbi.types import PRNGKey

PILOT = 16_384
ACCEPTANCE = 0.03
"""Share of a ball's draws that is kept at least, where it takes a c below the largest weight."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TruncatedPrior(Proposal):
    """The prior inside the last set's box, or from its ball, accepted inside the region.

    ceiling: log c. by_ball: whether the ball meets the region more often than the box does.
    """

    prior: Prior
    region: Region
    ceiling: Float[Array, ""]
    by_ball: Bool[Array, ""]

    @classmethod
    def inside(cls, key: PRNGKey, prior: Prior, region: Region) -> TruncatedPrior:
        """By the better way to draw it, judged by a pilot sample."""
        proposal = cls(prior, region, jnp.zeros(()), jnp.zeros((), bool))
        return proposal._judged(key) if proposal._of_flow else proposal

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        if not self._of_flow:
            return self.from_box(key)
        return jax.lax.cond(self.by_ball, self._kept, self.from_box, key)

    def accept(self, z: Float[Array, " d"]) -> Bool[Array, ""]:
        return self.region.holds(z)

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        if not self._of_flow:
            return -self.log_mass_of_box
        _, log_det = self.region.density(self._last).pull(z, self.region.x_o)
        log_weight = self.prior.log_prob_z(z) - log_det
        of_ball = -jnp.maximum(self.ceiling, log_weight) - self.log_volume
        return jnp.where(self.by_ball, of_ball, -self.log_mass_of_box)

    @property
    def _last(self) -> Array:
        return self.region.count - 1

    @property
    def _box(self) -> tuple[Array, Array]:
        return self.region.low[self._last], self.region.high[self._last]

    @property
    def _of_flow(self) -> bool:
        return isinstance(self.region.density(self._last), Invertible)

    @property
    def log_mass_of_box(self) -> Float[Array, ""]:
        """log of the prior's mass in the box."""
        if not self.prior.gaussian:
            return jnp.zeros(())
        return jnp.sum(log_normal_mass(*self._box))

    @property
    def log_volume(self) -> Float[Array, ""]:
        """log π^{d/2} R^d / Γ(d/2 + 1), of the ball."""
        half = self.prior.dim / 2
        unit = half * math.log(math.pi) - math.lgamma(half + 1)
        return unit + self.prior.dim * jnp.log(self.region.radii[self._last])

    def from_box(self, key: PRNGKey) -> Float[Array, " d"]:
        """z of the prior inside the box."""
        if not self.prior.gaussian:
            return super().sample(key)
        return self.region.axes[self._last] @ truncated_normal(key, *self._box)

    def from_ball(self, key: PRNGKey) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """z of a u uniform in the ball, and log w."""
        key_direction, key_radius = jax.random.split(key)
        direction = jax.random.normal(key_direction, (self.prior.dim,))
        share = jax.random.uniform(key_radius) ** (1 / self.prior.dim)
        u = share * self.region.radii[self._last] * direction / jnp.linalg.norm(direction)
        z, log_det = self.region.density(self._last).push(u, self.region.x_o)
        return z, log_det + self.prior.log_prob_z(z)

    def _kept(self, key: PRNGKey) -> Array:
        """A z from the ball, NaN, which lies in no set, where it is not kept."""
        key_z, key_kept = jax.random.split(key)
        z, log_weight = self.from_ball(key_z)
        kept = jnp.log(jax.random.uniform(key_kept)) < log_weight - self.ceiling
        return jnp.where(kept, z, jnp.nan)

    def _judged(self, key: PRNGKey) -> TruncatedPrior:
        def one(key: PRNGKey) -> tuple[Array, Array]:
            z, log_weight = self.from_ball(key)
            return log_weight, self.region.holds(z)

        log_weight, inside = jax.lax.map(one, jax.random.split(key, PILOT), batch_size=TILE)
        log_weight = jnp.where(inside & jnp.isfinite(log_weight), log_weight, -jnp.inf)
        met = jnp.any(inside & jnp.isfinite(log_weight))
        ceiling = jnp.where(met, _ceiling(log_weight), 0.0)
        by_ball = jnp.mean(jnp.exp(jnp.minimum(log_weight - ceiling, 0.0)))
        log_mass = jax.nn.logsumexp(log_weight) - math.log(PILOT) + self.log_volume
        by_box = jnp.exp(log_mass - self.log_mass_of_box)
        return TruncatedPrior(self.prior, self.region, ceiling, met & (by_ball > by_box))


def _ceiling(log_weights: Float[Array, " n"]) -> Float[Array, ""]:
    """The largest of the log w for which Σ min(w_i/c, 1) / n ≥ ACCEPTANCE at log c = log w.

    At the k-th largest as c it is (k + Σ_{i≥k} w_i/w_k)/n, counted from 0.
    """
    top = jnp.sort(log_weights)[::-1]
    rest = jax.lax.cumlogsumexp(top, reverse=True)
    acceptance = (jnp.arange(top.shape[0]) + jnp.exp(rest - top)) / top.shape[0]
    enough = (acceptance >= ACCEPTANCE) & jnp.isfinite(top)
    # where too few lie inside for that, all of them that do are kept
    last = jnp.sum(jnp.isfinite(top)) - 1
    return top[jnp.where(jnp.any(enough), jnp.argmax(enough), last)]


def log_normal_mass(low: Float[Array, " d"], high: Float[Array, " d"]) -> Float[Array, " d"]:
    """log (Φ(high) − Φ(low)), the upper tail as accurate as the lower one."""
    first, second, _ = _in_the_lower_tail(low, high)
    return jnp.log(ndtr(second) - ndtr(first))


def truncated_normal(
    key: PRNGKey, low: Float[Array, " d"], high: Float[Array, " d"]
) -> Float[Array, " d"]:
    """u ~ N(0, I) given low ≤ u ≤ high, the upper tail as accurate as the lower one."""
    first, second, mirrored = _in_the_lower_tail(low, high)
    share = jax.random.uniform(key, low.shape)
    u = ndtri(ndtr(first) + share * (ndtr(second) - ndtr(first)))
    u = jnp.clip(u, first, second)
    return jnp.where(mirrored, -u, u)


def _in_the_lower_tail(low: Array, high: Array) -> tuple[Array, Array, Bool[Array, "..."]]:
    """Intervals of the same mass where Φ keeps its accuracy, and which of them are mirrored."""
    mirrored = low + high > 0
    return jnp.where(mirrored, -high, low), jnp.where(mirrored, -low, high), mirrored
