"""Host simulators: plain Python functions as simulators, outside JAX programs and inside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxsbi.arguments import check_count, first_line
from jaxsbi.types import PRNGKey


class Host:
    """A plain Python simulator `fn(rng, theta) -> x`: NumPy, NEURON, Brian, a subprocess.

    `fn` gets a `numpy.random.Generator` made from the row's own key and θ (d,) as a NumPy array,
    and returns an array, or a pytree of arrays, of `output_shape`. Made by `jaxsbi.host`.
    """

    def __init__(self, fn: Callable[..., Any], output_shape: PyTree, workers: int = 1):
        self.fn, self.output, self.workers = fn, _output_struct(output_shape), workers

    def run(self, seed: np.ndarray, theta: np.ndarray) -> PyTree[np.ndarray]:
        """One row outside JAX, its outcome checked against the declared shape."""
        rng = np.random.default_rng(np.asarray(seed).tolist())
        try:
            x = self.fn(rng, np.asarray(theta))
        except Exception as error:  # the user's own code: whatever it raises is its failure
            raise ValueError(
                f"simulate raised {type(error).__name__}: {first_line(error)} for theta "
                f"{np.asarray(theta).tolist()}; return NaN where a simulation fails"
            ) from error
        x = jax.tree.map(np.asarray, x)
        strange = [leaf.dtype for leaf in jax.tree.leaves(x) if leaf.dtype.kind not in "biuf"]
        if strange:
            raise ValueError(
                f"simulate must return real numbers, got dtype {strange[0]} for theta "
                f"{np.asarray(theta).tolist()}; return NaN where a simulation fails"
            )
        if jax.tree.map(np.shape, x) != jax.tree.map(lambda s: s.shape, self.output):
            raise ValueError(
                f"output_shape promises {_shapes(self.output)}, but the simulator returned "
                f"{_shapes(x)}; correct output_shape or the simulator"
            )
        return jax.tree.map(lambda leaf, s: leaf.astype(s.dtype), x, self.output)

    def __call__(self, key: PRNGKey, theta: Array) -> PyTree[Array]:
        """One row from inside a JAX program, by a callback."""
        seed = jax.random.key_data(key)
        return jax.pure_callback(self.run, self.output, seed, theta, vmap_method="sequential")


def host(fn: Callable[..., Any], *, output_shape: PyTree, workers: int = 1) -> Host:
    """Bring in a plain Python simulator `fn(rng, theta) -> x` of known `output_shape`.

    A store or a run on disk knows it by its source and what it is bound to, not by what it reads
    under names of its module. Raises ValueError there for what is bound and cannot be compared.

    output_shape: the shape of x as a tuple of ints, or a pytree (dict, …) of such tuples.
    workers: threads that run rows at once; more than one helps where `fn` releases the
    interpreter lock, as NumPy and subprocesses do.
    """
    if not callable(fn):
        raise ValueError(f"fn must be a function (rng, theta) -> x, got {type(fn).__name__}")
    return Host(fn, output_shape, check_count("workers", workers))


@contextmanager
def plain_failures() -> Iterator[None]:
    """Within the block what a host simulator raises in a JAX program comes out as one line."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        said = str(error).strip().splitlines() or [""]
        if not any(line.endswith("Traceback (most recent call last):") for line in said):
            raise
        kind, _, what = said[-1].partition(": ")
        # a Host says all of it itself; a callback of the user's own does not
        own = kind == ValueError.__name__
        raise ValueError(what if own else f"simulate raised {said[-1]}") from None


def _output_struct(shape: PyTree) -> PyTree[jax.ShapeDtypeStruct]:
    def is_shape(node: Any) -> bool:
        return isinstance(node, tuple) and all(isinstance(size, int) for size in node)

    def one(node: Any) -> jax.ShapeDtypeStruct:
        if not is_shape(node) or min(node, default=1) < 1:
            raise ValueError(
                "output_shape must be a tuple of positive ints, or a pytree of such tuples, "
                f"got {node!r}"
            )
        return jax.ShapeDtypeStruct(node, jnp.zeros(()).dtype)

    return jax.tree.map(one, shape, is_leaf=is_shape)


def _shapes(tree: PyTree) -> Any:
    return jax.tree.map(lambda leaf: tuple(leaf.shape), tree)
