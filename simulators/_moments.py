"""Central moments M_k = Σ (v − v̄)^k, k ≤ 4, block by block (Pébay 2008, Sandia SAND2008-6212).

Means are kept relative to an origin near the data, so that float32 does not lose a small variance
on top of a large mean. Everything is per series: `vmap` for a batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Moments(NamedTuple):
    """Number of samples, origin, mean − origin, and the central sums M₂, M₃, M₄ (all scalars)."""

    count: jax.Array
    origin: jax.Array
    offset: jax.Array
    m2: jax.Array
    m3: jax.Array
    m4: jax.Array


def empty(dtype) -> Moments:
    """Moments of no samples."""
    return Moments(*(jnp.zeros((), dtype) for _ in Moments._fields))


def of_block(values: jax.Array, inside: jax.Array) -> Moments:
    """Moments of the samples (k,) that are `inside` (k,), by two passes about the block's mean."""
    weight = inside.astype(values.dtype)
    count = jnp.sum(weight)
    per = 1 / jnp.maximum(count, 1)
    origin = jax.lax.stop_gradient(values[0])
    shifted = values - origin
    offset = jnp.sum(weight * shifted) * per
    gap = weight * (shifted - offset)
    square = gap * gap
    return Moments(
        count, origin, offset, jnp.sum(square), jnp.sum(square * gap), jnp.sum(square * square)
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of both series together; the origin of `a` is kept unless `a` is empty."""
    origin = jnp.where(a.count > 0, a.origin, b.origin)
    offset_a = jnp.where(a.count > 0, a.offset, 0)
    offset_b = b.origin - origin + b.offset
    count = a.count + b.count
    per = 1 / jnp.maximum(count, 1)
    share_a, share_b = a.count * per, b.count * per
    d = offset_b - offset_a
    between = d * d * a.count * share_b
    offset = jnp.where(b.count > 0, offset_a + d * share_b, offset_a)
    m2 = a.m2 + b.m2 + between
    m3 = a.m3 + b.m3 + d * (between * (share_a - share_b) + 3 * (share_a * b.m2 - share_b * a.m2))
    m4 = (
        a.m4
        + b.m4
        + between * d * d * (share_a * share_a - share_a * share_b + share_b * share_b)
        + 6 * d * d * (share_a * share_a * b.m2 + share_b * share_b * a.m2)
        + 4 * d * (share_a * b.m3 - share_b * a.m3)
    )
    return Moments(count, origin, offset, m2, m3, m4)


def _ratio(numerator, denominator):
    """numerator / denominator, NaN with zero gradient where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, jnp.nan, numerator / jnp.where(zero, 1, denominator))


def mean(m: Moments) -> jax.Array:
    """v̄; NaN without samples."""
    return jnp.where(m.count > 0, m.origin + m.offset, jnp.nan)


def variance(m: Moments) -> jax.Array:
    """M₂ / n; NaN without samples."""
    return _ratio(m.m2, m.count)


def deviation(m: Moments) -> jax.Array:
    """√(M₂ / n); NaN without samples, 0 with zero gradient for a constant series."""
    v = variance(m)
    return jnp.where(v > 0, jnp.sqrt(jnp.where(v > 0, v, 1)), v)


def skewness(m: Moments) -> jax.Array:
    """(M₃/n) / (M₂/n)^{3/2}; NaN for fewer than two distinct samples."""
    v = variance(m)
    return _ratio(_ratio(m.m3, m.count), v * deviation(m))


def kurtosis(m: Moments) -> jax.Array:
    """(M₄/n) / (M₂/n)², 3 for a Gaussian; NaN for fewer than two distinct samples."""
    v = variance(m)
    return _ratio(_ratio(m.m4, m.count), v * v)
