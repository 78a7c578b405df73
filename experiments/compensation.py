"""Which conductances make up for each other? (Gonçalves et al. 2020, eLife 9:e56261, fig. 6.)

Marginally nearly all parameters of circuits that make one rhythm are free and unrelated. Given all
others they are not: the density of two, the rest held, shows which change can be made good by which
other. Slices of it predict compensations: circuits in which one conductance is changed alone, and
with another as they say or the other way, are simulated. Methods, in order: `taken` or
`stg.infer`, `correlate`, `change_pairs` and `example` (of `compensation_changes`), `cut`, then
figures and report.
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
from experiments.compensation_changes import (
    ALONE,
    OPPOSED,
    RESOLUTION,
    Change,
    Gain,
    change_pairs,
    example,
    gain,
)
from experiments.compensation_presets import PRESETS, Config
from experiments.conclusion import conclude
from experiments.keeping import keep_arrays
from experiments.runs import Run
from experiments.stg_circuits import Circuits, Voltages, record
from experiments.stg_rhythms import observe
from experiments.targets import Target
from jaxsbi.analysis import Correlations, Slice, condition
from jaxsbi.posteriors import Posterior

SLICES = 6


class Options(NamedTuple):
    """posterior: a finished run of the study stg; data: the folder of recordings."""

    posterior: Path | None = None
    data: Path | None = None


class Learned(NamedTuple):
    """A posterior, one run of each of its draws, and whence it is."""

    posterior: Posterior
    circuits: Circuits
    source: str


class Outcome(NamedTuple):
    """All that was found. over_alone, over_opposed: what compensated circuits have of the rhythm
    more than those of the other arms; slices: of the strongest pairs, in one circuit; voltages: of
    one circuit, unchanged and in every arm."""

    config: Config
    learned: Learned
    marginal: Correlations
    conditional: Correlations
    change: Change
    over_alone: Gain
    over_opposed: Gain
    slices: tuple[Slice, ...]
    circuit: np.ndarray
    voltages: Voltages
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
    posterior, circuits = learned.posterior, learned.circuits
    change = change_pairs(keys[5], study, posterior, circuits, conditional.matrix, config)
    over = gain(change, ALONE), gain(change, OPPOSED)
    circuit = circuits.theta[np.argmax(circuits.pyloric)]
    slices = cut(study, posterior, circuit, change.pairs[:SLICES])
    arms = example(circuits, change, config.steps)
    voltages = record(keys[6], study, arms, config.inference.protocol)
    outcome = Outcome(
        config, learned, marginal, conditional, change, *over, slices, circuit, voltages,
        judge(*over),
    )  # fmt: skip
    return conclude(study, command(preset, seed, out, options), outcome,
                    compensation_report.TELLING)  # fmt: skip


def judge(over_alone: Gain, over_opposed: Gain) -> tuple[Target, ...]:
    """What was aimed at: the second conductance makes up for the first one's change."""
    arms = {"opposed ones": over_opposed, "ones with one conductance changed alone": over_alone}
    return tuple(
        Target(
            f"share pyloric of compensated runs less that of {name}, low end of its 95 % interval",
            found.low_95, 0.0, at_most=False, strict=True,
        )
        for name, found in arms.items()
    )  # fmt: skip


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
