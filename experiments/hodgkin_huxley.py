"""Which Hodgkin–Huxley neurons fire like this one? (Gonçalves et al. 2020, eLife 9:e56261, fig. 4.)

Neural posterior estimation of eight parameters from seven voltage features: in one round for the
paper's synthetic neuron; for a cell recorded in mouse cortex in one round that serves any cell, and
more that learn the likelihood near this one. Methods, in order: `observe`, `infer_parameters`,
`validate`, then figures and report.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import checks, hodgkin_huxley_report, modes, runs
from experiments.checks import Check
from experiments.conclusion import conclude
from experiments.hodgkin_huxley_observations import Observation, Options, observe
from experiments.hodgkin_huxley_presets import PRESETS, Config
from experiments.hodgkin_huxley_reach import FEATURE_NAMES
from experiments.keeping import keep_posterior
from experiments.predictions import Refinement, is_held, judge
from experiments.runs import Run
from jaxsbi.diagnostics import Calibration
from jaxsbi.posteriors import Posterior
from simulators import hodgkin_huxley as hh

MODE_RUNS = 256
"""Neurons with the mode's parameters."""


class Learned(NamedTuple):
    """p(θ | x) of any x under one protocol, and what later rounds for one x_o made of it."""

    amortised: Posterior
    refined: Posterior | None = None


class Folders(NamedTuple):
    """Where these are kept within a run; refined: None where nothing is to be refined."""

    amortised: str
    refined: str | None

    @classmethod
    def of(cls, observation: Observation, config: Config) -> Folders:
        """A synthetic neuron has one posterior, of a budget of its own."""
        name = observation.name
        if observation.truth is not None or not config.refinement:
            return cls(name, None)
        return cls(f"{name}_amortised", f"{name}_refined")


class Outcome(NamedTuple):
    """All that was inferred and checked for one observation.

    refinement: what later rounds brought, None where there were none. samples and predicted:
    posterior samples (n, 8) and their features (n, 7); best_predicted: the features of the mode,
    run many times; from_prior: parameters and features, fresh draws.
    """

    observation: Observation
    config: Config
    learned: Learned
    samples: np.ndarray
    predicted: np.ndarray
    best: np.ndarray
    best_predicted: np.ndarray
    at_bound: tuple[str, ...]
    from_prior: tuple[np.ndarray, np.ndarray]
    calibration: Calibration
    checks: tuple[Check, ...] = ()
    refinement: Refinement | None = None

    @property
    def refined(self) -> bool:
        """Whether the posterior is one of rounds for this observation: if those came nearer."""
        return self.refinement is not None and self.refinement.kept

    @property
    def posterior(self) -> Posterior:
        return self.learned.refined if self.refined else self.learned.amortised

    @property
    def set_aside(self) -> Posterior | None:
        """The posterior of rounds that led away."""
        return None if self.refined else self.learned.refined

    @property
    def folder(self) -> str:
        """Where the posterior is kept within the run."""
        folders = Folders.of(self.observation, self.config)
        return f"posterior/{folders.refined if self.refined else folders.amortised}"

    @property
    def most_epochs(self) -> int:
        """What the last training was given at most."""
        return (self.config.refining if self.refined else self.config.training).max_epochs

    @property
    def within(self) -> np.ndarray:
        """Which observed features lie in the central 95 % of the posterior predictive (7,)."""
        return is_held(np.asarray(self.observation.x_o), self.predicted)


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset, seed and recording, told by its path."""
    cell = runs.file_name(options.cell) if options.cell else options.download
    parts = {
        "": "all" if options.all_cells else cell,
        "sweep": options.sweep,
        "area": options.soma_area,
    }
    named = "".join(f"-{name}{part}" for name, part in parts.items() if part is not None)
    return f"hodgkin_huxley-{preset}-seed{seed}{named}"


command = partial(runs.command, "hodgkin_huxley")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, validate, draw and report; returns what results.json holds."""
    config, key = PRESETS[preset], jax.random.key(seed)
    observations = observe(jax.random.fold_in(key, 0), options)
    named = {o.name: o.settings for o in observations}
    settings = runs.settings_of("hodgkin_huxley", preset, seed, named, config.settings)
    study = Run(out, settings, folders=("posterior", "figures"))
    outcomes = []
    for i, observation in enumerate(observations):
        key_infer, key_check = jax.random.split(jax.random.fold_in(key, i + 1))
        print(f"{observation.title}", flush=True)
        learned = infer_parameters(key_infer, study, observation, config)
        with study.stage(f"{observation.name}: validate"):
            outcomes.append(validate(key_check, observation, learned, config))
    typed = command(preset, seed, out, options)
    return conclude(study, typed, outcomes, hodgkin_huxley_report.TELLING)


def infer_parameters(
    key: jax.Array, study: Run, observation: Observation, config: Config
) -> Learned:
    """Simulate from the prior, train q(θ | x); for a recorded cell, refine it for its x_o.

    Later rounds learn the likelihood, from draws of q(θ | x_o) and then of the posterior. Where the
    noise is small, as here, p(θ | x) is a thin curved sheet, p(x | θ) a narrow peak that moves
    smoothly with θ: the one is learned from fewer simulations than the other.
    """
    key_first, key_later = jax.random.split(key)
    folders, later = Folders.of(observation, config), config.refinement
    infer = partial(
        jaxsbi.infer,
        simulate=Partial(hh.simulate, protocol=observation.protocol),
        prior=jaxsbi.box(hh.PARAMETERS),
        x_o=observation.x_o,
    )
    n = config.cell_simulations if observation.truth is None else config.simulations
    first = partial(
        infer, key_first, simulations=n, estimator=config.estimator, training=config.training
    )
    kept = partial(keep_posterior, study, of=observation.title)
    stage = f"{observation.name}: {{}}".format
    amortised = kept(stage("infer"), folders.amortised, 1, first)
    if folders.refined is None or amortised.history[-1].interrupted:
        return Learned(amortised)
    refine = partial(
        infer, key_later, start=amortised, algorithm=jaxsbi.nle(), rounds=len(later),
        simulations=later, estimator=config.likelihood, training=config.refining,
    )  # fmt: skip
    refined = kept(stage("refine"), folders.refined, 1 + len(later), refine)
    return Learned(amortised, refined if len(refined.history) > 1 else None)


def validate(
    key: jax.Array,
    observation: Observation,
    learned: Learned,
    config: Config,
) -> Outcome:
    """Re-simulate the posterior and its mode; calibrate against fresh draws from the prior.

    What a draw of the prior calibrates is the posterior of any x, before it was refined for one.
    """
    amortised, refined = learned
    keys = jax.random.split(key, 9)
    simulate = Partial(hh.simulate, protocol=observation.protocol)

    def drawn(
        posterior: Posterior, key_draw: jax.Array, key_run: jax.Array
    ) -> tuple[np.ndarray, np.ndarray]:
        samples = posterior.sample(key_draw, config.posterior_samples)
        return np.asarray(samples), np.asarray(jaxsbi.predict(key_run, simulate, samples))

    theta, x = jaxsbi.simulate(keys[2], simulate, amortised.prior, config.calibration)
    refinement = None
    samples, predicted = drawn(amortised, keys[0], keys[3])
    if refined is not None:
        later = drawn(refined, keys[6], keys[7])
        refinement = judge(np.asarray(observation.x_o), np.asarray(x), predicted, later[1])
        if refinement.kept:
            samples, predicted = later
    posterior = refined if refinement is not None and refinement.kept else amortised
    best = modes.mode_of(posterior, keys[1])
    calibration = jaxsbi.diagnostics.calibrate(keys[5], amortised, theta, x, samples=499)
    best_predicted = jaxsbi.predict(keys[4], simulate, jnp.tile(best, (MODE_RUNS, 1)))
    from_prior = np.asarray(theta), np.asarray(x)
    return Outcome(
        observation=observation,
        config=config,
        learned=learned,
        samples=samples,
        predicted=predicted,
        best=best,
        best_predicted=np.asarray(best_predicted),
        at_bound=modes.at_bound(best, posterior.prior),
        from_prior=from_prior,
        calibration=calibration,
        checks=checks.make(
            keys[8], amortised, calibration, observation.x_o, from_prior, predicted,
            FEATURE_NAMES,
        ),
        refinement=refinement,
    )  # fmt: skip
