"""Random numbers by counter: normals z_i = g(threefry(key, i // 4)), four from each 64-bit block.

The i-th number depends on the key and on i alone: not on the batch, the chunk, the length of a
block or the precision of the simulation. Threefry-2x32 with 20 rounds (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"); each of its two words makes a pair by Box and
Muller: 20 bits for the radius (at most 5.39), 10 for the angle in the quadrant, 2 for the signs.
"""

import jax
import jax.numpy as jnp
import numpy as np

PER_COUNTER = 4
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def key_words(key) -> jax.Array:
    """The two 32-bit words of a threefry key, shape (2,); ValueError for another generator."""
    if not (hasattr(key, "dtype") and hasattr(key, "shape")):
        raise ValueError(f"key: expected a JAX key as from jax.random.key(0), got {key!r}")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        words = jax.random.key_data(key)
    else:
        words = key
    if words.shape != (2,) or words.dtype != jnp.uint32:
        raise ValueError(
            f"key: expected one threefry key as from jax.random.key(0), got {key.dtype} of shape "
            f"{key.shape}; use jax.vmap for a batch and impl='threefry2x32'"
        )
    return words


def threefry(key: jax.Array, high, low) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32-20 of the counter (high, low) under the key words (2,): two uint32 arrays."""
    k = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY))
    a, b = high + k[0], low + k[1]
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            a = a + b
            b = ((b << np.uint32(r)) | (b >> np.uint32(32 - r))) ^ a
        a = a + k[(group + 1) % 3]
        b = b + (k[(group + 2) % 3] + np.uint32(group + 1))
    return a, b


def _pair(word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(r cos φ, r sin φ), r = √(−2 log u): two independent normals from one 32-bit word."""
    u = ((word >> 12).astype(jnp.int32).astype(jnp.float32) + 0.5) * np.float32(2.0**-20)
    radius = jnp.sqrt(-jnp.log(u))  # r/√2; the √2 goes into the turn by π/4 below
    # ψ = φ − π/4 in (−π/4, π/4): √2 cos φ = cos ψ − sin ψ, √2 sin φ = cos ψ + sin ψ.
    turn = (word & 1023).astype(jnp.int32).astype(jnp.float32)
    psi = (turn - 511.5) * np.float32(np.pi / 2048)
    s = psi * psi
    sine = psi * (1 + s * (-1 / 6 + s * (1 / 120 - s / 5040)))
    cosine = 1 + s * (-1 / 2 + s * (1 / 24 + s * (-1 / 720 + s / 40320)))
    first, second = radius * (cosine - sine), radius * (cosine + sine)
    return _sign(first, word << 20), _sign(second, word << 21)


def _sign(x: jax.Array, bits: jax.Array) -> jax.Array:
    """x ≥ 0 with the top bit of `bits` as its sign."""
    flipped = jax.lax.bitcast_convert_type(x, jnp.uint32) ^ (bits & np.uint32(1 << 31))
    return jax.lax.bitcast_convert_type(flipped, jnp.float32)


def words(key: jax.Array, first, stream: int = 0) -> tuple[jax.Array, jax.Array]:
    """The two words behind z_first … z_(first + 3); `first`, a multiple of 4, may be traced."""
    counter = jnp.asarray(first).astype(jnp.uint32) // PER_COUNTER
    return threefry(key, counter, np.uint32(stream))


def four(drawn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
    """Four independent standard normals, float32, from the two words."""
    return *_pair(drawn[0]), *_pair(drawn[1])


def uniforms(key: jax.Array, count: int, stream: int = 0) -> jax.Array:
    """v_0 … v_(count − 1) of a stream, uniform on (0, 1), float32, shape (count,).

    Multiples of 2⁻³² near 0 and of 2⁻²⁴ near 1: compare them with small probabilities, v < p.
    """
    # The second word is dropped: to interleave the two costs more than to draw anew.
    drawn, _ = threefry(key, jnp.arange(count, dtype=jnp.uint32), np.uint32(stream))
    v = ((drawn >> 1).astype(jnp.int32).astype(jnp.float32) + 0.5) * np.float32(2.0**-31)
    return jnp.minimum(v, np.float32(1 - 2.0**-24))
