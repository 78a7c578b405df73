"""Networks: standardisation, embeddings and the masked conditioner, as flax.nnx modules.

Modules act on one example. Trained arrays are `nnx.Param`, every other array is a `Constant`;
sizes, orders and functions are static, so two modules of one specification share a compilation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxsbi.dataset import SCORES, Moments
from jaxsbi.types import Data, PRNGKey

LINEAR_RANGE, CAP = 5.0, 10.0
_REACHES_CAP = LINEAR_RANGE + math.expm1(CAP - LINEAR_RANGE)

Embedding: TypeAlias = Callable[[nnx.Rngs, tuple[Data, Data]], nnx.Module]


class Constant(nnx.Variable):
    """An array of a module that is not trained."""


class Standardise(nnx.Module):
    """values = c((x − location) / scale), defined = 1[x is not NaN]: two pytrees shaped like x.

    c(u) = u for |u| ≤ 5, then sign(u) (5 + log(|u| − 4)), at most 10, where ±inf lands; the
    value of an undefined entry is 0.
    """

    def __init__(self, moments: Moments) -> None:
        location, self.treedef = jax.tree.flatten(moments.location)
        self.location = nnx.List([Constant(jnp.asarray(leaf)) for leaf in location])
        scale = jax.tree.leaves(moments.scale)
        self.scale = nnx.List([Constant(jnp.asarray(leaf)) for leaf in scale])

    def __call__(self, x: Data) -> tuple[Data, Data]:
        values, defined = [], []
        leaves = self.treedef.flatten_up_to(x)
        for leaf, location, scale in zip(leaves, self.location, self.scale, strict=True):
            known = ~jnp.isnan(leaf)
            u = (jnp.where(known, leaf, location[...]) - location[...]) / scale[...]
            values.append(_softclip(u))
            defined.append(known.astype(u.dtype))
        return self.treedef.unflatten(values), self.treedef.unflatten(defined)


class NormalScores(nnx.Module):
    """s(x) ≈ Φ⁻¹(F(x)), F the distribution of a feature among the simulations: a tree like x.

    Piecewise linear between the kept quantiles and constant beyond; ties share their mean score;
    0 where x is undefined. It resolves features that spread over decades or pile up somewhere,
    which a location and a scale cannot.
    """

    def __init__(self, moments: Moments) -> None:
        quantiles, self.treedef = jax.tree.flatten(moments.quantiles)
        starts, widths, slopes, lowest = [], [], [], []
        for q in map(jnp.asarray, quantiles):
            level = jnp.asarray(SCORES, q.dtype)
            tied = (q[:, None] == q[None, :]).astype(q.dtype)
            score = jnp.einsum("ij...,j->i...", tied, level) / jnp.sum(tied, axis=1)
            width = jnp.diff(q, axis=0)
            starts.append(Constant(q[:-1]))
            widths.append(Constant(width))
            slopes.append(Constant(jnp.diff(score, axis=0) / jnp.where(width > 0, width, 1.0)))
            lowest.append(Constant(score[0]))
        self.starts, self.widths = nnx.List(starts), nnx.List(widths)
        self.slopes, self.lowest = nnx.List(slopes), nnx.List(lowest)

    def __call__(self, x: Data) -> Data:
        scores = []
        for leaf, start, width, slope, lowest in zip(
            self.treedef.flatten_up_to(x),
            self.starts,
            self.widths,
            self.slopes,
            self.lowest,
            strict=True,
        ):
            largest = jnp.finfo(leaf.dtype).max / 4
            known = jnp.where(jnp.isnan(leaf), 0.0, leaf).clip(-largest, largest)
            ramps = jnp.clip(known - start[...], 0.0, width[...]) * slope[...]
            score = lowest[...] + jnp.sum(ramps, axis=0)
            scores.append(jnp.where(jnp.isnan(leaf), 0.0, score))
        return self.treedef.unflatten(scores)


def _softclip(u: Array) -> Array:
    u = jnp.clip(u, -_REACHES_CAP, _REACHES_CAP)
    excess = jnp.maximum(jnp.abs(u) - LINEAR_RANGE, 0.0)
    return jnp.where(excess > 0, jnp.sign(u) * (LINEAR_RANGE + jnp.log1p(excess)), u)


def _ravel(values: Data, defined: Data) -> Float[Array, " c"]:
    leaves = jax.tree.leaves(values) + [1 - leaf for leaf in jax.tree.leaves(defined)]
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])


class Dense(nnx.Module):
    """y = x W + b; W from N(0, 1/fan-in), or 0."""

    def __init__(self, key: PRNGKey, inputs: int, outputs: int, *, zero: bool = False) -> None:
        scale = 0.0 if zero else 1 / math.sqrt(max(inputs, 1))
        self.kernel = nnx.Param(scale * jax.random.normal(key, (inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, " i"]) -> Float[Array, " o"]:
        return x @ self.kernel[...] + self.bias[...]


class MLP(nnx.Module):
    """h ↦ σ(h W + b), once per hidden size; linear to `features` if given."""

    def __init__(
        self, key: PRNGKey, inputs: int, hidden: Sequence[int], features: int | None = None
    ) -> None:
        sizes = [inputs, *hidden] + ([] if features is None else [features])
        keys = jax.random.split(key, len(sizes) - 1) if len(sizes) > 1 else []
        layers = zip(keys, sizes[:-1], sizes[1:], strict=True)
        self.layers = nnx.List([Dense(k, i, o) for k, i, o in layers])
        self.linear_output = features is not None

    def __call__(self, h: Float[Array, " i"]) -> Float[Array, " o"]:
        for number, layer in enumerate(self.layers, 1):
            h = layer(h)
            if not (self.linear_output and number == len(self.layers)):
                h = nnx.silu(h)
        return h


class _FlatMLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, inputs: int, hidden: Sequence[int], features: int) -> None:
        self.net = MLP(rngs.params(), inputs, hidden, features)

    def __call__(self, values: Data, defined: Data) -> Float[Array, " c"]:
        return self.net(_ravel(values, defined))


@dataclass(frozen=True)
class _MLPEmbedding:
    hidden: tuple[int, ...]
    features: int

    def __call__(self, rngs: nnx.Rngs, example: tuple[Data, Data]) -> nnx.Module:
        return _FlatMLP(rngs, _ravel(*example).size, self.hidden, self.features)

    def spec(self) -> dict[str, Any]:
        return {"name": "mlp", "hidden": list(self.hidden), "features": self.features}


def mlp(hidden: Sequence[int] = (50, 50), features: int = 20) -> Embedding:
    """Embedding x ↦ context (features,): the flattened x through a perceptron, trained jointly.

    Errors: ValueError for sizes that are not positive integers.
    """
    return _MLPEmbedding(check_sizes("hidden", hidden), check_size("features", features))


def bounded(value: Array, limit: float) -> Array:
    """A smooth, odd, monotone map to (−limit, limit) with slope 1 at 0."""
    return value / (1 + jnp.abs(value) / limit)


def check_size(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int; a ValueError naming it unless it is an integer ≥ least."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_sizes(name: str, values: Any) -> tuple[int, ...]:
    """`values` as a tuple; a ValueError naming it unless it holds one or more positive integers."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} must be a tuple of layer sizes such as (50, 50), got {values!r}")
    return tuple(check_size(f"{name}[{i}]", v) for i, v in enumerate(values))


class MADE(nnx.Module):
    """p_i = f(z_{<i}, context): parameters of coordinate i from those before it in `order`.

    A perceptron whose weights are masked so that its Jacobian is triangular in `order`; the
    outputs start at 0. Germain et al. 2015, arXiv:1502.03509, eqs. 12–13, with hidden units of
    degree 0, which see the context alone, so that it also serves the first coordinate, and d = 1.

    order: coordinates from the first to the last.
    sections: numbers of parameters per coordinate; a call returns one array (s, d) for each.
    """

    def __init__(
        self,
        key: PRNGKey,
        order: tuple[int, ...],
        context: int,
        hidden: tuple[int, ...],
        sections: tuple[int, ...],
    ) -> None:
        d = len(order)
        self.order, self.sizes, self.sections = order, hidden, sections
        keys = jax.random.split(key, len(hidden) + 2)
        masks = self._masks()
        self.context = Dense(keys[0], context, hidden[0])
        self.input = nnx.Param(_masked_normal(keys[1], masks[0]))
        self.hidden = nnx.List(
            [nnx.Param(_masked_normal(k, m)) for k, m in zip(keys[2:-1], masks[1:-1], strict=True)]
        )
        self.biases = nnx.List([nnx.Param(jnp.zeros(n)) for n in hidden[1:]])
        self.outputs = nnx.List([Dense(keys[-1], hidden[-1], s * d, zero=True) for s in sections])

    def _masks(self) -> list[np.ndarray]:
        return _masks(self.order, self.sizes)

    def given(self, context: Float[Array, " c"]) -> Conditioner:
        """The conditioner of one context, whose share is computed here, once."""
        return Conditioner(self, self.context(context))

    def _hidden(self, first: Float[Array, " h"]) -> Float[Array, " h"]:
        h = nnx.silu(first)
        for kernel, mask, bias in zip(self.hidden, self._masks()[1:-1], self.biases, strict=True):
            h = nnx.silu(h @ (kernel[...] * mask) + bias[...])
        return h


@dataclass(frozen=True)
class Conditioner:
    """A MADE given its context: z ↦ parameters, at once or coordinate by coordinate.

    The state of the latter is the first layer's sum over the context and the coordinates known.
    """

    network: MADE
    start: Float[Array, " h"]

    @property
    def order(self) -> tuple[int, ...]:
        return self.network.order

    def __call__(self, z: Float[Array, " d"]) -> tuple[Float[Array, "s d"], ...]:
        net = self.network
        masks = net._masks()
        h = net._hidden(self.start + z @ (net.input[...] * masks[0]))
        return tuple(
            (h @ (o.kernel[...] * np.tile(masks[-1], (1, s))) + o.bias[...]).reshape(s, -1)
            for s, o in zip(net.sections, net.outputs, strict=True)
        )

    def row(self, state: Float[Array, " h"], i: Int[Array, ""]) -> tuple[Float[Array, " s"], ...]:
        net = self.network
        h = net._hidden(state) * jnp.asarray(net._masks()[-1])[:, i]
        return tuple(
            h @ o.kernel[...].reshape(h.size, s, -1)[:, :, i] + o.bias[...].reshape(s, -1)[:, i]
            for s, o in zip(net.sections, net.outputs, strict=True)
        )

    def extend(
        self, state: Float[Array, " h"], i: Int[Array, ""], z_i: Float[Array, ""]
    ) -> Float[Array, " h"]:
        net = self.network
        return state + z_i * (net.input[...] * net._masks()[0])[i]


@functools.lru_cache(maxsize=256)
def _masks(order: tuple[int, ...], hidden: tuple[int, ...]) -> list[np.ndarray]:
    """1 where a unit may see another: hidden degrees spread evenly over 0, …, d − 1."""
    d = len(order)
    position = np.argsort(order)
    degrees = [np.arange(n) * d // n for n in hidden]
    first = degrees[0][None, :] > position[:, None]
    between = [
        after[None, :] >= before[:, None]
        for before, after in zip(degrees[:-1], degrees[1:], strict=True)
    ]
    last = position[None, :] >= degrees[-1][:, None]
    return [mask.astype(np.float32) for mask in (first, *between, last)]


def _masked_normal(key: PRNGKey, mask: np.ndarray) -> Float[Array, "i o"]:
    fan_in = np.maximum(mask.sum(axis=0), 1)
    return jax.random.normal(key, mask.shape) * (mask / np.sqrt(fan_in))
