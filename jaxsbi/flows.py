"""Flows: conditional densities q(z | x) as invertible maps, given x, of a standard normal u.

The context of x does not depend on z, so it is computed once wherever x is not batched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from jaxsbi.bijectors import MaskedAutoregressive, RationalQuadraticSpline
from jaxsbi.contexts import Contextual
from jaxsbi.networks import MADE, MLP, bounded
from jaxsbi.types import Data, PRNGKey

BOUND = 5.0
MAX_LOG_SCALE = 5.0


@runtime_checkable
class Invertible(Protocol):
    """A density that is a map, given x, of u ~ N(0, I), with both directions and log-slopes."""

    def push(self, u: Array, x: Data) -> tuple[Array, Array]: ...

    def pull(self, z: Array, x: Data) -> tuple[Array, Array]: ...


class Flow(nnx.Module):
    """q(z | x) = N(f(z); 0, I) |det ∂f/∂z|, f a chain of masked autoregressive maps given x.

    Every map sees the context and one hidden layer of it that all of them share.
    """

    def __init__(
        self,
        key: PRNGKey,
        dim: int,
        context: Contextual,
        layers: int,
        hidden: tuple[int, ...],
        sections: tuple[int, ...],
        elementwise: Callable[[tuple[Array, ...]], distrax.Bijector],
    ) -> None:
        self.dim, self.elementwise, self.context = dim, elementwise, context
        key_shared, key_made = jax.random.split(key)
        self.shared = MLP(key_shared, context.size, hidden[:1])
        size = context.size + hidden[0]
        self.made = MADE(key_made, orders(dim, layers), size, hidden, sections)

    def distribution(
        self, x: Data, defined: Bool[Array, " d"] | None = None
    ) -> distrax.Distribution:
        """q(· | x) over z (d,); with `defined` over those of its coordinates, the others normal."""
        context = self.context(x)
        context = jnp.concatenate([context, self.shared(context)])
        conditioners = self.made.given(context)
        maps = [MaskedAutoregressive(c, self.elementwise, defined) for c in conditioners]
        return distrax.Transformed(_normal(self.dim), distrax.Inverse(distrax.Chain(maps[::-1])))

    def push(self, u: Float[Array, " d"], x: Data) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """z = f⁻¹(u), log |det ∂z/∂u|."""
        return self.distribution(x).bijector.forward_and_log_det(u)

    def pull(self, z: Float[Array, " d"], x: Data) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """u = f(z), log |det ∂u/∂z|."""
        return self.distribution(x).bijector.inverse_and_log_det(z)

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.distribution(x).log_prob(z)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x)."""
        return self.distribution(x).sample(seed=key)

    def sample_and_log_prob(
        self, key: PRNGKey, x: Data
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """z ~ q(· | x), and log q(z | x) by the way."""
        return self.distribution(x).sample_and_log_prob(seed=key)


def _normal(dim: int) -> distrax.Distribution:
    return distrax.Independent(distrax.Normal(jnp.zeros(dim), jnp.ones(dim)), 1)


def orders(dim: int, layers: int) -> list[tuple[int, ...]]:
    """Orders of d coordinates: natural, reversed, riffled, riffled reversed, riffled twice, …"""
    order, result = list(range(dim)), []
    for layer in range(layers):
        result.append(tuple(order[::-1] if layer % 2 else order))
        if layer % 2:
            order = order[::2] + order[1::2]
    return result


def affine(parameters: tuple[Array, ...]) -> distrax.Bijector:
    """u = (z − μ) e^{−α}, with |α| < 5."""
    mean, log_scale = parameters[0]
    log_scale = bounded(log_scale, MAX_LOG_SCALE)
    return distrax.Inverse(distrax.ScalarAffine(shift=mean, log_scale=log_scale))


def spline(parameters: tuple[Array, ...]) -> distrax.Bijector:
    """u = S((z − μ) e^{−α}), S a rational-quadratic spline on [−5, 5], the identity beyond."""
    return distrax.Chain([RationalQuadraticSpline(*parameters[1:], BOUND), affine(parameters)])
