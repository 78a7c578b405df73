"""How channels resemble each other in their currents, and which of them the prior reaches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments.channels_targets import HIGH, LOW, Channels
from experiments.keeping import keep_arrays
from experiments.runs import Run
from simulators import channels

ALIKE = 0.99
"""Correlation from which a channel within the prior's box stands for one beyond it."""
LANES = 16
"""Channels whose currents are kept at once, 8 MB each."""


class Reach(NamedTuple):
    """How near the prior comes to m channels.

    correlation (m,): of the current at θ, moved to the prior's box, with the channel's own, without
    noise; lost (m, 8): of those it does not reach, the parameters which, moved to the box alone,
    take the correlation below ALIKE.
    """

    correlation: np.ndarray
    lost: np.ndarray

    @property
    def reached(self) -> np.ndarray:
        return self.correlation >= ALIKE


def reach(theta: np.ndarray, correlate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Reach:
    """Of channels θ (m, 8); correlate: of two lists of channels the correlations (m,)."""
    clipped = np.clip(theta, LOW, HIGH)
    whole = correlate(theta, clipped)
    lost = np.zeros(theta.shape, bool)
    row, column = np.nonzero((clipped != theta) & ~(whole >= ALIKE)[:, None])
    if row.size:
        alone = theta[row]
        alone[np.arange(len(row)), column] = clipped[row, column]
        lost[row, column] = ~(correlate(theta[row], alone) >= ALIKE)
    return Reach(whole, lost)


def compare(
    key: jax.Array,
    study: Run,
    told: Channels,
    modes: np.ndarray,
    protocol: channels.Protocol,
) -> tuple[np.ndarray, Reach]:
    """Correlations of the observed currents with those of the modes (n,); which are in reach.

    A current that does not vary, or flows inwards only, explains nothing: its correlation is 0.
    key: that of `observe`, so that the currents are those which x was observed of.
    """
    quiet = channels.Protocol(protocol.clamps, protocol.basis, jnp.zeros(()))

    def correlate(under: channels.Protocol, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        both = jnp.asarray(np.concatenate([one, other], axis=1), float)
        found = jaxsbi.predict(key, Partial(resemblance, protocol=under), both, batch=LANES)
        return np.nan_to_num(np.asarray(found)[:, 0])

    def score() -> dict[str, np.ndarray]:
        first, _ = told.distinct
        within = reach(told.theta[first], partial(correlate, quiet))
        return {"modes": correlate(protocol, told.theta, modes), **within._asdict()}

    kept = keep_arrays(study, "compare", "correlations", score)
    return kept["modes"], Reach(kept["correlation"], kept["lost"])


def resemblance(key: jax.Array, both: jax.Array, protocol: channels.Protocol) -> jax.Array:
    """Correlation (1,) of the currents of two channels (16,), all protocols one after the other.

    The first has the noise that channels.simulate(key, …) has, the other noise of its own.
    """
    keys = key, jax.random.fold_in(key, 1)
    currents = (
        jnp.concatenate([c.ravel() for c in channels.trace(k, theta, protocol).currents])
        for k, theta in zip(keys, jnp.split(both, 2), strict=True)
    )
    one, other = (current - jnp.mean(current) for current in currents)
    one, other = (current - jnp.mean(current) for current in (one, other))  # of float32 in a row
    dot = partial(jnp.vdot, precision="highest")
    return (dot(one, other) / jnp.sqrt(dot(one, one) * dot(other, other)))[None]
