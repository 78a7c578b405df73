"""Embeddings x ↦ context (c,): what a density knows of x, learned together with it.

An embedding is a factory (rngs, example) ↦ module; the module maps (values, defined), two trees
shaped like one x, standardised numbers and 1 where they are defined, to a vector. Any flax module
that does so serves. Those made here look at the leaves of x that have the axes they are made for
(image, time, set), side by side as channels, each number with a flag beside it, 1 where it is
undefined; numbers without such axes bypass them and join the vector at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.arguments import check_count
from jaxsbi.images import Convolutions
from jaxsbi.networks import MLP, Dense, Embedding, check_sizes
from jaxsbi.types import Data, PRNGKey

Example = tuple[Data, Data]


def _flagged(values: Data, defined: Data, axes: int) -> list[tuple[Array, Array]]:
    """Numbers and flags of each leaf, its first `axes` axes kept and the others one."""
    pairs = zip(jax.tree.leaves(values), jax.tree.leaves(defined), strict=True)
    return [(v.reshape(*v.shape[:axes], -1), 1 - d.reshape(*v.shape[:axes], -1)) for v, d in pairs]


def _channels(values: Data, defined: Data, axes: int) -> Float[Array, "... c"]:
    """The leaves of at least `axes` axes, side by side: (…, c), numbers first, then flags."""
    leaves = zip(jax.tree.leaves(values), _flagged(values, defined, axes), strict=True)
    chosen = [pair for leaf, pair in leaves if leaf.ndim >= axes]
    return jnp.concatenate([part for side in zip(*chosen, strict=True) for part in side], axis=-1)


class _Embedded(nnx.Module):
    """`net` of the leaves made for it, and the numbers that bypass it."""

    def __init__(self, net: nnx.Module, axes: int) -> None:
        self.net, self.axes = net, axes

    def __call__(self, values: Data, defined: Data) -> Float[Array, " c"]:
        seen = self.net(_channels(values, defined, self.axes))
        few = [leaf.ndim < self.axes for leaf in jax.tree.leaves(values)]
        flat = [pair for pair, kept in zip(_flagged(values, defined, 0), few, strict=True) if kept]
        return jnp.concatenate([seen, *(part for pair in flat for part in pair)])


@dataclass(frozen=True)
class _Factory:
    """What a function below returns: the settings of a network and the axes it is made for."""

    axes: ClassVar[int]
    kind: ClassVar[str]

    def __call__(self, rngs: nnx.Rngs, example: Example) -> nnx.Module:
        lead = {leaf.shape[: self.axes] for leaf in jax.tree.leaves(example[0])}
        lead = {shape for shape in lead if len(shape) == self.axes}
        if len(lead) != 1:
            raise ValueError(
                f"x must have leaves with {self.axes} leading axes of one shape for "
                f"{self.kind}(), got {sorted(lead) or 'none'}; give other numbers as scalars, one "
                "leaf each, or bring an embedding of your own"
            )
        shape = jax.eval_shape(lambda e: _channels(*e, self.axes), example).shape
        return _Embedded(self.build(rngs.params(), shape), self.axes)

    def build(self, key: PRNGKey, shape: tuple[int, ...]) -> nnx.Module:
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"name": self.kind, **settings}


class _Flat(nnx.Module):
    def __init__(self, key: PRNGKey, inputs: int, hidden: Sequence[int], features: int) -> None:
        self.net = MLP(key, inputs, hidden, features)

    def __call__(self, numbers: Float[Array, " c"]) -> Float[Array, " f"]:
        return self.net(numbers)


class _Recurrent(nnx.Module):
    """Gated recurrent unit over windows of a trace; its mean and its last state, a linear map.

    h ← u h + (1 − u) tanh(W x + r V h), (u, r) = σ(of x and h). Cho et al. 2014, arXiv:1406.1078.
    """

    def __init__(
        self, key: PRNGKey, shape: tuple[int, ...], hidden: int, window: int, features: int
    ) -> None:
        self.hidden, self.window = hidden, window
        key_input, key_state, key_out = jax.random.split(key, 3)
        self.input = Dense(key_input, window * shape[-1], 3 * hidden)
        self.state = nnx.Param(jax.random.normal(key_state, (hidden, 3 * hidden)) / hidden**0.5)
        self.out = Dense(key_out, 2 * hidden, features)

    def __call__(self, trace: Float[Array, "t c"]) -> Float[Array, " f"]:
        windows = -(-trace.shape[0] // self.window)
        trace = jnp.pad(trace, ((0, windows * self.window - trace.shape[0]), (0, 0)))
        inputs = self.input(trace.reshape(windows, -1))
        kernel = self.state[...]

        def step(h: Array, x: Array) -> tuple[Array, Array]:
            (x_gates, x_new), gates_new = jnp.split(x, [2 * self.hidden]), h @ kernel
            gates, new = jnp.split(gates_new, [2 * self.hidden])
            u, r = jnp.split(nnx.sigmoid(x_gates + gates), 2)
            h = u * h + (1 - u) * jnp.tanh(x_new + r * new)
            return h, h

        last, states = jax.lax.scan(step, jnp.zeros(self.hidden, trace.dtype), inputs)
        return nnx.silu(self.out(jnp.concatenate([last, jnp.mean(states, axis=0)])))


class _Set(nnx.Module):
    """ρ(mean of φ(x_i) over the elements that are known, share known). Zaheer et al. 2017,
    arXiv:1703.06114. An element is known if any of its numbers is defined."""

    def __init__(
        self, key: PRNGKey, shape: tuple[int, ...], hidden: tuple[int, ...], features: int
    ) -> None:
        key_element, key_set = jax.random.split(key)
        self.element = MLP(key_element, shape[-1], hidden)
        self.whole = MLP(key_set, hidden[-1] + 1, hidden[-1:], features)

    def __call__(self, elements: Float[Array, "n c"]) -> Float[Array, " f"]:
        flags = elements[:, elements.shape[1] // 2 :]
        known = jnp.any(flags == 0, axis=1).astype(elements.dtype)
        # on the lead axis, so that the sum over elements is one matrix product
        pooled = known @ self.element(elements) / jnp.maximum(jnp.sum(known), 1)
        return self.whole(jnp.append(pooled, jnp.mean(known)))


@dataclass(frozen=True)
class _MLP(_Factory):
    axes, kind = 0, "mlp"
    hidden: tuple[int, ...]
    features: int

    def build(self, key: PRNGKey, shape: tuple[int, ...]) -> nnx.Module:
        return _Flat(key, shape[-1], self.hidden, self.features)


@dataclass(frozen=True)
class _CNN(_Factory):
    axes, kind = 2, "cnn"
    channels: tuple[int, ...]
    width: int
    features: int
    shrink: int
    pool: tuple[int, ...]
    heads: int

    def build(self, key: PRNGKey, shape: tuple[int, ...]) -> nnx.Module:
        return Convolutions(key, shape, **vars(self))


@dataclass(frozen=True)
class _RNN(_Factory):
    axes, kind = 1, "rnn"
    hidden: int
    window: int
    features: int

    def build(self, key: PRNGKey, shape: tuple[int, ...]) -> nnx.Module:
        return _Recurrent(key, shape, self.hidden, self.window, self.features)


@dataclass(frozen=True)
class _DeepSet(_Factory):
    axes, kind = 1, "deepset"
    hidden: tuple[int, ...]
    features: int

    def build(self, key: PRNGKey, shape: tuple[int, ...]) -> nnx.Module:
        return _Set(key, shape, self.hidden, self.features)


def mlp(hidden: Sequence[int] = (50, 50), features: int = 20) -> Embedding:
    """Every number of x through a perceptron.

    Errors: ValueError for sizes that are not positive integers.
    """
    return _MLP(check_sizes("hidden", hidden), check_count("features", features))


def cnn(
    channels: Sequence[int] = (8, 16),
    width: int = 5,
    features: int = 50,
    *,
    shrink: int = 1,
    pool: int | Sequence[int] = 2,
    heads: int = 0,
) -> Embedding:
    """Images (h, w) or (h, w, c) through convolutions; scalars and vectors of x bypass them.

    channels: of each layer, a convolution `width` pixels wide, then a mean over pool × pool pixels
    (one number, or one for each layer). shrink: pixels averaged so before all of it, which is
    cheaper where the image is noise. heads: of attention, for what may lie anywhere in the image:
    each gives the place it looks at, [−1, 1] down and across, and what is there; with 0 every
    pixel that is left enters a linear map.

    Errors: ValueError for sizes that are not positive integers; when it meets x, for images of
    different sizes.
    """
    channels = check_sizes("channels", channels)
    pools = check_sizes("pool", [pool] * len(channels) if np.ndim(pool) == 0 else pool)
    if len(pools) != len(channels):
        raise ValueError(
            f"pool must be one number, or one for each of the {len(channels)} layers of channels, "
            f"got {len(pools)}"
        )
    return _CNN(
        channels,
        check_count("width", width),
        check_count("features", features),
        check_count("shrink", shrink),
        pools,
        check_count("heads", heads, least=0),
    )


def rnn(hidden: int = 50, window: int = 1, features: int = 20) -> Embedding:
    """Traces (t,) or (t, c) through a gated recurrent unit; scalars of x bypass it.

    window: samples that enter at once, so that long traces take few steps.

    Errors: ValueError for sizes that are not positive integers; when it meets x, for traces of
    different lengths.
    """
    return _RNN(
        check_count("hidden", hidden),
        check_count("window", window),
        check_count("features", features),
    )


def deepset(hidden: Sequence[int] = (50, 50), features: int = 20) -> Embedding:
    """Sets (n,) or (n, c) of exchangeable elements, such as iid trials; scalars of x bypass it.

    The order of elements does not matter, and one of nothing but NaN counts as absent, so that
    smaller sets may be filled up with NaN.

    Errors: ValueError for sizes that are not positive integers; when it meets x, for sets of
    different lengths.
    """
    return _DeepSet(check_sizes("hidden", hidden), check_count("features", features))


EMBEDDINGS = {"mlp": mlp, "cnn": cnn, "rnn": rnn, "deepset": deepset}
