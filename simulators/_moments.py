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


def one(value: jax.Array, inside: jax.Array) -> Moments:
    """Moments of a single sample, or of none if it is not `inside`."""
    zero = jnp.zeros_like(value)
    count = jnp.broadcast_to(inside, value.shape).astype(value.dtype)
    return Moments(count, jax.lax.stop_gradient(value), zero, zero, zero, zero)


class Sums(NamedTuple):
    """Power sums Σ (v − origin)^k, k = 1 … order, over a block: short, and near its origin."""

    count: jax.Array
    origin: jax.Array
    powers: tuple[jax.Array, ...]


def start(origin: jax.Array, order: int) -> Sums:
    """Sums of no samples, to be taken about a value near those to come; order 1 to 4."""
    zero = jnp.zeros_like(origin)
    return Sums(zero, jax.lax.stop_gradient(origin), (zero,) * order)


def add(sums: Sums, value: jax.Array, inside: jax.Array) -> Sums:
    """The sums with one sample more if it is `inside`."""
    weight = inside.astype(value.dtype)
    gap = value - sums.origin
    terms, term = [], weight
    for total in sums.powers:
        term = term * gap
        terms.append(total + term)
    return Sums(sums.count + weight, sums.origin, tuple(terms))


def central(sums: Sums) -> Moments:
    """Central moments from power sums; orders not summed are 0."""
    per = 1 / jnp.maximum(sums.count, 1)
    s1, s2, s3, s4 = (*sums.powers, *(jnp.zeros_like(per),) * (4 - len(sums.powers)))
    if len(sums.powers) == 1:
        return Moments(sums.count, sums.origin, s1 * per, s2, s3, s4)
    a = s1 * per
    m2 = s2 - a * s1
    m3 = s3 - a * (3 * s2 - 2 * a * s1) if len(sums.powers) > 2 else s3
    m4 = s4 - a * (4 * s3 - a * (6 * s2 - 3 * a * s1)) if len(sums.powers) > 3 else s4
    return Moments(sums.count, sums.origin, a, jnp.maximum(m2, 0), m3, jnp.maximum(m4, 0))


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
