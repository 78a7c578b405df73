"""Circuits changed in two conductances: u_i by s, and u_j by b s, by nothing, or by −b s.

u are the prior's standard coordinates. Whether the second makes up for the first's change is told
by arms in which the first is changed alike; the same circuits, run again as they are, tell how many
lose the rhythm by noise alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compensation_presets import ARMS, Config
from experiments.keeping import keep_arrays
from experiments.runs import Run
from experiments.stg_circuits import SD, Circuits, run_all
from jaxsbi.analysis import condition
from jaxsbi.posteriors import Posterior
from simulators.stg import PARAMETERS

RESAMPLES, RESOLUTION = 2000, 50
LOW, HIGH = (np.array([getattr(p, end) for p in PARAMETERS]) for end in ("low", "high"))
COMPENSATED, ALONE, OPPOSED = range(ARMS)


class Change(NamedTuple):
    """What became of the rhythm of pyloric circuits when two conductances were changed.

    pairs (p, 2): the first parameter and the second; rho, slope (p,): their conditional
    correlation, and by how much the second follows the first; pyloric (p, circuits, steps, arms):
    of one run each; unchanged (p, circuits): of one more run of the circuit as it is; used
    (p, circuits): circuits that could be changed by all steps within the prior.
    """

    pairs: np.ndarray
    rho: np.ndarray
    slope: np.ndarray
    pyloric: np.ndarray
    unchanged: np.ndarray
    used: np.ndarray

    def flags(self, arm: int, step: int | None = None, pair: int | None = None) -> np.ndarray:
        """Of the runs of one arm, of all steps or one, of all pairs or one."""
        kept = self.used if pair is None else self.used[pair]
        ran = self.pyloric[..., arm] if pair is None else self.pyloric[pair, ..., arm]
        return ran[kept].ravel() if step is None else ran[kept][:, step]

    def still(self, pair: int | None = None) -> np.ndarray:
        """Of the runs of unchanged circuits, of all pairs or one."""
        one = slice(None) if pair is None else pair
        return self.unchanged[one][self.used[one]]


class Gain(NamedTuple):
    """Share of compensated runs that are pyloric less that of another arm, its 95 % interval, and
    in how many pairs it is more, as much, and less."""

    share: float
    low_95: float
    high_95: float
    more: int
    as_much: int
    less: int


def strongest(rho: np.ndarray, number: int) -> np.ndarray:
    """The pairs (i, j), i < j, of the largest |ρ_ij|, the largest first (number, 2)."""
    i, j = np.triu_indices(len(rho), 1)
    order = np.argsort(-np.abs(rho[i, j]), kind="stable")[:number]
    return np.stack([i[order], j[order]], axis=1)


def follow(covariance: np.ndarray) -> tuple[bool, float]:
    """Whether the first of two is held more narrowly, and the slope b = Cov/Var of the other on it.

    covariance (2, 2): of the two given all others, in the prior's sds. The one that is held more
    narrowly is to be changed: there is most to make up for. |b| is 1 at most, so that the other,
    changed either way, stays within the prior in enough circuits: short of Cov/Var it still helps.
    """
    narrow = int(covariance[1, 1] < covariance[0, 0])
    slope = covariance[0, 1] / covariance[narrow, narrow]
    return narrow == 0, float(np.clip(slope, -1, 1))


def in_order(
    posterior: Posterior, theta: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs, the one that is held more narrowly first (p, 2), and the slopes of the second
    (p,), by the covariance of the pair given all others, averaged over circuits θ (n, 31)."""
    names, ordered, slopes = posterior.prior.names, [], []
    for i, j in pairs:
        free = [names[i], names[j]]
        slices = (condition(posterior, jnp.asarray(t), free=free).grid(RESOLUTION) for t in theta)
        mean = np.mean([found.covariance for found in slices], axis=0)
        first, slope = follow(mean / np.outer(SD[[i, j]], SD[[i, j]]))
        ordered.append((i, j) if first else (j, i))
        slopes.append(slope)
    return np.array(ordered), np.array(slopes)


def moved(theta: np.ndarray, i: int, j: int, slope: float, step: float) -> np.ndarray:
    """θ (…, 31) with u_i nearer to the middle of its range by `step` in every arm, and u_j by slope
    times that the way that makes up for it, not at all, or the other way (…, arms, 31)."""
    of_i = -np.sign(theta[..., i] - (LOW + HIGH)[i] / 2) * step
    rows = np.repeat(theta[..., None, :], ARMS, axis=-2).astype(float)
    rows[..., i] += (of_i * SD[i])[..., None]
    rows[..., COMPENSATED, j] += slope * of_i * SD[j]
    rows[..., OPPOSED, j] -= slope * of_i * SD[j]
    return rows


def changed(
    theta: np.ndarray, i: int, j: int, slope: float, steps: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Circuits θ (n, 31) `moved` by all steps (n, steps, arms, 31), and which of them stay within
    the prior by all (n,)."""
    rows = np.stack([moved(theta, i, j, slope, step) for step in steps], axis=1)
    return rows, np.all((rows >= LOW) & (rows <= HIGH), axis=(1, 2, 3))


def changeable(circuits: Circuits) -> np.ndarray:
    """θ (n, 31) of the pyloric circuits; where none is, as of a run that is meant to be small, of
    all."""
    return circuits.theta[circuits.pyloric | ~circuits.pyloric.any()]


def change_pairs(
    key: jax.Array,
    study: Run,
    posterior: Posterior,
    circuits: Circuits,
    matrix: np.ndarray,
    config: Config,
) -> Change:
    """Pyloric draws, changed in the pairs that `matrix` (31, 31) correlates most, simulated."""
    pyloric = changeable(circuits)

    def order() -> dict[str, np.ndarray]:
        found = strongest(matrix, config.strongest)
        pairs, slope = in_order(posterior, pyloric[: config.circuits], found)
        return {"pairs": pairs, "slope": slope}

    kept = keep_arrays(study, "order pairs", "pairs", order)
    pairs, slope = kept["pairs"], kept["slope"]

    def run_changed() -> dict[str, np.ndarray]:
        used = np.zeros((len(pairs), config.circuits), bool)
        thetas, own = [], []
        for p, (i, j) in enumerate(pairs):
            rows, inside = changed(pyloric, i, j, slope[p], config.steps)
            taken = np.flatnonzero(inside)[: config.circuits]
            used[p, : len(taken)] = True
            thetas.append(rows[taken])
            own.append(pyloric[taken])
        found = np.zeros((*used.shape, len(config.steps), ARMS), bool)
        unchanged = np.zeros(used.shape, bool)
        if used.any():
            keys, inference = jax.random.split(key), config.inference
            run = inference.protocol, inference.batch
            found[used] = run_all(keys[0], np.concatenate(thetas), *run).pyloric
            unchanged[used] = run_all(keys[1], np.concatenate(own), *run).pyloric
        return {"pyloric": found, "unchanged": unchanged, "used": used}

    ran = keep_arrays(study, "change pairs", "arms", run_changed)
    return Change(pairs, matrix[pairs[:, 0], pairs[:, 1]], slope, **ran)


def shown(change: Change) -> int | None:
    """The first pair in which circuits were changed, the most correlated of such; None if none."""
    pairs = np.flatnonzero(change.used.any(axis=1))
    return int(pairs[0]) if len(pairs) else None


def example(circuits: Circuits, change: Change, steps: Sequence[float]) -> dict[str, np.ndarray]:
    """θ (31,) of the first circuit that was changed in the pair `shown`, as it is and in every arm
    by the longest step; only as it is where none was changed."""
    theta, pair = changeable(circuits), shown(change)
    if pair is None:
        return {"unchanged": theta[0]}
    i, j = change.pairs[pair]
    rows, inside = changed(theta, i, j, change.slope[pair], steps)
    first, names = np.argmax(inside), (PARAMETERS[i].name, PARAMETERS[j].name)
    arms = f"compensated by {names[1]}", f"{names[0]} changed alone", f"opposed by {names[1]}"
    return {"unchanged": theta[first]} | dict(zip(arms, rows[first, -1], strict=True))


def gain(change: Change, other: int) -> Gain:
    """Of compensated runs over those of another arm; the interval by drawing circuits with
    replacement."""
    ran = change.pyloric[change.used].astype(float)
    if not len(ran):
        return Gain(*3 * (float("nan"),), 0, 0, 0)
    each = np.mean(ran[..., COMPENSATED] - ran[..., other], axis=1)
    rows = np.random.default_rng(0).integers(len(each), size=(RESAMPLES, len(each)))
    low, high = np.quantile(each[rows].mean(axis=1), [0.025, 0.975])
    pairs = np.flatnonzero(change.used.any(axis=1))
    hits = ([change.flags(arm, pair=p).sum() for p in pairs] for arm in (COMPENSATED, other))
    more = np.subtract(*map(np.int64, hits))
    counts = (int(np.sum(np.sign(more) == sign)) for sign in (1, 0, -1))
    return Gain(float(each.mean()), float(low), float(high), *counts)
