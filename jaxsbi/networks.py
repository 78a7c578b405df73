"""Networks: standardisation, perceptrons and the masked conditioner, as flax.nnx modules.

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

from jaxsbi.arguments import check_count
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
            slope = jnp.diff(score, axis=0) / jnp.where(width > 0, width, 1.0)
            # quantiles last: XLA's CPU sums run along them
            for rows, column in ((starts, q[:-1]), (widths, width), (slopes, slope)):
                rows.append(Constant(jnp.moveaxis(column, 0, -1)))
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
            ramps = jnp.clip(known[..., None] - start[...], 0.0, width[...]) * slope[...]
            score = lowest[...] + jnp.sum(ramps, axis=-1)
            scores.append(jnp.where(jnp.isnan(leaf), 0.0, score))
        return self.treedef.unflatten(scores)


def _softclip(u: Array) -> Array:
    u = jnp.clip(u, -_REACHES_CAP, _REACHES_CAP)
    excess = jnp.maximum(jnp.abs(u) - LINEAR_RANGE, 0.0)
    return jnp.where(excess > 0, jnp.sign(u) * (LINEAR_RANGE + jnp.log1p(excess)), u)


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


def bounded(value: Array, limit: float) -> Array:
    """A smooth, odd, monotone map to (−limit, limit) with slope 1 at 0."""
    return value / (1 + jnp.abs(value) / limit)


def check_sizes(name: str, values: Any) -> tuple[int, ...]:
    """`values` as a tuple; a ValueError naming it unless it holds one or more positive integers."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} must be a tuple of layer sizes such as (50, 50), got {values!r}")
    return tuple(check_count(f"{name}[{i}]", v) for i, v in enumerate(values))


class MADE(nnx.Module):
    """p_i = f(z_{<i}, context): parameters of coordinate i from those before it; L such networks.

    Perceptrons whose weights are masked so that the Jacobian is triangular in a network's order;
    the outputs start at 0. Germain et al. 2015, arXiv:1502.03509, eqs. 12–13, with hidden units
    of degree 0, which see the context alone, so that it also serves the first coordinate, and
    d = 1. The first parameter also has a part linear in z_{<i} and context, which learns nearly
    Gaussian posteriors from few rows. The L networks are one array per layer, in few large kernels.

    orders: each network's coordinates from the first to the last.
    sections: numbers of parameters per coordinate; a call returns one array (s, d) for each.
    """

    def __init__(
        self,
        key: PRNGKey,
        orders: Sequence[tuple[int, ...]],
        context: int,
        hidden: tuple[int, ...],
        sections: tuple[int, ...],
    ) -> None:
        n, d = len(orders), len(orders[0])
        self.orders, self.sizes, self.sections = tuple(orders), hidden, sections
        keys = jax.random.split(key, len(hidden) + 1)
        masks = _masks(self.orders, hidden)
        self.context = Dense(keys[0], context, n * (hidden[0] + d))
        kernels = [_masked_normal(k, m) for k, m in zip(keys[1:], masks[:-1], strict=True)]
        # the linear part, the last d columns, starts at 0
        kernels[0] = kernels[0].at[:, :, hidden[0] :].set(0)
        of_context = self.context.kernel[...].reshape(context, n, -1)
        self.context.kernel[...] = of_context.at[:, :, hidden[0] :].set(0).reshape(context, -1)
        self.kernels = nnx.List(map(nnx.Param, kernels))
        self.biases = nnx.List([nnx.Param(jnp.zeros((n, size))) for size in hidden[1:]])
        self.outputs = nnx.List([nnx.Param(jnp.zeros((n, hidden[-1], s * d))) for s in sections])
        self.output_biases = nnx.List([nnx.Param(jnp.zeros((n, s * d))) for s in sections])

    def given(self, context: Float[Array, " c"]) -> list[Conditioner]:
        """The conditioners of one context, whose share is computed here, once for all."""
        *masks, last = _masks(self.orders, self.sizes)
        starts = _unstack(self.context(context).reshape(len(self.orders), -1))
        kernels = [_unstack(k[...] * m) for k, m in zip(self.kernels, masks, strict=True)]
        biases = [_unstack(b[...]) for b in self.biases]
        outputs = [
            _unstack(k[...] * np.tile(last, (1, 1, s)))
            for k, s in zip(self.outputs, self.sections, strict=True)
        ]
        output_biases = [_unstack(b[...]) for b in self.output_biases]

        def layer(arrays: list[list[Array]], number: int) -> tuple[Array, ...]:
            return tuple(array[number] for array in arrays)

        return [
            Conditioner(
                order,
                start,
                layer(kernels, i),
                layer(biases, i),
                layer(outputs, i),
                layer(output_biases, i),
                self.sections,
            )
            for i, (order, start) in enumerate(zip(self.orders, starts, strict=True))
        ]


def _unstack(array: Float[Array, "n ..."]) -> list[Array]:
    """The rows: by a split, whose gradient is one concatenation, not a sum of padded rows."""
    return [jnp.squeeze(row, 0) for row in jnp.split(array, array.shape[0])]


@dataclass(frozen=True)
class Conditioner:
    """One masked network given its context: z ↦ parameters, at once or one coordinate at a time.

    The state of the latter is the first layer's sum over the context and the coordinates known,
    and behind it, one number for each coordinate, the linear part.
    """

    order: tuple[int, ...]
    start: Float[Array, " h"]
    kernels: tuple[Float[Array, "i o"], ...]
    biases: tuple[Float[Array, " o"], ...]
    outputs: tuple[Float[Array, "h sd"], ...]
    output_biases: tuple[Float[Array, " sd"], ...]
    sections: tuple[int, ...]

    def __call__(self, z: Float[Array, " d"]) -> tuple[Float[Array, "s d"], ...]:
        first = self.start + z @ self.kernels[0]
        h = self._hidden(first)
        outputs = [
            (h @ kernel + bias).reshape(s, -1)
            for s, kernel, bias in zip(self.sections, self.outputs, self.output_biases, strict=True)
        ]
        return _add_to_first(outputs, first[None, -z.size :])

    def row(self, state: Float[Array, " h"], i: Int[Array, ""]) -> tuple[Float[Array, " s"], ...]:
        h = self._hidden(state)
        outputs = [
            h @ kernel.reshape(h.size, s, -1)[:, :, i] + bias.reshape(s, -1)[:, i]
            for s, kernel, bias in zip(self.sections, self.outputs, self.output_biases, strict=True)
        ]
        return _add_to_first(outputs, state[None, -len(self.order) :][:, i])

    def extend(
        self, state: Float[Array, " h"], i: Int[Array, ""], z_i: Float[Array, ""]
    ) -> Float[Array, " h"]:
        return state + z_i * self.kernels[0][i]

    def _hidden(self, first: Float[Array, " h"]) -> Float[Array, " h"]:
        h = nnx.silu(first[: -len(self.order)])
        for kernel, bias in zip(self.kernels[1:], self.biases, strict=True):
            h = nnx.silu(h @ kernel + bias)
        return h


def _add_to_first(sections: list[Array], row: Float[Array, "1 ..."]) -> tuple[Array, ...]:
    """The sections (s, …), `row` added to the first row of the first."""
    rest = [(0, 0)] * (row.ndim - 1)
    return (sections[0] + jnp.pad(row, [(0, len(sections[0]) - 1), *rest]), *sections[1:])


@functools.lru_cache(maxsize=256)
def _masks(orders: tuple[tuple[int, ...], ...], hidden: tuple[int, ...]) -> list[np.ndarray]:
    """1 where a unit may see another, (L, in, out) for each layer, the linear part in the first.

    Hidden degrees are spread evenly over 0, …, d − 1.
    """
    d = len(orders[0])
    position = np.argsort(orders, axis=1)
    degrees = [np.arange(n) * d // n for n in hidden]
    first = degrees[0][None, None, :] > position[:, :, None]
    linear = position[:, None, :] > position[:, :, None]
    first = np.concatenate([np.broadcast_to(first, (*position.shape, hidden[0])), linear], axis=2)
    between = [
        np.broadcast_to(after[None, :] >= before[:, None], (len(orders), len(before), len(after)))
        for before, after in zip(degrees[:-1], degrees[1:], strict=True)
    ]
    last = position[:, None, :] >= degrees[-1][None, :, None]
    return [mask.astype(np.float32) for mask in (first, *between, last)]


def _masked_normal(key: PRNGKey, mask: np.ndarray) -> Float[Array, "n i o"]:
    fan_in = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return jax.random.normal(key, mask.shape) * (mask / np.sqrt(fan_in))
