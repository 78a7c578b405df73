"""Spikes of a voltage trace: local maxima above a threshold, thinned by a dead time, one at a time.

Peak i: V_{i−1} ≤ V_i > V_{i+1} and V_i > threshold. The first peak is a spike, and so is each one
that comes more than the dead time after the *peak* before it, whether that was a spike or not:
a chain of closely spaced noisy peaks is one spike. Counts have zero gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class SpikeCount(NamedTuple):
    """State of the counter: spikes so far, samples since the last peak, whether V did not fall."""

    count: jax.Array
    since: jax.Array
    rising: jax.Array


def begin(dead_time: int) -> SpikeCount:
    """The state before the first sample; no peak is in the way of the first spike."""
    return SpikeCount(jnp.int32(0), jnp.int32(dead_time + 1), jnp.bool_(False))


def crest(rising: jax.Array, before: jax.Array, after: jax.Array, *, threshold: float) -> jax.Array:
    """Whether V_{i−1} ≤ V_i ≥ V_{i+1} and V_i > threshold: each sample of a flat top is a spike.

    `before` = V_i, `after` = V_{i+1}; `rising`: whether V_{i−1} ≤ V_i. For models that look at
    bursts, whose ends are spikes but whose number of spikes does not matter.
    """
    return rising & (after <= before) & (before > threshold)


def count(
    state: SpikeCount,
    before: jax.Array,
    after: jax.Array,
    inside: jax.Array,
    *,
    threshold: float,
    dead_time: int,
) -> SpikeCount:
    """The state once sample `before` = V_i can be judged, its successor `after` = V_{i+1} known.

    `inside`: whether sample i lies in the window in which spikes count. `dead_time`: in samples.
    """
    peak = state.rising & (after < before) & (before > threshold) & inside
    spike = peak & (state.since > dead_time)
    return SpikeCount(
        count=state.count + spike,
        since=jnp.where(peak, 0, state.since) + 1,
        rising=after >= before,
    )
