"""Seven features of a voltage under a current step, streamed: spikes, rest, moments in between.

Windows: t < t_on; 0.9 t_on ≤ t < t_on; t_on < t < t_off (Gonçalves et al. 2020, figure 4).
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from . import _moments, spikes
from ._observers import Observer
from ._parameters import Feature
from .stimuli import CurrentClamp, after, at_or_after

SPIKE_THRESHOLD, DEAD_TIME = -10.0, 0.5  # mV, ms
ORDERS = (1, 2, 4)  # moments needed in each of the three windows
FEATURES = (
    Feature("spike count", ""),
    Feature("resting mean", "mV"),
    Feature("resting sd", "mV"),
    Feature("mean", "mV"),
    Feature("variance", "mV²"),
    Feature("skewness", ""),
    Feature("kurtosis", ""),
)


class Seen(NamedTuple):
    """What the features are made of: spikes; moments before t_on, just before it, and in between.

    `sums` are those of the current block, for the three windows.
    """

    spikes: spikes.SpikeCount
    moments: tuple[_moments.Moments, ...]
    sums: tuple[_moments.Sums, ...]

    def features(self) -> jax.Array:
        """The seven FEATURES, shape (7,); NaN where a window is empty or the voltage constant.

        All of them are NaN if the voltage was ever infinite or undefined: the run has failed.
        """
        before, rest, during = self.moments
        # a sample outside the window has weight 0, and 0 · NaN and 0 · ∞ are NaN
        failed = ~jnp.isfinite(during.m2)
        found = jnp.stack(
            [
                self.spikes.count.astype(during.m2.dtype),
                _moments.mean(before),
                _moments.deviation(rest),
                _moments.mean(during),
                _moments.variance(during),
                _moments.skewness(during),
                _moments.kurtosis(during),
            ]
        )
        return jnp.where(failed, jnp.nan, found)


class Watch(Observer):
    """The seven features of a voltage, streamed; windows are numbers of samples."""

    rest: jax.Array  # first sample with t ≥ 0.9 t_on
    on: jax.Array  # first sample with t ≥ t_on
    start: jax.Array  # first sample with t > t_on
    stop: jax.Array  # first sample with t ≥ t_off, at most n
    dead_time: int = eqx.field(static=True)

    @classmethod
    def of(cls, protocol: CurrentClamp) -> "Watch":
        dt = protocol.dt
        t_on, t_off = protocol.t_on, protocol.t_off
        return cls(
            rest=at_or_after(0.9 * t_on, dt),
            on=at_or_after(t_on, dt),
            start=after(t_on, dt),
            stop=jnp.minimum(at_or_after(t_off, dt), protocol.samples),
            dead_time=int(math.floor(DEAD_TIME / dt + 1e-6)),
        )

    def windows(self, index):
        """Whether sample `index` lies in each of the three windows."""
        early = index < self.on
        during = (index >= self.start) & (index < self.stop)
        return early, early & (index >= self.rest), during

    def begin(self, y):
        moments = tuple(_moments.one(y["v"], w) for w in self.windows(jnp.int32(0)))
        return self.open(Seen(spikes.begin(self.dead_time), moments, ()), y)

    def open(self, seen, y):
        return seen._replace(sums=tuple(_moments.start(y["v"], k) for k in ORDERS))

    def sample(self, seen, index, before, after):
        windows = self.windows(index)
        counted = spikes.count(
            seen.spikes,
            before["v"],
            after["v"],
            self.windows(index - 1)[2],
            threshold=SPIKE_THRESHOLD,
            dead_time=self.dead_time,
        )
        sums = tuple(
            _moments.add(s, after["v"], w) for s, w in zip(seen.sums, windows, strict=True)
        )
        return seen._replace(spikes=counted, sums=sums)

    def close(self, seen):
        new = zip(seen.moments, seen.sums, strict=True)
        return seen._replace(moments=tuple(_moments.merge(m, _moments.central(s)) for m, s in new))
