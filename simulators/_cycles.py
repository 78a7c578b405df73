"""Cycles of a three-phase rhythm, found as bursts become certain and end.

A cycle runs from one burst start of the leader (included) to the next (excluded). It is triphasic
when exactly one burst of either follower starts in it. As a burst becomes certain, or ends, after
others have begun, starts wait here until no earlier one can turn up, and a closed cycle waits until
its followers' bursts have ended: by then, neither has begun another, so one such cycle is enough.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ._bursts import NEVER, Events


class Open(NamedTuple):
    """The cycle under way: leader's start (−1: none) and end; followers' starts, ends, numbers."""

    start: jax.Array
    end: jax.Array
    count: tuple[jax.Array, jax.Array]
    starts: tuple[jax.Array, jax.Array]
    ends: tuple[jax.Array, jax.Array]


class Closed(NamedTuple):
    """A triphasic cycle whose followers may still burst (end −1)."""

    waiting: jax.Array
    ordered: jax.Array
    second: jax.Array
    ends: tuple[jax.Array, jax.Array]


class Cycles(NamedTuple):
    """Certain starts not yet in a cycle (−1: none); two cycles; first start; counts and sums.

    `delays`: of the followers' starts after the leader's; `gaps`: leader's end to the first
    follower's start, its end to the second's.
    """

    starts: tuple[jax.Array, jax.Array, jax.Array]
    open: Open
    closed: Closed
    origin: jax.Array
    cycles: jax.Array
    triphasic: jax.Array
    pyloric: jax.Array
    delays: tuple[jax.Array, jax.Array]
    gaps: tuple[jax.Array, jax.Array]


def begin(dtype) -> Cycles:
    """No burst yet; `dtype` of times."""
    no, nil = jnp.bool_(False), jnp.int32(0)
    zero, none = jnp.zeros((), dtype), jnp.full((), -1, dtype)
    return Cycles(
        (none,) * 3,
        Open(none, none, (nil,) * 2, (zero,) * 2, (none,) * 2),
        Closed(no, no, zero, (none,) * 2),
        none,
        nil,
        nil,
        nil,
        (zero,) * 2,
        (zero,) * 2,
    )


def watch(state: Cycles, events: tuple[Events, ...], firsts: tuple[jax.Array, ...]) -> Cycles:
    """The cycles after a stretch; `firsts`: first spike of each neuron's present burst."""
    starts = tuple(
        jnp.where(e.certain, first, s)
        for e, first, s in zip(events, firsts, state.starts, strict=True)
    )
    lead, (p, *followers) = events[0].pending, starts
    led = jnp.where(p < 0, NEVER, p)
    ready = tuple((s >= 0) & (s < lead) for s in followers)
    joins = tuple(r & (s < led) for r, s in zip(ready, followers, strict=True))
    turn = p >= 0
    for s, r, e in zip(followers, ready, events[1:], strict=True):
        turn = turn & (e.pending >= p) & ((s < 0) | (s >= p) | r)
    opens = tuple(r & turn & (s >= p) for r, s in zip(ready, followers, strict=True))

    # The cycle under way, with the bursts that still start in it; closed if the leader starts anew.
    now = state.open
    count = tuple(n + j for n, j in zip(now.count, joins, strict=True))
    began = tuple(jnp.where(j, s, b) for j, s, b in zip(joins, followers, now.starts, strict=True))
    ends = tuple(jnp.where(j, -1, e) for j, e in zip(joins, now.ends, strict=True))
    full = turn & (now.start >= 0)
    triphasic = full & (count[0] == 1) & (count[1] == 1)
    closed = state.closed
    closed = Closed(
        triphasic | closed.waiting,
        jnp.where(triphasic, (began[0] <= began[1]) & (now.end <= began[0]), closed.ordered),
        jnp.where(triphasic, began[1], closed.second),
        tuple(jnp.where(triphasic, e, c) for e, c in zip(ends, closed.ends, strict=True)),
    )
    delays = tuple(
        d + triphasic * (s - now.start) for d, s in zip(state.delays, began, strict=True)
    )
    first_gap = state.gaps[0] + triphasic * (began[0] - now.end)

    # The cycle that begins, or the old one; bursts that ended belong to it, or else to the closed.
    count = tuple(jnp.where(turn, 0, n) + o for n, o in zip(count, opens, strict=True))
    began = tuple(jnp.where(o, s, b) for o, s, b in zip(opens, followers, began, strict=True))
    ends = tuple(jnp.where(o, -1, e) for o, e in zip(opens, ends, strict=True))
    here = tuple(e.ended & (n > 0) for e, n in zip(events[1:], count, strict=True))
    there = tuple(e.ended & (n == 0) for e, n in zip(events[1:], count, strict=True))
    ends = tuple(jnp.where(h, e.end, x) for h, e, x in zip(here, events[1:], ends, strict=True))
    late = tuple(
        jnp.where(t & (x < 0), e.end, x)
        for t, e, x in zip(there, events[1:], closed.ends, strict=True)
    )
    done = closed.waiting & (late[0] >= 0) & (late[1] >= 0)
    return Cycles(
        starts=(
            jnp.where(turn, -1, p),
            *(jnp.where(j | o, -1, s) for j, o, s in zip(joins, opens, followers, strict=True)),
        ),
        open=Open(
            start=jnp.where(turn, p, now.start),
            end=jnp.where(events[0].ended, events[0].end, jnp.where(turn, -1, now.end)),
            count=count,
            starts=began,
            ends=ends,
        ),
        closed=closed._replace(waiting=closed.waiting & ~done, ends=late),
        origin=jnp.where(turn & (state.origin < 0), p, state.origin),
        cycles=state.cycles + full,
        triphasic=state.triphasic + triphasic,
        pyloric=state.pyloric + (done & closed.ordered & (late[0] <= late[1])),
        delays=delays,
        gaps=(first_gap, state.gaps[1] + done * (closed.second - late[0])),
    )
