"""dt*/dθ of events known to a sample: a crest, V'(t*) = 0, and a passage, V(t*) = a level.

The number of the sample at which an event shows does not move with θ, its time between samples
does: dt*/dθ = −(∂V'/∂θ)/V'' and −(∂V/∂θ)/V'. A function here gives, in samples, what has the value
0 and this derivative, to be added to the number of the sample. Crests and passages that are too
flat to have a time stand still.
"""

import jax
import jax.numpy as jnp

FLAT = 3e-3  # mV: the least change of V, or of its slope, from one sample to the next


def _slope_alone(top, bottom):
    """top/bottom less its own value; nothing where the bottom is small or infinite."""
    good = (jnp.abs(bottom) > FLAT) & jnp.isfinite(bottom)
    offset = jnp.where(good, top, 0) / jnp.where(good, bottom, 1)
    return offset - jax.lax.stop_gradient(offset)


def crest(left: jax.Array, top: jax.Array, right: jax.Array) -> jax.Array:
    """½ (V_{i−1} − V_{i+1})/(V_{i−1} − 2 V_i + V_{i+1}): the vertex of a parabola through three."""
    return _slope_alone((left - right) / 2, (left - top) + (right - top))


def passage(before: jax.Array, after: jax.Array, level: float) -> jax.Array:
    """(level − V_i)/(V_{i+1} − V_i), on the chord between two samples."""
    return _slope_alone(level - before, after - before)
