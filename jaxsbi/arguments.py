"""What users hand in, checked where it comes in: counts, keys and numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def check_count(name: str, n: Any, least: int = 1) -> int:
    """n as an int; a ValueError naming it unless it is an integer of at least `least`."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {n!r}")
    return int(n)


def check_real(name: str, value: Any, low: float, high: float) -> float:
    """value as a float; a ValueError naming it unless it lies between low and high, exclusive."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not low < value < high:
        within = f"between {low:g} and {high:g}" if high < np.inf else f"above {low:g}, finite"
        raise ValueError(f"{name} must be a number {within}, got {value!r}")
    return float(value)


def check_key(key: Any) -> None:
    """A ValueError unless key is one typed key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key must be a typed key such as jax.random.key(0), got {key!r}")
    if key.ndim:
        raise ValueError(f"key must be one key, got keys of shape {key.shape}; use jax.vmap")


def check_estimator(estimator: Any) -> None:
    """A ValueError unless estimator is a value that builds densities."""
    if not hasattr(estimator, "init") or isinstance(estimator, type):
        raise ValueError(f"estimator must be a value such as jaxsbi.nsf(), got {estimator!r}")


def as_reals(values: Any) -> Array:
    """Numbers in the default precision; a TypeError or ValueError for anything else."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "OMmSU":
        raise TypeError(f"got dtype {values.dtype}")
    array = jnp.asarray(values)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(jnp.result_type(float))
    if jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool:
        return array.astype(float)
    raise TypeError(f"got dtype {array.dtype}")


def as_theta(theta: Any, dim: int | None = None, name: str = "theta") -> Float[Array, "*n d"]:
    """θ as real numbers (…, d), at least one; any d without `dim`. A ValueError otherwise."""
    try:
        theta = as_reals(theta)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers: {first_line(error)}") from None
    if theta.size == 0 or theta.ndim == 0 or dim not in (None, theta.shape[-1]):
        raise ValueError(
            f"{name} must have shape (…, {'d' if dim is None else dim}), one entry per parameter "
            f"and at least one row, got {theta.shape}"
        )
    return theta


def first_line(error: Exception) -> str:
    """What an error says, cut to one line."""
    return (str(error).strip().splitlines() or ["no message"])[0]
