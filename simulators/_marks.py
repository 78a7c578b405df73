"""Where the spikes and bursts are that the features count, found by what counts them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ._bursts import BURST
from ._pyloric import STRETCH, Rhythm
from ._solve import follow
from ._stg_kinetics import NEURONS
from ._stg_protocol import Protocol
from ._watch import Watch
from .stimuli import CurrentClamp


@jax.jit
def _counts(voltage, protocol):
    """Spikes (n − 1,) once sample i = 0 … n − 2 was judged, its successor known."""
    return follow(Watch.of(protocol), {"v": voltage}, 1, lambda seen: seen.spikes.count)[1]


def spikes(voltage: jax.Array, protocol: CurrentClamp) -> np.ndarray:
    """Samples of the spikes in V (n,) of a Hodgkin–Huxley neuron, as many as its feature says."""
    return np.flatnonzero(np.diff(_counts(jnp.asarray(voltage), protocol), prepend=0))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _trains(voltage, start, samples, dt):
    """The trains of three neurons after each stretch of samples."""
    rhythm = Rhythm.of(start, samples, dt, moving=False)
    states = {f"{me}.v": v for me, v in zip(NEURONS, voltage, strict=True)}
    return follow(rhythm, states, STRETCH, lambda seen: seen.trains)[1]


def bursts(voltage: jax.Array, protocol: Protocol) -> list[list[tuple[int, int]]]:
    """[(first, last spike)] of each neuron of a pyloric circuit, as samples of V (3, n)."""
    found = []
    for train in _trains(jnp.asarray(voltage), protocol.start, protocol.samples, protocol.dt):
        count, first, last = (np.asarray(a) for a in (train.count, train.first, train.last))
        certain = np.asarray(train.status) == BURST
        # A burst's first spike stays what it was; its last is the latest while it lasts.
        ends = [np.flatnonzero(certain & (count == n + 1))[-1] for n in range(count[-1])]
        found.append(
            [(protocol.start + int(first[i]), protocol.start + int(last[i])) for i in ends]
        )
    return found
