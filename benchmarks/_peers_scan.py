"""A plain `lax.scan` of the Hodgkin–Huxley step, without diffrax: what the solver's form costs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from simulators import _noise
from simulators import hodgkin_huxley as hh
from simulators._solve import GROUP
from simulators._watch import Watch


def hodgkin_huxley(key, theta, protocol, *, noise: bool = True, features: bool = True):
    """V at the end, or the features, of one neuron: the same arithmetic in one loop over steps.

    Without features their sums are left out; without noise no random words are drawn.
    """
    c = hh._constants(theta, protocol.dt)
    words = tuple(_noise.key_words(key))
    steps = protocol.samples - 1
    current = jnp.asarray(protocol.current, float)[:steps].reshape(-1, GROUP)
    protocol = jax.tree.map(lambda a: jnp.asarray(a, float), protocol)
    watch = Watch.of(protocol)
    y = hh._initial(protocol.v0, c)
    block = hh.BLOCK // GROUP

    def advance(carry, turn):
        y, seen, drawn = carry
        first, given = turn
        ahead = _noise.words(words, first + GROUP) if noise else drawn
        z = _noise.four(drawn) if noise else (0.0,) * GROUP
        for q in range(GROUP):
            old, entering = y, given[q] + c["noise"] * z[q]
            y = hh.SOLVER.update(hh.TERM, 0.0, protocol.dt, old, ((c,), entering))
            if features:
                seen = watch.sample(seen, first + q + 1, old, y)
        return (y, seen, ahead), None

    def blockwise(carry, turns):
        y, seen, drawn = carry
        carry, _ = lax.scan(advance, (y, watch.open(seen, y), drawn), turns)
        return (carry[0], watch.close(carry[1]), carry[2]), None

    firsts = jnp.arange(0, steps, GROUP, dtype=jnp.int32)
    turns = (firsts, tuple(current[:, q] for q in range(GROUP)))
    turns = jax.tree.map(lambda a: a.reshape(-1, block), turns)
    start = (y, watch.begin(y), _noise.words(words, 0))
    (y, seen, _), _ = lax.scan(blockwise, start, turns)
    return seen.features() if features else y["v"]
