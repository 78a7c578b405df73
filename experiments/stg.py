"""Which circuits produce this rhythm? (Gonçalves et al. 2020, eLife 9:e56261, fig. 5.)

The pyloric network of the crab: three neurons, seven synapses, 31 conductances, and a rhythm that
was recorded, told by 18 features. Of circuits drawn from the prior one in a hundred has all of
them, so that later rounds draw where the density learned so far expects this rhythm; the circuits
of all rounds then teach their likelihood. Draws of the posterior are simulated anew; two of them
that differ much are joined by a path of high probability, and one leads away from it. Methods, in
order: `observe` (of `stg_rhythms`), `infer`, `simulate_draws`, `travel` (of `stg_circuits`),
`judge`, then figures and report.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import runs, stg_report
from experiments.conclusion import conclude
from experiments.keeping import keep_arrays, keep_posterior
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.shares import Share
from experiments.stg_circuits import (
    Circuits,
    Voltages,
    Ways,
    find_pair,
    record,
    run_all,
    stations,
    travel,
)
from experiments.stg_presets import PRESETS, Config
from experiments.stg_rhythms import TIMED, Options, Rhythm, observe, within_scatter
from experiments.targets import Target
from jaxsbi.opening import open_store
from jaxsbi.posteriors import Posterior
from simulators import stg

BY_LIKELIHOOD = "_likelihood"
"""After a rhythm's name, that of its posterior by a learned likelihood."""
ON_PATH = 0.9
"""Share of runs along a path of high probability that is to be pyloric."""


class Learned(NamedTuple):
    """The posterior of the last round, and the one that is drawn from: by the likelihood that all
    rounds' circuits teach, or the same."""

    search: Posterior
    posterior: Posterior


class Outcome(NamedTuple):
    """What was learned, its draws with one run of each, the paths, and what was aimed at.

    by_round: of the simulations of each round those that had all features.
    """

    config: Config
    rhythm: Rhythm
    learned: Learned
    circuits: Circuits
    ways: Ways
    voltages: Voltages
    by_round: tuple[Share, ...]
    targets: tuple[Target, ...]

    @property
    def share(self) -> Share:
        """Of draws that are pyloric when they are simulated anew."""
        return Share.of(self.circuits.pyloric)


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset and seed."""
    return f"stg-{preset}-seed{seed}"


command = partial(runs.command, "stg")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, simulate anew, travel, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 5)
    rhythm = observe(keys[0], options.data)
    seen = {rhythm.name: rhythm.settings}
    settings = runs.settings_of("stg", preset, seed, seen, settings_of(config))
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    print(rhythm.title, flush=True)
    learned = infer(keys[1], study, rhythm, config)
    circuits = simulate_draws(keys[2], study, learned.posterior, config)
    scale = np.asarray(learned.search.moments.scale)
    pair = find_pair(circuits, np.asarray(rhythm.x_o), scale)
    ways = travel(keys[3], study, learned.posterior, circuits, pair, config)
    voltages = record(keys[4], study, stations(ways), config.protocol)
    outcome = Outcome(
        config, rhythm, learned, circuits, ways, voltages,
        by_round(study, rhythm, learned.search),
        judge(rhythm, circuits, ways, config),
    )  # fmt: skip
    return conclude(study, command(preset, seed, out, options), outcome, stg_report.TELLING)


def prior() -> jaxsbi.Prior:
    """Uniform: conductances of membranes, logarithms of those of synapses."""
    return jaxsbi.box(stg.PARAMETERS)


def infer(key: jax.Array, study: Run, rhythm: Rhythm, config: Config) -> Learned:
    """Rounds that search for the rhythm, then the likelihood of all circuits that they simulated.

    The rounds learn q(θ | x), x with features that may be undefined, and simulate draws of
    q(θ | x_o). Circuits lie close to silent ones there, and a flow of 31 parameters is blurred at
    such edges; which features a circuit has and their values are smoother functions of θ, and
    any circuits teach them, whatever they were drawn from.
    """
    key_search, key_likelihood = jax.random.split(key)
    search = keep_posterior(
        study, "infer", rhythm.name, config.rounds,
        partial(
            jaxsbi.infer, key_search, Partial(stg.simulate, protocol=config.protocol), prior(),
            rhythm.x_o, algorithm=config.algorithm, rounds=config.rounds,
            simulations=list(config.simulations), estimator=config.estimator,
            training=config.training, avoid_failures=config.avoid_failures, batch=config.batch,
        ),
        rhythm.title,
    )  # fmt: skip
    if config.likelihood is None:
        return Learned(search, search)
    posterior = keep_posterior(
        study, "learn the likelihood", f"{rhythm.name}{BY_LIKELIHOOD}", 1,
        partial(
            jaxsbi.fit, key_likelihood, store=simulated(study, rhythm), x_o=rhythm.x_o,
            algorithm=jaxsbi.nle(), estimator=config.likelihood, training=config.fitting,
        ),
        rhythm.title,
    )  # fmt: skip
    return Learned(search, posterior)


def simulated(study: Run, rhythm: Rhythm) -> Path:
    """Where the circuits of all rounds are kept."""
    return study.folder / "rounds" / rhythm.name / "simulations"


def simulate_draws(key: jax.Array, study: Run, posterior: Posterior, config: Config) -> Circuits:
    """Draws of the posterior, and one run of each."""
    keys = jax.random.split(key)

    def draw() -> dict[str, np.ndarray]:
        theta = np.asarray(posterior.sample(keys[0], config.draws))
        return run_all(keys[1], theta, config.protocol, config.batch)._asdict()

    return Circuits(**keep_arrays(study, "simulate draws", "draws", draw))


def judge(rhythm: Rhythm, circuits: Circuits, ways: Ways, config: Config) -> tuple[Target, ...]:
    """What was aimed at: draws that are pyloric, with such features, along the path as well."""
    share, on_path = Share.of(circuits.pyloric), Share.of(ways.along.pyloric)
    near = within(circuits, np.asarray(rhythm.x_o))
    return (
        Target("share of draws that are pyloric", share.value, config.asked, at_most=False),
        Target(
            f"features of {TIMED} whose median over pyloric draws is within their scatter",
            float(near.sum()),
            TIMED,
            at_most=False,
        ),
        Target("share of runs along the path that are pyloric", on_path.value, ON_PATH, False),
    )


def within(circuits: Circuits, x_o: np.ndarray) -> np.ndarray:
    """Of each of the first 15 features whether its median over pyloric circuits is within one sd
    of the observed one, the sd that across preparations (15,)."""
    pyloric = circuits.features[circuits.pyloric]
    if not len(pyloric):
        return np.zeros(TIMED, bool)
    return within_scatter(np.nanmedian(pyloric, axis=0), x_o)


def by_round(study: Run, rhythm: Rhythm, posterior: Posterior) -> tuple[Share, ...]:
    """Of each round's simulations those that had all features, where they are kept."""
    counts = [r.drawn for r in posterior.history.rounds]

    def count() -> dict[str, np.ndarray]:
        store = open_store(simulated(study, rhythm))
        ends = np.cumsum([0, *counts])
        parts = (store.read(a, b) for a, b in zip(ends, ends[1:], strict=False))
        return {"hits": [int(np.sum(np.all(np.isfinite(x), axis=1))) for _, x in parts]}

    hits = keep_arrays(study, "count", "by_round", count)["hits"]
    return tuple(Share(int(h), n) for h, n in zip(hits, counts, strict=True))
