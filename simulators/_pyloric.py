"""The 18 features of a pyloric rhythm, streamed: durations, gaps, delays, phases, plateaus.

Prinz, Bucher & Marder 2004; Gonçalves et al. 2020, eLife 9:e56261, figure 5.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from . import _bursts, _cycles, _slopes, spikes
from ._observers import Observer
from ._parameters import Feature
from ._stages import staged
from ._stg_kinetics import NEURONS
from .stimuli import after, at_or_after

SPIKE_THRESHOLD, PLATEAU_LEVEL = -10.0, -30.0  # mV
QUIET, SHORT_BURST = 150.0, 40.0  # ms: a gap that ends a burst; bursts no longer are none
LOOK, SHORT_PLATEAU, SPIKE_WIDTH = 0.25, 5.0, 2.5  # ms: resolution; a mean below is set to
STRETCH = 20  # samples looked at together
_RISING = 31  # the bit that says that V did not fall in the latest step
FEATURES = (
    Feature("cycle period", "ms"),
    *(Feature(f"burst duration {n}", "ms") for n in NEURONS),
    Feature("gap PM-LP", "ms"),
    Feature("gap LP-PY", "ms"),
    Feature("delay PM-LP", "ms"),
    Feature("delay PM-PY", "ms"),
    *(Feature(f"duty cycle {n}", "") for n in NEURONS),
    Feature("phase gap PM-LP", ""),
    Feature("phase gap LP-PY", ""),
    Feature("phase LP", ""),
    Feature("phase PY", ""),
    *(Feature(f"plateau {n}", "ms") for n in NEURONS),
)


class Motion(NamedTuple):
    """How one neuron's events move with V, beside its words of bits: the sample before the latest,
    and the edges of the present stretch."""

    before: jax.Array
    edges: _bursts.Edges


class Seen(NamedTuple):
    """Trains and cycles up to the present stretch, which begins at sample `start` of the window;
    the stretch in bits: spikes (bit 31: V is rising), samples above the plateau's level; and, where
    a gradient is wanted, the motion of its events.
    """

    start: jax.Array
    trains: tuple[_bursts.Train, ...]
    cycles: _cycles.Cycles
    spikes: tuple[jax.Array, ...]
    above: tuple[jax.Array, ...]
    motion: tuple[Motion, ...]


class Rhythm(Observer):
    """Bursts and cycles of three voltages; samples start … stop − 1 are the window.

    `moving`: whether times carry their derivatives in V; no value depends on it.
    """

    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)
    rule: _bursts.Rule = eqx.field(static=True)
    moving: bool = eqx.field(static=True)

    @classmethod
    def of(cls, start: int, stop: int, dt: float, moving: bool) -> "Rhythm":
        """The window start … stop − 1 of samples dt [ms] apart."""
        rule = _bursts.Rule(
            quiet=int(at_or_after(QUIET, dt)),
            short=int(after(SHORT_BURST, dt)) - 1,
            stride=max(1, round(LOOK / dt)),
        )
        return cls(start, stop, rule, moving)

    def begin(self, y):
        words, dtype = (jnp.int32(0),) * 3, y["PM.v"].dtype
        trains, cycles = (_bursts.begin(dtype),) * 3, _cycles.begin(dtype)
        still = _bursts.Edges(*(jnp.zeros((), dtype),) * 4)
        motion = tuple(Motion(y[f"{me}.v"], still) for me in NEURONS) if self.moving else ()
        return Seen(jnp.int32(-self.start), trains, cycles, words, words, motion)

    def open(self, seen, y):
        rising = tuple(w & jnp.int32(-(1 << _RISING)) for w in seen.spikes)
        return seen._replace(spikes=rising, above=(jnp.int32(0),) * 3)

    def sample(self, seen, index, before, after):
        place = index - 1 - self.start - seen.start  # of `before` in its stretch
        marked, above, motion = [], [], []
        for i, name in enumerate(NEURONS):
            old, new, word = before[f"{name}.v"], after[f"{name}.v"], seen.spikes[i]
            crest = spikes.crest(word < 0, old, new, threshold=SPIKE_THRESHOLD)
            kept = word & jnp.int32((1 << _RISING) - 1)
            rising = jnp.where(new >= old, jnp.int32(-(1 << _RISING)), 0)
            marked.append(kept | (crest.astype(jnp.int32) << place) | rising)
            above.append(seen.above[i] | ((old > PLATEAU_LEVEL).astype(jnp.int32) << place))
            if self.moving:
                inside = self._inside(seen)
                spike = crest & ((inside >> place) & 1 == 1)
                motion.append(_moved(seen.motion[i], old, new, spike, spike & (word & inside == 0)))
        return Seen(
            seen.start, seen.trains, seen.cycles, tuple(marked), tuple(above), tuple(motion)
        )

    def close(self, seen):
        # Nothing happens before the window. A branch of its own for either part, since what a
        # branch returns is computed once and not again for each of its uses.
        due = seen.start + STRETCH > 0
        trains, events = lax.cond(due, self._trains, self._before, seen)
        cycles = lax.cond(
            due,
            lambda s, e, t: self._cycles(s, e, t),
            lambda s, e, t: s.cycles,
            seen,
            events,
            trains,
        )
        return seen._replace(start=seen.start + STRETCH, trains=trains, cycles=cycles)

    def _before(self, seen):
        never, zero = jnp.bool_(False), jnp.zeros_like(seen.trains[0].first)
        return seen.trains, (_bursts.Events(never, never, zero, zero),) * 3

    def _trains(self, seen):
        inside = self._inside(seen)
        return self._judge(seen, tuple(w & inside for w in seen.spikes), seen.start + STRETCH - 1)

    def _inside(self, seen):
        """The samples of the stretch that can be spikes, in bits: with neighbours in the window."""
        first = jnp.clip(1 - seen.start, 0, STRETCH)
        last = jnp.clip(self.stop - self.start - 1 - seen.start, 0, STRETCH)
        return ((1 << last) - 1) & ~((1 << first) - 1)

    def _judge(self, seen, marked, now):
        edges = tuple(m.edges for m in seen.motion) or (_bursts.STILL,) * 3
        watch = partial(_bursts.watch, length=STRETCH, rule=self.rule)
        both = (
            staged(watch, self._clock(seen), t, seen.start, s, a, now, e)
            for t, s, a, e in zip(seen.trains, marked, seen.above, edges, strict=True)
        )
        return tuple(zip(*both, strict=True))

    def _clock(self, seen):
        return seen.start + self.start

    def _cycles(self, seen, events, trains):
        firsts = tuple(t.first for t in trains)
        return staged(_cycles.watch, self._clock(seen), seen.cycles, events, firsts)

    def summary(self, seen: Seen, dt: float) -> tuple[jax.Array, jax.Array]:
        """The 18 FEATURES, NaN where undefined, and whether the rhythm is pyloric."""
        trains, events = self._judge(seen, (jnp.int32(0),) * 3, jnp.int32(_bursts.NEVER))
        c = self._cycles(seen, events, trains)
        period = _mean(c.open.start - c.origin, trains[0].count - 1) * dt
        duration = [_mean(t.duration, t.count) * dt for t in trains]
        look = self.rule.stride * dt
        plateau = [_mean(_bursts.plateaus(t), t.count) * look for t in trains]
        triphasic = (c.cycles > 0) & (10 * c.triphasic >= 9 * c.cycles)
        among = jnp.where(triphasic, c.triphasic, 0)
        gaps, delays = ([_mean(s, among) * dt for s in sums] for sums in (c.gaps, c.delays))
        features = [
            period,
            *duration,
            *gaps,
            *delays,
            *(_ratio(d, period) for d in (*duration, *gaps, *delays)),
            *(jnp.where(p < SHORT_PLATEAU, SPIKE_WIDTH, p) for p in plateau),
        ]
        return jnp.stack(features), triphasic & (10 * c.pyloric >= 7 * c.triphasic)


def _moved(motion, old, new, spike, first):
    """The motion with V_i = `old` and V_{i+1} = `new`; whether i is a spike, and the first here."""
    left, edges = motion
    offset, level = _slopes.crest(left, old, new), _slopes.passage(old, new, PLATEAU_LEVEL)
    was, will = old > PLATEAU_LEVEL, new > PLATEAU_LEVEL
    head = jnp.where(first, offset, edges.head)
    tail = jnp.where(spike, offset, edges.tail)
    rise = jnp.where(~was & will, level, edges.rise)
    fall = jnp.where(was & ~will, level, edges.fall)
    return Motion(old, _bursts.Edges(head, tail, rise, fall))


def _mean(total, count):
    """Mean of whole numbers; NaN, which stands still, of none."""
    mean = total / jnp.maximum(count, 1).astype(total.dtype)
    return jnp.where(count > 0, mean, jnp.nan)


def _ratio(a, b):
    """a / b, NaN that stands still where either is undefined."""
    defined = jnp.isfinite(a) & jnp.isfinite(b)
    return jnp.where(defined, a / jnp.where(defined, b, 1), jnp.nan)
