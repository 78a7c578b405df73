"""Posteriors of derived quantities: p(g(θ) | x) for any function g of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxsbi.analysis.densities import check_posterior, draws_of
from jaxsbi.arguments import check_count, check_key, check_real
from jaxsbi.compilation import ByIdentity
from jaxsbi.types import Data, PRNGKey


@dataclass(frozen=True)
class Derived:
    """Draws (n, …) of a quantity g(θ), θ ~ p(θ | x), with the θ (n, d) that gave them."""

    values: Float[np.ndarray, "n ..."]
    theta: Float[np.ndarray, "n d"]

    @property
    def mean(self) -> Any:
        return self.values.mean(axis=0)

    @property
    def sd(self) -> Any:
        return self.values.std(axis=0)

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "2 ..."]:
        """The central interval of that posterior mass: (lower, upper)."""
        level = check_real("level", level, 0.0, 1.0)
        return np.quantile(self.values, [(1 - level) / 2, (1 + level) / 2], axis=0)

    def probability(self, holds: Callable[[np.ndarray], np.ndarray]) -> Any:
        """P(holds(g(θ)) | x), such as derived.probability(lambda v: v > 0)."""
        return np.mean(holds(self.values), axis=0)


def derived(
    key: PRNGKey,
    posterior: Any,
    quantity: Callable[[Float[Array, " d"]], Float[Array, "..."]],
    *,
    samples: int = 10_000,
    x: Data | None = None,
) -> Derived:
    """p(g(θ) | x) of a traceable quantity g of one θ, such as a ratio of conductances."""
    check_key(key)
    check_posterior(posterior)
    if not callable(quantity):
        raise ValueError(f"quantity must be a function of one θ, got {type(quantity).__name__}")
    theta = draws_of(key, posterior, check_count("samples", samples), x)
    values = _each(Partial(ByIdentity(quantity)), theta)
    if not isinstance(values, jax.Array):
        raise ValueError(
            f"quantity must map one θ to an array, got {jax.tree.structure(values)}; stack it"
        )
    return Derived(np.asarray(values), np.asarray(theta))


@jax.jit
def _each(quantity: Partial, theta: Float[Array, "n d"]) -> Any:
    return jax.lax.map(quantity, theta, batch_size=1024)
