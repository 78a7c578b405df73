"""What a model infers and what it reports: names, units and bounds as data; checks of user input.

`Parameter` and `Feature` are read by priors, plots and reports, so that labels have one source.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Parameter:
    """One component of theta: uniform prior on [low, high], a nominal value inside it, a unit.

    Bounds of ±∞ where the model has a Gaussian prior instead, its PRIOR_MEAN and PRIOR_PRECISION.
    """

    name: str
    unit: str
    low: float
    high: float
    nominal: float


@dataclass(frozen=True)
class Feature:
    """One component of x: a name and a unit ("" where there is none)."""

    name: str
    unit: str


def nominal(parameters: tuple[Parameter, ...]) -> np.ndarray:
    """theta at the nominal values, shape (d,)."""
    return np.asarray([p.nominal for p in parameters])


def as_theta(theta, parameters: tuple[Parameter, ...], low=-np.inf, high=np.inf) -> jax.Array:
    """theta as a floating array of shape (d,), in JAX's default precision; ValueError otherwise.

    Components must be finite and in [low, high], numbers or (d,), their physical range. Inside jit
    or vmap, where theta cannot be looked at, one that is not is all NaN, and so is its outcome.
    """
    names = ", ".join(p.name for p in parameters)
    try:
        theta = jnp.asarray(theta)
    except TypeError as error:
        raise ValueError(
            f"theta: expected numbers ({names}), got {type(theta).__name__} of something else"
        ) from error
    if theta.shape != (len(parameters),):
        raise ValueError(
            f"theta: expected shape ({len(parameters)},) ({names}), got {theta.shape}; "
            "use jax.vmap for a batch"
        )
    if not (jnp.issubdtype(theta.dtype, jnp.floating) or jnp.issubdtype(theta.dtype, jnp.integer)):
        raise ValueError(f"theta: expected real numbers ({names}), got dtype {theta.dtype}")
    theta = theta.astype(float)
    # JAX keeps an array's constant under its identity, whatever the precision is by then.
    low, high = (np.asarray(a, theta.dtype) for a in (low, high))
    if not concrete(theta):
        good = jnp.all(jnp.isfinite(theta) & (theta >= low) & (theta <= high))
        return jnp.where(good, theta, jnp.nan)
    good = np.isfinite(theta) & (np.asarray(theta) >= low) & (np.asarray(theta) <= high)
    if not good.all():
        i = int(np.argmin(good))
        low, high = (float(np.broadcast_to(a, good.shape)[i]) for a in (low, high))
        unit = f" [{parameters[i].unit}]" if parameters[i].unit else ""
        raise ValueError(
            f"theta: expected {parameters[i].name} {_range(low, high)}{unit}, "
            f"got {float(theta[i]):g}; inside jit or vmap such rows give NaN"
        )
    return theta


def _range(low: float, high: float) -> str:
    if np.isfinite(high):
        return f"between {low:g} and {high:g}"
    return f"≥ {low:g} and finite" if np.isfinite(low) else "finite"


def as_numbers(value) -> jax.Array | np.ndarray:
    """What is no JAX array as NumPy's float64, which touches no device; others pass through."""
    return value if isinstance(value, jax.Array) else np.asarray(value, float)


def concrete(value) -> bool:
    """Whether the value can be looked at now (it is no tracer), so that its numbers are checked."""
    return not isinstance(value, jax.core.Tracer)


def expect(name: str, value, kind: type, what: str, remedy: str) -> None:
    """ValueError unless `value` is a `kind`, in words: `what` was expected, `remedy` makes one."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{name}: expected {what}, got {type(value).__name__}; make one with {remedy}"
        )
