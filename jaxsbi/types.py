"""Names for what flows between the layers: keys, arrays, trees, and the three seams.

Shapes follow one convention throughout: `d` parameters, `k` features, `n` rows, `b` observations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Float, Key, PyTree

if TYPE_CHECKING:
    from flax import nnx

PRNGKey: TypeAlias = Key[Array, ""]
Theta: TypeAlias = Float[Array, " d"]
Data: TypeAlias = PyTree[Float[Array, "..."]]
"""One observation: an array, or a pytree of arrays. NaN marks an undefined feature."""


@runtime_checkable
class Simulator(Protocol):
    """x ~ p(x | θ) for one parameter vector; the library vmaps, chunks, shards and jits it."""

    def __call__(self, key: PRNGKey, theta: Theta) -> Data: ...


@runtime_checkable
class Conditional(Protocol):
    """A conditional density q(z | x) of one z (d,) given one raw x: a `flax.nnx.Module`.

    One whose −log q is too dear to train on also has loss(key, z, x), a number to train on instead.
    """

    def log_prob(self, z: Theta, x: Data) -> Float[Array, ""]: ...

    def sample(self, key: PRNGKey, x: Data) -> Theta: ...


@runtime_checkable
class Estimator(Protocol):
    """A frozen value that says which conditional density to build; weights live in the module."""

    def init(self, key: PRNGKey, dim: int, moments: Any) -> nnx.Module: ...

    def spec(self) -> dict[str, Any]: ...


@runtime_checkable
class Loss(Protocol):
    """Per-row training losses (batch,) of a trained module, a pure function.

    `index` says which rows of the whole buffer `simulations` make up the minibatch, for losses
    that contrast a row with others. A `jax.tree_util.Partial` over arrays is a loss whose arrays
    may change without a new compilation.
    """

    def __call__(
        self, key: PRNGKey, conditional: Conditional, index: Any, simulations: Any
    ) -> Float[Array, " batch"]: ...
