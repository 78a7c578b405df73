"""Elementary functions of gating kinetics, accurate and finite in value and gradient everywhere."""

import jax
import jax.numpy as jnp
import numpy as np


def _taylor_bound(dtype) -> float:
    # Below the bound the series to z⁶ is exact to rounding; above it e^z − 1 keeps its digits.
    return 0.5 if dtype == jnp.float32 else 0.04


def efun(z: jax.Array, exp_z: jax.Array) -> jax.Array:
    """z / (e^z − 1), its limit 1 at 0; e^z is passed in, so that rates can share exponentials."""
    small = jnp.abs(z) < _taylor_bound(z.dtype)
    s = z * z
    series = 1 - z / 2 + s * (1 / 12 + s * (-1 / 720 + s / 30240))
    safe = jnp.where(small, 1, exp_z - 1)
    return jnp.where(small, series, z / safe)


@jax.custom_jvp
def approach(x: jax.Array) -> jax.Array:
    """1 − e^{−x} for x ≥ 0, with full relative accuracy: the share of a gap closed in time x.

    (e^{−x} itself, rounded near 1, would lose a slow variable's rate in float32.)
    """
    if x.dtype != jnp.float32:
        return -jnp.expm1(-x)
    # e^{−x} = 2^{−k} e^{−r}, |r| ≤ ½ log 2; 1 − e^{−r} = r q(r) to 2·10⁻⁸ (Taylor).
    x = jnp.minimum(x, np.float32(80.0))
    k = jnp.round(x * np.float32(1 / np.log(2)))
    r = x - k * np.float32(np.log(2))
    q = 1 + r * (-1 / 2 + r * (1 / 6 + r * (-1 / 24 + r * (1 / 120 + r * (-1 / 720 + r / 5040)))))
    scale = jax.lax.bitcast_convert_type((127 - k.astype(jnp.int32)) << 23, jnp.float32)
    return (1 - scale) + scale * (r * q)


@approach.defjvp
def _approach_jvp(primals, tangents):
    share = approach(*primals)
    return share, (1 - share) * tangents[0]
