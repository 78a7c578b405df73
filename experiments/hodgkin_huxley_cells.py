"""One density for every recorded cell. (Gonçalves et al. 2020, eLife 9:e56261, fig. 4, suppl.)

The paper inferred each cell anew, for each was stimulated with a current of its own. Here the
current density I of the step and the voltage V₀ at which a recording begins are drawn with each
simulation and stand beside its seven features: q(θ | x, I, V₀), learned once, serves every cell
that was stimulated by a step at the same times. Methods, in order: `observe`, `simulate`, `infer`,
`validate`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import hodgkin_huxley_cells_report, runs
from experiments.conclusion import conclude
from experiments.hodgkin_huxley_observations import DEFAULT_CELL, Observation, recorded_cells
from experiments.hodgkin_huxley_presets import DENSITIES
from experiments.keeping import keep_posterior
from experiments.one_posterior import GAP
from experiments.predictions import is_held
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import Calibration
from jaxsbi.posteriors import Posterior
from jaxsbi.types import Estimator
from simulators import hodgkin_huxley as hh

LOW, HIGH = (0.5, -95.0), (2.5, -70.0)
"""I [µA/cm²] and V₀ [mV] of simulations are uniform between these; the cells' lie within."""
ALONE = f"cell_{DEFAULT_CELL}"
"""The cell for which a density is learned under its own current as well, to compare."""
HELD = 0.95
"""Share of the cells' features that central regions of 95 % are to hold: a bound of our own."""


class Options(NamedTuple):
    """data: the folder of recordings, with which cells are drawn with their traces."""

    data: Path | None = None


@dataclass(frozen=True)
class Config:
    """simulations that the density learns from, and as many for one cell alone; draws for each
    cell, simulated anew; fresh rows of the checks."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    draws: int = 1000
    fresh: int = 1000


PRESETS = {
    "smoke": Config(200, *DENSITIES["smoke"], draws=16, fresh=32),
    "laptop": Config(30_000, *DENSITIES["laptop"]),
    "gpu": Config(250_000, *DENSITIES["gpu"], draws=5000),
}


class Learned(NamedTuple):
    """Densities by all currents, and by that of the cell ALONE."""

    every: Posterior
    alone: Posterior


class Found(NamedTuple):
    """What the density says of one cell.

    draws (n, 8), predicted (n, 7): of the posterior, and their features under the cell's current;
    voltage: of the first draw; seconds: that the draws took, once compiled.
    """

    cell: Observation
    draws: np.ndarray
    predicted: np.ndarray
    voltage: np.ndarray
    seconds: float

    @property
    def held(self) -> np.ndarray:
        """Which observed features lie in the central 95 % of the predicted ones (7,)."""
        return is_held(np.asarray(self.cell.x_o), self.predicted)


class Loss(NamedTuple):
    """E[log q_alone(θ | x) − log q(θ | x, I, V₀)] under the current of the cell ALONE [nats]: what
    is lost by one density for all currents; error: the mean's standard error."""

    mean: float
    error: float


class Outcome(NamedTuple):
    """What was learned, what it says of each cell, and what one density for all of them costs.

    alone: the title of the cell under whose current the other density was learned.
    """

    config: Config
    learned: Learned
    found: tuple[Found, ...]
    calibration: Calibration
    loss: Loss
    alone: str

    @property
    def features(self) -> int:
        """Features of all cells."""
        return len(self.found) * len(hh.FEATURES)

    @property
    def held(self) -> int:
        """How many of them are held."""
        return sum(int(each.held.sum()) for each in self.found)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What was aimed at: features are held, regions cover what they say."""
        least = np.floor(HELD * self.features)
        return (
            Target(f"features held, of {self.features}", self.held, least, at_most=False),
            Target("coverage off", self.calibration.gap, GAP),
        )


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset and seed."""
    return f"hodgkin_huxley_cells-{preset}-seed{seed}"


command = partial(runs.command, "hodgkin_huxley_cells")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, validate, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 3)
    cells = observe(options)
    seen = {cell.name: cell.settings for cell in cells}
    settings = runs.settings_of("hodgkin_huxley_cells", preset, seed, seen, settings_of(config))
    study = Run(out, settings, folders=("posterior", "figures"))
    unit, one = unit_step(cells[0].protocol), next(cell for cell in cells if cell.name == ALONE)
    every = Partial(simulate, protocol=unit)
    own = Partial(hh.simulate, protocol=one.protocol)
    learned = Learned(
        infer(keys[0], study, "cells", "all cells", every, config),
        infer(keys[1], study, one.name, f"{one.title} alone", own, config),
    )
    with study.stage("validate"):
        outcome = validate(keys[2], cells, every, learned, config)
    typed = command(preset, seed, out, options)
    return conclude(study, typed, outcome, hodgkin_huxley_cells_report.TELLING)


def observe(options: Options) -> list[Observation]:
    """The recorded cells: features, and the step that each was stimulated with.

    Raises ValueError for a cell that no simulation of this study is like.
    """
    cells = recorded_cells(options.data)
    unit = unit_step(cells[0].protocol)
    for cell in cells:
        own, at = cell.protocol, stimulus(cell.protocol)
        alike = (own.samples, own.dt) == (unit.samples, unit.dt)
        if not (alike and np.allclose(own.current, at[0] * np.asarray(unit.current), atol=1e-3)):
            raise ValueError(
                f"{cell.title}: expected a step at the times of {cells[0].title}, came another "
                "current; give --data a folder with one recording of each cell"
            )
        if not np.all((np.array(LOW) <= at) & (at <= np.array(HIGH))):
            raise ValueError(
                f"{cell.title}: expected I from {LOW[0]} to {HIGH[0]} µA/cm² and V₀ from {LOW[1]} "
                f"to {HIGH[1]} mV, came {at[0]:.4g} and {at[1]:.4g}; widen LOW and HIGH"
            )
    return cells


def stimulus(protocol: hh.Protocol) -> np.ndarray:
    """(I [µA/cm²], V₀ [mV]) of a step current."""
    return np.array([np.max(np.asarray(protocol.current)), float(protocol.v0)])


def unit_step(protocol: hh.Protocol) -> hh.Protocol:
    """The same step, of 1 µA/cm²."""
    return stimulated(protocol, 1 / stimulus(protocol)[0], protocol.v0)


def stimulated(protocol: hh.Protocol, factor: jax.Array, v0: jax.Array) -> hh.Protocol:
    """A protocol with `factor` times its current, from V₀ [mV]."""
    return hh.Protocol(factor * protocol.current, v0, protocol.t_on, protocol.t_off, protocol.dt)


def simulate(key: jax.Array, theta: jax.Array, protocol: hh.Protocol) -> jax.Array:
    """(x, I, V₀) (9,): the features of one run under a step I of `protocol`, of 1 µA/cm².

    NaN altogether if no feature is defined, as of any simulation that failed.
    """
    key_stimulus, key_run = jax.random.split(key)
    drawn = jax.random.uniform(key_stimulus, (2,), minval=jnp.array(LOW), maxval=jnp.array(HIGH))
    x = hh.simulate(key_run, theta, stimulated(protocol, *drawn))
    return jnp.concatenate([x, jnp.where(jnp.all(jnp.isnan(x)), jnp.nan, drawn)])


def prior() -> jaxsbi.Prior:
    """Uniform over the box of the paper."""
    return jaxsbi.box(hh.PARAMETERS)


def infer(
    key: jax.Array, study: Run, name: str, title: str, model: Partial, config: Config
) -> Posterior:
    """The density that simulations of the prior teach, of whatever `model` gives."""
    return keep_posterior(
        study, f"{title}: infer", name, 1,
        partial(
            jaxsbi.infer, key, model, prior(), simulations=config.simulations,
            estimator=config.estimator, training=config.training,
        ),
        title,
    )  # fmt: skip


def beside(x: jax.Array, protocol: hh.Protocol) -> jax.Array:
    """(x, I, V₀) (…, 9) of features x (…, 7) under a step."""
    at = jnp.asarray(stimulus(protocol), x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(at, (*x.shape[:-1], 2))], axis=-1)


def validate(
    key: jax.Array, cells: list[Observation], model: Partial, learned: Learned, config: Config
) -> Outcome:
    """Each cell's draws, simulated under its own current; calibration over all currents."""
    keys = jax.random.split(key, 4)
    found = tuple(
        explain(jax.random.fold_in(keys[0], i), learned.every, cell, config)
        for i, cell in enumerate(cells)
    )
    rows = jaxsbi.simulate(keys[1], model, prior(), config.fresh)
    calibration = jaxsbi.diagnostics.calibrate(
        keys[2], learned.every, *rows, samples=min(499, 5 * config.fresh)
    )
    one = next(cell for cell in cells if cell.name == ALONE)
    loss = compare(keys[3], learned, one.protocol, config)
    return Outcome(config, learned, found, calibration, loss, one.title)


def explain(key: jax.Array, posterior: Posterior, cell: Observation, config: Config) -> Found:
    """What the density says of one cell, and how long its draws take."""
    keys, x = jax.random.split(key, 4), beside(cell.x_o, cell.protocol)
    draws = np.asarray(posterior.sample(keys[0], config.draws, x=x))
    began = time.perf_counter()
    jax.block_until_ready(posterior.sample(keys[1], config.draws, x=x))
    seconds = time.perf_counter() - began
    predicted = jaxsbi.predict(keys[2], Partial(hh.simulate, protocol=cell.protocol), draws)
    voltage = hh.trace(keys[3], draws[0], cell.protocol).voltage
    return Found(cell, draws, np.asarray(predicted), np.asarray(voltage), seconds)


def compare(key: jax.Array, learned: Learned, protocol: hh.Protocol, config: Config) -> Loss:
    """Both densities at true parameters of fresh neurons, under a current that both know."""
    theta, x = jaxsbi.simulate(key, Partial(hh.simulate, protocol=protocol), prior(), config.fresh)
    whole = np.all(np.isfinite(np.asarray(x)), axis=1)
    theta, x = theta[whole][:, None], x[whole]
    less = learned.alone.log_prob(theta, x) - learned.every.log_prob(theta, beside(x, protocol))
    less = np.asarray(less, np.float64)[:, 0]
    return Loss(float(less.mean()), float(less.std(ddof=1) / np.sqrt(len(less))))
