"""Which conductances make up for each other? (Gonçalves et al. 2020, eLife 9:e56261, fig. 6.)

Marginally nearly all parameters of circuits that make one rhythm are free and unrelated. Given all
others they are not: the density of two, the rest held, shows which change can be made good by which
other. Correlations of such slices predict compensations; circuits changed as they say, and the
other way, are simulated. Methods, in order: `learned`, `correlate`, `change`, `cut`, then figures
and report.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from experiments import compensation_report, runs, stg
from experiments.arguments import cut as shortened
from experiments.compensation_presets import ARMS, PRESETS, Config
from experiments.conclusion import conclude
from experiments.keeping import keep_arrays
from experiments.runs import Run
from experiments.stg_circuits import SD, Circuits, run_all
from experiments.stg_rhythms import observe
from experiments.targets import Target
from jaxsbi.analysis import Correlations, Slice, condition
from jaxsbi.posteriors import Posterior
from simulators.stg import PARAMETERS

RESAMPLES = 2000
SLICES, RESOLUTION = 6, 50
LOW, HIGH = (np.array([getattr(p, end) for p in PARAMETERS]) for end in ("low", "high"))
COMPENSATED, ALONE, OPPOSED = range(ARMS)


class Options(NamedTuple):
    """posterior: a finished run of the study stg; data: the folder of recordings."""

    posterior: Path | None = None
    data: Path | None = None


class Learned(NamedTuple):
    """A posterior, one run of each of its draws, and whence it is."""

    posterior: Posterior
    circuits: Circuits
    source: str


class Change(NamedTuple):
    """What became of the rhythm of pyloric circuits when two conductances were changed.

    pairs (p, 2): the parameters; rho (p,): their conditional correlation; pyloric (p, circuits,
    steps, arms): of one run each; used (p, circuits): circuits that could be changed by all steps
    within the prior.
    """

    pairs: np.ndarray
    rho: np.ndarray
    pyloric: np.ndarray
    used: np.ndarray

    def flags(self, arm: int, step: int | None = None, pair: int | None = None) -> np.ndarray:
        """Of the runs of one arm, of all steps or one, of all pairs or one."""
        kept = self.used if pair is None else self.used[pair]
        ran = self.pyloric[..., arm] if pair is None else self.pyloric[pair, ..., arm]
        return ran[kept].ravel() if step is None else ran[kept][:, step]


class Outcome(NamedTuple):
    """All that was found. gained: share of compensated runs that are pyloric less that of opposed
    ones, and its 95 % interval; slices: of the strongest pairs, in one circuit."""

    config: Config
    learned: Learned
    marginal: Correlations
    conditional: Correlations
    change: Change
    gained: tuple[float, float, float]
    slices: tuple[Slice, ...]
    circuit: np.ndarray
    targets: tuple[Target, ...]


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset, seed and posterior."""
    return runs.folder_name("compensation", preset, seed, options._replace(data=None))


command = partial(runs.command, "compensation")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Correlate, change, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 7)
    rhythm = observe(keys[0], options.data) if options.posterior is None else None
    seen = inferred(options.posterior) if rhythm is None else {rhythm.name: rhythm.settings}
    settings = runs.settings_of("compensation", preset, seed, seen, config.settings)
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    if rhythm is None:
        learned = taken(options.posterior)
    else:
        posterior = stg.infer(keys[1], study, rhythm, config.inference).posterior
        circuits = stg.simulate_draws(keys[2], study, posterior, config.inference)
        learned = Learned(posterior, circuits, f"inferred here, {rhythm.title}")
    marginal, conditional = correlate(keys[3:5], study, learned.posterior, config)
    change = change_pairs(keys[5], study, learned, conditional, config)
    gained = difference(change)
    circuit = learned.circuits.theta[np.argmax(learned.circuits.pyloric)]
    outcome = Outcome(
        config, learned, marginal, conditional, change, gained,
        cut(study, learned.posterior, circuit, change.pairs[:SLICES]), circuit,
        (Target(
            "share pyloric of compensated runs less that of opposed ones, low end of its 95 % "
            "interval", gained[1], 0.0, at_most=False,
        ),),
    )  # fmt: skip
    return conclude(study, command(preset, seed, out, options), outcome,
                    compensation_report.TELLING)  # fmt: skip


def inferred(folder: Path) -> dict[str, Any]:
    """What tells a finished run of the study stg from others."""
    try:
        told = json.loads((folder / runs.RESULTS).read_text())["settings"]
        names = list(told["observations"])
        if told["study"] != "stg" or not (folder / "posterior" / names[0]).is_dir():
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise ValueError(
            f"--posterior {shortened(folder)}: expected a finished run of the study stg, came "
            "something else; run python -m experiments stg first, or leave it out"
        ) from None
    return {name: told[name] for name in ("preset", "seed", "observations", "config")}


def taken(folder: Path) -> Learned:
    """The posterior of a finished run of the study stg, and the runs of its draws."""
    told = inferred(folder)
    name = next(iter(told["observations"]))
    path = folder / "posterior" / f"{name}{stg.BY_LIKELIHOOD}"
    posterior = jaxsbi.load(path if path.exists() else path.with_name(name))
    with np.load(folder / "arrays" / "draws.npz", allow_pickle=False) as stored:
        circuits = Circuits(**stored)
    return Learned(posterior, circuits, f"of the study stg, {told['preset']}, seed {told['seed']}")


def correlate(
    keys: jax.Array, study: Run, posterior: Posterior, config: Config
) -> tuple[Correlations, Correlations]:
    """Of draws, and of slices of two parameters, the others those of a draw, averaged over draws.

    conditional_correlation.npz has the latter as rho (31, 31), in the order of the parameters.
    """

    def find() -> dict[str, np.ndarray]:
        marginal = jaxsbi.analysis.marginal_correlations(keys[0], posterior)
        conditional = jaxsbi.analysis.conditional_correlations(
            keys[1], posterior, samples=config.samples, points=config.points, progress=True
        )
        return {
            f"{kind}_{part}": getattr(each, part)
            for kind, each in (("marginal", marginal), ("conditional", conditional))
            for part in ("matrix", "error", "samples", "coarse")
        }

    found = keep_arrays(study, "correlate", "correlations", find)
    np.savez(
        study.folder / "conditional_correlation.npz",
        rho=found["conditional_matrix"],
        error=found["conditional_error"],
        names=np.array(posterior.prior.names),
    )
    return tuple(
        Correlations(
            posterior.prior.names, found[f"{kind}_matrix"], found[f"{kind}_error"],
            int(found[f"{kind}_samples"]), float(found[f"{kind}_coarse"]),
        )
        for kind in ("marginal", "conditional")
    )  # fmt: skip


def strongest(rho: np.ndarray, number: int) -> np.ndarray:
    """The pairs (i, j), i < j, of the largest |ρ_ij|, the largest first (number, 2)."""
    i, j = np.triu_indices(len(rho), 1)
    order = np.argsort(-np.abs(rho[i, j]), kind="stable")[:number]
    return np.stack([i[order], j[order]], axis=1)


def moved(theta: np.ndarray, i: int, j: int, rho: float, step: float) -> np.ndarray:
    """θ (…, 31) with θ_i nearer to the middle of its range by step/√2 sds, and θ_j, as far, the way
    that makes up for it, not at all, or the other way (…, arms, 31).

    A positive correlation says that both go up together, or down.
    """
    each = step / np.sqrt(2)
    of_i = -np.sign(theta[..., i] - (LOW + HIGH)[i] / 2) * each
    of_j = np.sign(rho) * of_i
    rows = np.repeat(theta[..., None, :], ARMS, axis=-2).astype(float)
    rows[..., i] += (of_i * SD[i])[..., None]
    rows[..., COMPENSATED, j] += of_j * SD[j]
    rows[..., OPPOSED, j] -= of_j * SD[j]
    return rows


def change_pairs(
    key: jax.Array, study: Run, learned: Learned, conditional: Correlations, config: Config
) -> Change:
    """Pyloric draws, changed in the most correlated pairs as these say and the other way, run.

    Where no draw is pyloric, as of a run that is meant to be small, all are taken.
    """
    pairs = strongest(conditional.matrix, config.strongest)
    rho = conditional.matrix[pairs[:, 0], pairs[:, 1]]

    def run_changed() -> dict[str, np.ndarray]:
        circuits = learned.circuits
        pyloric = circuits.theta[circuits.pyloric | ~circuits.pyloric.any()]
        thetas, used = [], np.zeros((len(pairs), config.circuits), bool)
        for p, (i, j) in enumerate(pairs):
            changed = np.stack(
                [moved(pyloric, i, j, rho[p], step) for step in config.steps], axis=1
            )
            inside = np.all((changed >= LOW) & (changed <= HIGH), axis=(1, 2, 3))
            changed = changed[inside][: config.circuits]
            used[p, : len(changed)] = True
            thetas.append(changed)
        found = np.zeros((*used.shape, len(config.steps), ARMS), bool)
        if used.any():
            inference = config.inference
            ran = run_all(key, np.concatenate(thetas), inference.protocol, inference.batch)
            found[used] = ran.pyloric
        return {"pyloric": found, "used": used}

    return Change(pairs, rho, **keep_arrays(study, "change pairs", "changed", run_changed))


def difference(change: Change) -> tuple[float, float, float]:
    """Share of compensated runs that are pyloric less that of opposed ones, and the ends of its
    95 % interval, by drawing circuits with replacement."""
    ran = change.pyloric[change.used].astype(float)
    if not len(ran):
        return (float("nan"),) * 3
    each = np.mean(ran[..., COMPENSATED] - ran[..., OPPOSED], axis=1)
    rows = np.random.default_rng(0).integers(len(each), size=(RESAMPLES, len(each)))
    low, high = np.quantile(each[rows].mean(axis=1), [0.025, 0.975])
    return float(each.mean()), float(low), float(high)


def cut(
    study: Run, posterior: Posterior, circuit: np.ndarray, pairs: np.ndarray
) -> tuple[Slice, ...]:
    """p(θ_i, θ_j | all others those of one circuit) of each pair, over the prior's range."""
    names = posterior.prior.names
    with study.stage("cut"):
        return tuple(
            condition(posterior, jnp.asarray(circuit), free=[names[i], names[j]]).grid(RESOLUTION)
            for i, j in pairs
        )
