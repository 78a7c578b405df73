"""Likelihoods learned from simulations: a density of x given z, or its ratio to one without z.

Both act on one z (d,) and one raw x, undefined (NaN) features included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from jaxsbi.contexts import Contextual
from jaxsbi.dataset import SCORES, Moments
from jaxsbi.estimators import MAF, NSF
from jaxsbi.networks import LINEAR_RANGE, MADE, MLP, Constant, Embedding, Standardise
from jaxsbi.parameters import Spread, Whitened
from jaxsbi.types import Data, PRNGKey

CERTAIN = 6.0
"""Log-odds of being defined that a feature starts with."""


class Likelihood(nnx.Module):
    """p(x | z) = P(valid | z) Π_j P(m_j | m_{<j}, z) p(x_m | m, z): of attempted simulations.

    m says which features are defined, and the flow is one over those alone: its maps leave the
    others where they are. Features are standardised first, and the density is that of raw x. A
    simulation that failed as a whole has no features: its likelihood is P(invalid | z).

    A feature that repeats its values, such as a count, has no density. It is trained as if every
    value were spread over the interval to its neighbours, at whose middle it is then evaluated.
    """

    def __init__(
        self, key: PRNGKey, estimator: MAF | NSF, moments: Moments, spread: Spread
    ) -> None:
        key_flow, key_mask, key_valid = jax.random.split(key, 3)
        self.parameters, self.standardise = Whitened(spread), Standardise(moments)
        self.grain = nnx.List([Constant(_grain(q)) for q in jax.tree.leaves(moments.quantiles)])
        size = sum(np.size(leaf) for leaf in jax.tree.leaves(moments.location))
        unembedded = replace(estimator, embedding=_SideBySide())
        self.flow = unembedded.init(key_flow, size, _normal_moments((self.parameters.size, size)))
        hidden = estimator.hidden[:1]
        self.mask = MADE(key_mask, [tuple(range(size))], self.parameters.size, hidden, (1,))
        self.valid = MLP(key_valid, self.parameters.size, hidden, 1)

    def log_prob(self, x: Data, z: Float[Array, " d"]) -> Float[Array, ""]:
        """log p(x | z), NaN features marked as such; log P(invalid | z) for an x of NaN only."""
        values, defined, log_slope = self.features(x)
        pattern, valid, z = defined.astype(z.dtype), jnp.any(defined), self.parameters(z)
        log_odds = self.valid(z)[0] + CERTAIN
        (mask_odds,) = self.mask.given(z)[0](pattern)
        log_mask = jnp.sum(_log_bernoulli(mask_odds[0] + CERTAIN, defined))
        density = self.flow.distribution((z, pattern), defined).log_prob(values)
        # an undefined coordinate stays at 0, where the flow's base counts its −½ log 2π
        density = density + 0.5 * math.log(2 * math.pi) * jnp.sum(~defined) + log_slope
        return _log_bernoulli(log_odds, valid) + jnp.where(valid, log_mask + density, 0.0)

    def log_likelihood(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log p(x | z)."""
        return self.log_prob(x, z)

    def spread(self, key: PRNGKey, x: Data) -> Data:
        """x with its discrete features spread evenly, each value over its own interval."""
        leaves, tree = jax.tree.flatten(x)
        keys = jax.random.split(key, len(leaves))
        return tree.unflatten(
            leaf + grain[...] * jax.random.uniform(k, leaf.shape, minval=-0.5, maxval=0.5)
            for leaf, grain, k in zip(leaves, self.grain, keys, strict=True)
        )

    def features(self, x: Data) -> tuple[Float[Array, " k"], Bool[Array, " k"], Float[Array, ""]]:
        """Standardised features, 0 where undefined; which are defined; log |∂ values / ∂ x|."""
        values, defined = (_ravel(tree) for tree in self.standardise(x))
        scale = _ravel([s[...] for s in self.standardise.scale])
        bend = jnp.maximum(jnp.abs(values) - LINEAR_RANGE, 0.0)
        defined = defined > 0
        return values, defined, -jnp.sum(jnp.where(defined, jnp.log(scale) + bend, 0.0))


class Ratio(nnx.Module):
    """f(z, x) = u(z)·v(x) + w(z, x) ≈ log p(x | z) / p(x), u, v and w perceptrons.

    The first term is an exponential family's, which makes sharp ratios of smooth u and v.
    """

    def __init__(
        self,
        key: PRNGKey,
        moments: Moments,
        spread: Spread,
        hidden: tuple[int, ...],
        embedding: Embedding | None,
    ) -> None:
        self.parameters = Whitened(spread)
        size = self.parameters.size
        key_context, key_x, key_z, key_both = jax.random.split(key, 4)
        self.context = Contextual(key_context, moments, embedding)
        rank = hidden[-1]
        self.of_x = MLP(key_x, self.context.size, hidden, rank)
        self.of_z = MLP(key_z, size, hidden, rank)
        self.of_both = MLP(key_both, size + self.context.size + rank, hidden, 1)

    def log_likelihood(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log p(x | z) up to a function of x."""
        return self.given(x)(z)

    def given(self, x: Data) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
        """z ↦ f(z, x), with what depends on x alone computed once."""
        context = self.context(x)
        natural = self.of_x(context)
        context = jnp.concatenate([context, natural])

        def ratio(z: Array) -> Array:
            z = self.parameters(z)
            family = self.of_z(z) @ natural / math.sqrt(natural.size)
            return family + self.of_both(jnp.concatenate([z, context]))[0]

        return ratio


class _Ravel(nnx.Module):
    def __call__(self, values: Data, defined: Data) -> Float[Array, " c"]:
        return _ravel(values)


@dataclass(frozen=True)
class _SideBySide:
    """The embedding that leaves everything as it is."""

    def __call__(self, rngs: nnx.Rngs, example: tuple[Data, Data]) -> nnx.Module:
        return _Ravel()


def _grain(quantiles: Float[Array, "levels ..."]) -> Float[Array, "..."]:
    """The least distance between values of a feature that repeats some of them; else 0.

    Judged by the middle quantiles: in the tails of few rows all features repeat.
    """
    gaps = jnp.diff(jnp.asarray(quantiles)[np.abs(SCORES) < 1.55], axis=0)
    least = jnp.min(jnp.where(gaps > 0, gaps, jnp.inf), axis=0)
    return jnp.where(jnp.any(gaps == 0, axis=0), jnp.where(jnp.isfinite(least), least, 1.0), 0.0)


def _ravel(tree: Data) -> Float[Array, " c"]:
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _normal_moments(sizes: tuple[int, ...]) -> Moments:
    """Moments of vectors that need no standardisation."""
    return Moments(
        tuple(jnp.zeros(size) for size in sizes),
        tuple(jnp.ones(size) for size in sizes),
        tuple(jnp.zeros((len(SCORES), size)) for size in sizes),
    )


def _log_bernoulli(log_odds: Array, outcome: Bool[Array, "..."]) -> Array:
    return -jax.nn.softplus(jnp.where(outcome, -log_odds, log_odds))
