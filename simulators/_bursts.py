"""Bursts of one spike train and their longest plateaus, found as the samples arrive.

A gap between spikes of at least the quiet time ends a burst; bursts that last no longer than the
shortest are dropped. A burst is thus known to be one some time after it began, and to be over some
time after its last spike. Times are numbers of samples, times and sums of them whole numbers, held
as floats (exact below 2²⁴) so that they can carry the derivatives of the times between samples.

The voltage comes in stretches of at most 24 samples, as two words of bits: whether sample q is a
spike, and whether it is above the plateau's level. Of the spikes in a stretch, which is shorter
than any gap that matters, only the first and the last are looked at.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

NEVER = 1 << 30
SILENT, PENDING, BURST = 0, 1, 2


class Rule(NamedTuple):
    """Shortest gap between bursts, longest duration that is none, samples per look at a plateau."""

    quiet: int
    short: int
    stride: int


class Edges(NamedTuple):
    """What has the value 0 and the derivative of a time [samples]: of the stretch's first and last
    spike, of V's latest passages up and down through the plateau's level.
    """

    head: jax.Array | float = 0.0
    tail: jax.Array | float = 0.0
    rise: jax.Array | float = 0.0
    fall: jax.Array | float = 0.0


STILL = Edges()


class Chain(NamedTuple):
    """Every `stride`-th sample from a first spike on: position of the next in the coming stretch,
    length of the present run above the level, of the longest that ended, and of the longest that
    ended before the latest spike.

    Lengths are numbers of looks. A run of n looks lasts n strides on average over where the looks
    fall: its derivative is that of its duration, from its start, a passage or the first spike, to
    the passage that ends it.
    """

    next: jax.Array
    run: jax.Array
    longest: jax.Array
    tail: jax.Array


class Train(NamedTuple):
    """One neuron: whether it bursts, first and last spike of that, the bursts so far.

    `candidate` follows the plateaus since `first`, `settled` those since the first spike of the
    latest certain burst; `frozen` is the latter's longest before `first` (while that is pending).
    """

    status: jax.Array
    first: jax.Array
    last: jax.Array
    count: jax.Array
    duration: jax.Array
    plateau: jax.Array
    candidate: Chain
    settled: Chain
    frozen: jax.Array


class Events(NamedTuple):
    """What a stretch has shown: a burst became certain, one ended (at `end`); the first spike of a
    train that may yet become one, or NEVER."""

    certain: jax.Array
    ended: jax.Array
    end: jax.Array
    pending: jax.Array


def begin(dtype) -> Train:
    """Silence; `dtype` of times."""
    none, zero = jnp.int32(0), jnp.zeros((), dtype)
    chain = Chain(none, zero, zero, zero)
    return Train(none, zero, zero, none, zero, zero, chain, chain, zero)


def _highest(word):
    """Position of the highest bit of 1 … 2²⁴ − 1: the exponent of the float, which is exact."""
    bits = lax.bitcast_convert_type(word.astype(jnp.float32), jnp.int32)
    return (bits >> 23) - 127


def _walk(chain: Chain, above, edges: Edges, length: int, stride: int, limits):
    """The chain at the end of a stretch, and its longest run before each limit (a position)."""
    rise, fall = edges.rise / stride, edges.fall / stride

    def look(carry, _):
        at, run, longest, before = carry
        inside = at < length
        high = (above >> (at & 31)) & 1 == 1
        longest = jnp.where(inside & ~high & (run > longest), run + fall, longest)
        run = jnp.where(inside, jnp.where(high, jnp.where(run > 0, run + 1, 1 - rise), 0), run)
        before = tuple(
            jnp.where(inside & (at < x), longest, b) for b, x in zip(before, limits, strict=True)
        )
        return (jnp.where(inside, at + stride, at), run, longest, before), None

    start = (chain.next, chain.run, chain.longest, (chain.longest,) * len(limits))
    looks = -(-length // stride)
    # Of ten looks in a row, XLA's CPU backend cannot compile the adjoint.
    (at, run, longest, before), _ = lax.scan(look, start, length=looks, unroll=min(looks, 4))
    return Chain(at - length, run, longest, chain.tail), before


def _where(condition, a, b):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def watch(
    train: Train, start, spikes, above, now, edges: Edges = STILL, *, length: int, rule: Rule
) -> tuple[Train, Events]:
    """The train after the stretch of samples `start` … `start` + length − 1, and what it showed.

    `spikes`, `above`: words of bits (int32, bit q for sample `start` + q). `now`: the last sample
    seen, by which a burst may be over; NEVER ends everything. `edges`: how times move with V.
    """
    dtype = train.first.dtype
    some = spikes != 0
    head = jnp.where(some, _highest(spikes & -spikes), NEVER)
    tail = jnp.where(some, _highest(spikes), -1)
    earliest = (start + head).astype(dtype) + edges.head
    latest = (start + tail).astype(dtype) + edges.tail

    was_pending = train.status == PENDING
    over = (train.status != SILENT) & (jnp.where(some, earliest, now) - train.last >= rule.quiet)
    fresh = some & (over | (train.status == SILENT))
    ended = over & (train.status == BURST)
    first = jnp.where(fresh, earliest, train.first)
    last = jnp.where(some, latest, train.last)
    status = jnp.where(fresh, PENDING, jnp.where(over, SILENT, train.status))
    certain = (status == PENDING) & (last - first > rule.short)
    status = jnp.where(certain, BURST, status)

    held = was_pending & ~over
    limit = jnp.where(held, -1, head * fresh + NEVER * ~fresh)
    settled, (settled_tail, frozen) = _walk(
        train.settled, above, edges, length, rule.stride, (tail, limit)
    )
    settled = settled._replace(tail=jnp.where(some, settled_tail, train.settled.tail))
    frozen = jnp.where(held, train.frozen, frozen)
    # The first look, at a spike, is above the level.
    zero = jnp.zeros((), dtype)
    looked = Chain(head + rule.stride, 1 - edges.head / rule.stride + zero, zero, zero)
    candidate = _where(fresh, looked, train.candidate)
    after, (candidate_tail,) = _walk(candidate, above, edges, length, rule.stride, (tail,))
    candidate = after._replace(tail=jnp.where(some, candidate_tail, candidate.tail))

    new = Train(
        status=status,
        first=first,
        last=last,
        count=train.count + certain,
        duration=train.duration + ended * (train.last - train.first),
        plateau=train.plateau + certain * (train.count > 0) * frozen,
        candidate=candidate,
        settled=_where(certain, candidate, settled),
        frozen=frozen,
    )
    return new, Events(certain, ended, train.last, jnp.where(status == PENDING, first, NEVER))


def plateaus(train: Train) -> jax.Array:
    """Σ over bursts of the longest plateau, in looks; the last burst's up to the last spike."""
    return train.plateau + (train.count > 0) * train.settled.tail
