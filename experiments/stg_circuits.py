"""Circuits compared: which differ though they behave alike, and the ways that lead between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments.keeping import keep_arrays
from experiments.runs import Run
from experiments.stg_presets import PAPER_ACROSS, Config
from experiments.stg_rhythms import TIMED
from jaxsbi.analysis import Path
from jaxsbi.posteriors import Posterior
from simulators import stg

MEMBRANE = np.arange(24).reshape(3, 8)
"""Places of each neuron's membrane conductances in θ; synapses follow."""
FACTOR, MEMBRANES, EACH = 2.0, 8, 2
"""Two circuits are disparate with more than a factor 2 between 8 conductances, 2 in each neuron,"""
LOGS, SYNAPSES = 2.0, 5
"""and more than 2 natural logarithms between 5 synapses."""
ALIKE = 0.1
"""Sds of the training features within which the paper's two circuits are of x_o, and of each other.
"""


SD = np.array([(p.high - p.low) / np.sqrt(12) for p in stg.PARAMETERS])
UNIT_DENSITY = -float(np.sum(np.log(SD)))
"""log p(θ) where the density in the prior's standard coordinates, θ / SD, is 1: there, as in the
paper, a path's length costs nothing."""


class Circuits(NamedTuple):
    """θ (n, 31), and of one run of each the features (n, 18) and whether it was pyloric (n,)."""

    theta: np.ndarray
    features: np.ndarray
    pyloric: np.ndarray


class Pair(NamedTuple):
    """Two circuits by number, and how far they are from x_o and each other, at most, in sds.

    membranes, synapses: how many differ by more than a factor 2, by more than 2 logarithms.
    """

    first: int
    second: int
    apart: float
    membranes: int
    synapses: int
    disparate: bool


class Ways(NamedTuple):
    """A path of high probability between two circuits and one across it, simulated on their way.

    along, across: features (points, runs, 18) and flags (points, runs) of each.
    """

    pair: Pair
    path: Path
    orthogonal: Path
    along: Circuits
    across: Circuits

    @property
    def near(self) -> np.ndarray:
        """Flags (points, runs) of the path across, as far along it as the paper's goes."""
        steps = np.linalg.norm(np.diff(self.orthogonal.u, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(steps)])
        # half a step more: the paper's own path ends within that of its share
        end = PAPER_ACROSS.share * self.path.length + PAPER_ACROSS.step / 2
        return self.across.pyloric[at <= end]


class Voltages(NamedTuple):
    """V (circuits, 3, n) [mV] of circuits by name at times (n,) [ms]."""

    names: tuple[str, ...]
    time: np.ndarray
    voltage: np.ndarray


def behaviour(protocol: stg.Protocol) -> Partial:
    """(key, θ) ↦ features and the pyloric flag, as numbers."""
    return Partial(_behaviour, protocol)


def _behaviour(protocol: stg.Protocol, key: jax.Array, theta: jax.Array) -> dict[str, jax.Array]:
    found = stg.outcome(key, theta, protocol)
    return {"features": found.features, "pyloric": found.pyloric.astype(float)}


def run_all(
    key: jax.Array, theta: np.ndarray, protocol: stg.Protocol, batch: int | None = None
) -> Circuits:
    """One run of each circuit; of θ (…, 31) features (…, 18) and flags (…)."""
    shape = np.shape(theta)[:-1]
    rows = jnp.asarray(theta, float).reshape(-1, len(stg.PARAMETERS))
    found = jaxsbi.predict(key, behaviour(protocol), rows, batch=batch)
    features = np.asarray(found["features"]).reshape(*shape, -1)
    return Circuits(np.asarray(theta), features, np.asarray(found["pyloric"]).reshape(shape) > 0)


def differing(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of θ (…, 31) twice: membrane conductances per neuron (…, 3) and synapses (…) that differ."""
    m = MEMBRANE.size
    low, high = (f(first[..., :m], second[..., :m]) for f in (np.minimum, np.maximum))
    by_neuron = (high > FACTOR * low)[..., MEMBRANE].sum(axis=-1)
    return by_neuron, (np.abs(first[..., m:] - second[..., m:]) > LOGS).sum(axis=-1)


def find_pair(circuits: Circuits, x_o: np.ndarray, scale: np.ndarray) -> Pair:
    """Of the pyloric circuits the two disparate ones that are nearest to x_o and to each other.

    Near is by the largest difference of the first 15 features, in units of `scale`. Where no two
    pyloric circuits are disparate, the two with most conductances that differ; where there are no
    two at all, the first two circuits.
    """
    timed = circuits.features[:, :TIMED]
    rows = np.flatnonzero(circuits.pyloric & np.all(np.isfinite(timed), axis=1))
    rows = rows if len(rows) > 1 else np.arange(2)
    x, theta = timed[rows] / scale[:TIMED], circuits.theta[rows]
    from_x_o = np.max(np.abs(x - x_o[:TIMED] / scale[:TIMED]), axis=1)
    i, j = np.triu_indices(len(rows), 1)
    each_other = np.max(np.abs(x[i] - x[j]), axis=1)
    apart = np.maximum(each_other, np.maximum(from_x_o[i], from_x_o[j]))
    by_neuron, synapses = differing(theta[i], theta[j])
    membranes = by_neuron.sum(axis=1)
    disparate = (membranes >= MEMBRANES) & (by_neuron.min(axis=1) >= EACH) & (synapses >= SYNAPSES)
    order = np.lexsort((apart, np.where(disparate, 0, -(membranes + synapses)), ~disparate))
    k = order[0]
    return Pair(
        int(rows[i[k]]), int(rows[j[k]]), float(apart[k]), int(membranes[k]), int(synapses[k]),
        bool(disparate[k]),
    )  # fmt: skip


def travel(
    key: jax.Array,
    study: Run,
    posterior: Posterior,
    circuits: Circuits,
    pair: Pair,
    config: Config,
) -> Ways:
    """The path between the pair and the one across it; each point simulated several times."""
    ends = circuits.theta[[pair.first, pair.second]]

    def find() -> dict[str, np.ndarray]:
        path = jaxsbi.analysis.path(posterior, *jnp.asarray(ends), zero=UNIT_DENSITY)
        orthogonal = jaxsbi.analysis.orthogonal_path(posterior, path, **config.across._asdict())
        return {
            f"{name}_{part}": getattr(each, part)
            for name, each in (("path", path), ("orthogonal", orthogonal))
            for part in ("theta", "u", "log_prob", "cost")
        }

    found = keep_arrays(study, "paths", "paths", find)
    path, orthogonal = (
        Path(posterior.prior.names, *(found[f"{name}_{part}"] for part in ("theta", "u")),
             found[f"{name}_log_prob"], float(found[f"{name}_cost"]))
        for name in ("path", "orthogonal")
    )  # fmt: skip

    def simulate() -> dict[str, np.ndarray]:
        every = np.concatenate([path.theta, orthogonal.theta])
        repeated = np.repeat(every[:, None], config.runs, axis=1)
        ran = run_all(key, repeated, config.protocol, config.batch)
        return {"features": ran.features, "pyloric": ran.pyloric}

    ran = keep_arrays(study, "simulate paths", "along", simulate)
    n = len(path.theta)
    along, across = (
        Circuits(each.theta, ran["features"][part], ran["pyloric"][part])
        for each, part in ((path, slice(None, n)), (orthogonal, slice(n, None)))
    )
    return Ways(pair, path, orthogonal, along, across)


SHOWN, EVERY = (1000.0, 4000.0), 8
"""The part of a run that is shown [ms], and of how many samples one."""


def record(
    key: jax.Array, study: Run, thetas: Mapping[str, np.ndarray], protocol: stg.Protocol
) -> Voltages:
    """One run of each circuit θ (31,) by its name."""
    shown = stg.Protocol(duration=min(SHOWN[1], protocol.duration))

    def run() -> dict[str, np.ndarray]:
        trace = jax.jit(lambda key, theta: stg.trace(key, theta, shown).voltage)
        keys = jax.random.split(key, len(thetas))
        rows = (jnp.asarray(theta, float) for theta in thetas.values())
        voltage = np.stack([trace(k, theta) for k, theta in zip(keys, rows, strict=True)])
        kept = slice(np.searchsorted(shown.time, SHOWN[0]), None, EVERY)
        return {"time": shown.time[kept], "voltage": voltage[:, :, kept]}

    return Voltages(tuple(thetas), **keep_arrays(study, "record voltages", "voltages", run))


def stations(ways: Ways) -> dict[str, np.ndarray]:
    """θ (31,) at both ends of the path, in its middle, and at the end of the path across it."""
    path, orthogonal = ways.path.theta, ways.orthogonal.theta
    return {
        "first circuit": path[0],
        "half way along the path": path[len(path) // 2],
        "second circuit": path[-1],
        "end of the path across it": orthogonal[-1],
    }
