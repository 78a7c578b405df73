"""How much does each feature say? (Gonçalves et al. 2020, eLife 9:e56261, fig. 4, supplements.)

The synthetic Hodgkin–Huxley neuron, seen through seven, four or one feature of its voltage: the
fewer, the wider the posterior. All are learned from the same simulations. With `--evolution` a
genetic algorithm looks for the neuron with as many simulations: its last generation is a set of
trade-offs between the features, and how much of it the posterior holds is counted. Methods, in
order: `simulate`, `infer`, `measure`, `breed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from experiments import hodgkin_huxley_features_report, runs
from experiments.conclusion import conclude
from experiments.hodgkin_huxley_evolution import distances, evolve
from experiments.hodgkin_huxley_presets import DENSITIES
from experiments.keeping import keep_arrays, keep_posterior
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import Calibration
from jaxsbi.posteriors import Posterior
from jaxsbi.types import Estimator
from simulators import hodgkin_huxley as hh

SUBSETS = (7, 4, 1)
"""The first so many features."""
SCALE = 1000
"""Simulations of the prior that tell the scale of a feature to the genetic algorithm."""
HELD = 0.95


class Options(NamedTuple):
    """evolution: whether to compare with a genetic algorithm."""

    evolution: bool = False


@dataclass(frozen=True)
class Config:
    """simulations that all densities learn from, and as many of the genetic algorithm; draws of
    each posterior, fresh rows of its calibration."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    generations: int = 100
    draws: int = 1000
    fresh: int = 1000


PRESETS = {
    "smoke": Config(500, *DENSITIES["smoke"], generations=5, draws=100, fresh=100),
    "laptop": Config(30_000, *DENSITIES["laptop"]),
    "gpu": Config(1_000_000, *DENSITIES["gpu"], draws=5000),
    "paper": Config(100_000, *DENSITIES["paper"], draws=5000),
}


class Seen(NamedTuple):
    """The posterior of the first `features`; draws (n, 8); information: on average over data
    E log q(θ | x) − log p(θ), and at x_o, of its draws [nats]."""

    features: int
    posterior: Posterior
    draws: np.ndarray
    information: float
    at_x_o: float
    calibration: Calibration


class Bred(NamedTuple):
    """The last generation θ (n, 8); held: share of it in the posterior's region of mass HELD;
    spread (8,): the width of its central half over that of the posterior's, in which mutants of
    the last breeding do not count; simulations that it took."""

    theta: np.ndarray
    held: float
    spread: np.ndarray
    simulations: int


class Outcome(NamedTuple):
    """What each number of features says, and the genetic algorithm if it was asked for."""

    config: Config
    x_o: np.ndarray
    seen: tuple[Seen, ...]
    bred: Bred | None
    targets: tuple[Target, ...]


command = partial(runs.command, "hodgkin_huxley_features")


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset and seed, with and without evolution."""
    return f"hodgkin_huxley_features-{preset}-seed{seed}{'-evolution' * options.evolution}"


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, measure, breed, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 5)
    x_o = np.asarray(hh.simulate(keys[0], jnp.asarray(hh.NOMINAL)))
    about = {"synthetic": {"x_o": x_o, "evolution": options.evolution}}
    settings = runs.settings_of("hodgkin_huxley_features", preset, seed, about, settings_of(config))
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    rows = simulate(keys[1], study, config)
    posteriors = {k: infer(keys[2], study, rows, x_o, k, config) for k in SUBSETS}
    with study.stage("measure"):
        seen = tuple(measure(keys[3], p, k, config) for k, p in posteriors.items())
    bred = breed(keys[4], study, rows, x_o, seen[0], config) if options.evolution else None
    told = [s.information for s in seen]
    targets = tuple(
        Target(f"information of {few} features less that of {many} [nats]", less - more, 0.0)
        for few, many, less, more in zip(SUBSETS[1:], SUBSETS, told[1:], told, strict=False)
    )
    outcome = Outcome(config, x_o, seen, bred, targets)
    typed = command(preset, seed, out, options)
    return conclude(study, typed, outcome, hodgkin_huxley_features_report.TELLING)


def prior() -> jaxsbi.Prior:
    """Uniform over the box of the paper."""
    return jaxsbi.box(hh.PARAMETERS)


def simulate(key: jax.Array, study: Run, config: Config) -> dict[str, np.ndarray]:
    """(θ, x) from the prior."""

    def drawn() -> dict[str, np.ndarray]:
        n = config.simulations
        theta, x = map(np.asarray, jaxsbi.simulate(key, hh.simulate, prior(), n))
        return {"theta": theta, "x": x}

    return keep_arrays(study, "simulate", "simulations", drawn)


def infer(
    key: jax.Array,
    study: Run,
    rows: dict[str, np.ndarray],
    x_o: np.ndarray,
    features: int,
    config: Config,
) -> Posterior:
    """q(θ | the first features), all from the same simulations."""
    theta, x = jnp.asarray(rows["theta"]), jnp.asarray(rows["x"])
    fit = partial(
        jaxsbi.fit, key, theta, x[:, :features], prior(), x_o=jnp.asarray(x_o[:features]),
        estimator=config.estimator, training=config.training,
    )  # fmt: skip
    named = f"{features} feature{'s' * (features > 1)}"
    return keep_posterior(study, f"infer, {named}", f"features_{features}", 1, fit, named)


def measure(key: jax.Array, posterior: Posterior, features: int, config: Config) -> Seen:
    """How much these features say, over data of the prior and of this neuron; calibration."""
    keys, of = jax.random.split(key, 3), posterior.prior
    draws = posterior.sample(keys[0], config.draws)
    theta, x = jaxsbi.simulate(keys[1], hh.simulate, of, config.fresh)
    x = x[:, :features]
    whole = np.flatnonzero(np.all(np.isfinite(np.asarray(x)), axis=1))
    theta, x = theta[whole], x[whole]
    gained = posterior.log_prob(theta[:, None], x)[:, 0] - of.log_prob(theta)
    at_x_o = posterior.log_prob(draws) - of.log_prob(draws)
    samples = min(499, 5 * config.fresh)
    calibration = jaxsbi.diagnostics.calibrate(keys[2], posterior, theta, x, samples=samples)
    found = np.asarray(draws)
    return Seen(
        features, posterior, found, float(np.mean(gained)), float(np.mean(at_x_o)), calibration
    )


def breed(
    key: jax.Array,
    study: Run,
    rows: dict[str, np.ndarray],
    x_o: np.ndarray,
    seen: Seen,
    config: Config,
) -> Bred:
    """A genetic algorithm with as many simulations, and where its last generation lies in q.

    It aims at |x − x_o| of every feature, in its sd among simulations of the prior.
    """
    offspring = config.simulations // config.generations
    sd = np.nanstd(rows["x"][:SCALE].astype(float), axis=0)

    def go() -> dict[str, np.ndarray]:
        asked: list[int] = []

        def score(theta: np.ndarray) -> np.ndarray:
            fresh = jax.random.fold_in(key, len(asked))
            asked.append(len(theta))
            x = jaxsbi.predict(fresh, hh.simulate, jnp.asarray(theta, float))
            return distances(np.asarray(x, float), x_o, sd)

        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        low, high = prior().bounds
        theta = evolve(seed, score, low, high, len(x_o), offspring, config.generations)
        return {"theta": theta, "simulations": np.asarray(sum(asked))}

    kept = keep_arrays(study, "evolve", "evolved", go)
    theta = kept["theta"]
    within, of_draws = (
        np.asarray(seen.posterior.log_prob(jnp.asarray(t, float))) for t in (theta, seen.draws)
    )
    held = float(np.mean(within >= np.quantile(of_draws, 1 - HELD)))
    halves = (np.quantile(t, [0.25, 0.75], axis=0) for t in (theta, seen.draws))
    spread = np.divide(*(high - low for low, high in halves))
    return Bred(theta, held, spread, int(kept["simulations"]))
