"""The spike rule on hand-made traces: dead time 5 samples, threshold −10 mV."""

import jax
import jax.numpy as jnp
import pytest

from simulators import spikes


def count(voltage, start=0, stop=10_000):
    v = jnp.asarray(voltage, jnp.float32)
    inside = (jnp.arange(len(v)) >= start) & (jnp.arange(len(v)) < stop)

    def step(state, given):
        return spikes.count(state, *given, threshold=-10.0, dead_time=5), None

    state, _ = jax.lax.scan(step, spikes.begin(5), (v[:-1], v[1:], inside[:-1]))
    return int(state.count)


def peaks(*at, n=60, height=20.0):
    v = [-70.0] * n
    for i in at:
        v[i] = height
    return v


@pytest.mark.parametrize(
    "at, expected",
    [
        ((), 0),
        ((10,), 1),
        ((10, 30), 2),
        ((10, 15), 1),  # exactly the dead time after: not more than it
        ((10, 16), 2),
        ((10, 14, 18, 22, 26, 30), 1),  # a chain: each too close to the peak before it
        ((10, 14, 20), 2),  # 20 is 6 after the uncounted 14
        ((1,), 1),
    ],
)
def test_dead_time_counts_from_the_peak_before(at, expected):
    assert count(peaks(*at)) == expected


def test_height_and_window():
    assert count(peaks(10, height=-10.0)) == 0
    assert count(peaks(10, height=-9.9)) == 1
    v = peaks(10, 20, 40)
    assert count(v, start=11) == 2
    assert count(v, start=10, stop=40) == 2
    # A peak outside the window is no peak before: the first inside it counts.
    assert count(peaks(10, 12), start=11) == 1


def test_plateaus_ends_and_missing_values():
    assert count([-70, 0, 20, 20, 20, 0, -70]) == 1  # a flat top is one peak
    assert count([-70, 0, 20, 20, 30, 0, -70]) == 1  # a shoulder on the way up is none
    assert count([20, -70, -70, -70]) == 0  # the first sample has no left neighbour
    assert count([-70, -70, -70, 20]) == 0  # the last has no right one
    assert count([float("nan")] * 20) == 0
