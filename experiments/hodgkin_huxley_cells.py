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
from experiments.hodgkin_huxley_observations import Observation, recorded_cells
from experiments.keeping import keep_posterior
from experiments.one_posterior import GAP
from experiments.predictions import is_held, judge
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import Calibration
from jaxsbi.posteriors import Posterior
from jaxsbi.types import Estimator
from simulators import hodgkin_huxley as hh

LOW, HIGH = (0.5, -95.0), (2.5, -70.0)
"""I [µA/cm²] and V₀ [mV] of simulations are uniform between these; the cells' lie within."""
ALONE = "cell_518290966"
"""The cell for which a density is learned under its own current as well, to compare."""
HELD = 0.95
"""Share of observed features that central regions of 95 % are to hold, in a true model."""


class Options(NamedTuple):
    """data: the folder of recordings, with which cells are drawn with their traces."""

    data: Path | None = None


@dataclass(frozen=True)
class Config:
    """simulations that the density learns from, and as many for one cell alone; draws for each
    cell, simulated anew; fresh rows of the calibration; simulations in one compiled call."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    draws: int = 1000
    fresh: int = 1000
    batch: int = 512


PRESETS = {
    "smoke": Config(
        200, jaxsbi.mdn(components=1, hidden=(20,)),
        jaxsbi.Training(weight_decay=0.1, anneal=10, max_epochs=30), draws=16, fresh=32, batch=64,
    ),
    "laptop": Config(
        30_000, jaxsbi.nsf(layers=3, hidden=(50, 50)),
        jaxsbi.Training(learning_rate=0.01, weight_decay=0.01, max_epochs=60, anneal=30),
    ),
    "gpu": Config(
        1_000_000, jaxsbi.nsf(hidden=(128, 128)),
        jaxsbi.Training(weight_decay=0.01, batch_size=2000, max_epochs=100), draws=5000, batch=4096,
    ),
}  # fmt: skip


class Found(NamedTuple):
    """What the density says of one cell.

    draws (n, 8), predicted (n, 7): of the posterior, and their features under the cell's current;
    seconds: that the draws took, once compiled.
    """

    cell: Observation
    draws: np.ndarray
    predicted: np.ndarray
    seconds: float

    @property
    def held(self) -> np.ndarray:
        """Which observed features lie in the central 95 % of the predicted ones (7,)."""
        return is_held(np.asarray(self.cell.x_o), self.predicted)


class Scores(NamedTuple):
    """Energy scores of predictions of one cell (see `predictions.judge`): by a density that was
    learned under its own current alone, and by the one of all currents."""

    alone: float
    amortised: float


class Outcome(NamedTuple):
    """What was learned, and what it says of each cell; scores: of the predictions of ALONE."""

    config: Config
    posterior: Posterior
    found: tuple[Found, ...]
    calibration: Calibration
    scores: Scores
    targets: tuple[Target, ...]
    alone: str = ALONE


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
    unit = unit_step(cells[0].protocol)
    posterior = infer(keys[0], study, "cells", Partial(simulate, protocol=unit), config)
    one = next(cell for cell in cells if cell.name == ALONE)
    alone = infer(keys[1], study, ALONE, Partial(hh.simulate, protocol=one.protocol), config)
    with study.stage("validate"):
        outcome = validate(keys[2], cells, unit, posterior, alone, config)
    typed = command(preset, seed, out, options)
    return conclude(study, typed, outcome, hodgkin_huxley_cells_report.TELLING)


def observe(options: Options) -> list[Observation]:
    """The recorded cells: features, and the step that each was stimulated with."""
    cells = recorded_cells(options.data)
    for cell in cells:
        value = dict(zip(("I", "V₀"), stimulus(cell.protocol), strict=True))
        outside = [n for n, a, b in zip(value, LOW, HIGH, strict=True) if not a <= value[n] <= b]
        if outside:
            raise ValueError(
                f"{cell.title}: expected I and V₀ within {LOW} and {HIGH}, in µA/cm² and mV, came "
                f"{', '.join(f'{n} = {value[n]:.4g}' for n in outside)}; leave the cell out"
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
    """(x, I, V₀) (9,): the features of one run under a step I of `protocol`, of 1 µA/cm²."""
    key_stimulus, key_run = jax.random.split(key)
    drawn = jax.random.uniform(key_stimulus, (2,), minval=jnp.array(LOW), maxval=jnp.array(HIGH))
    return jnp.concatenate([hh.simulate(key_run, theta, stimulated(protocol, *drawn)), drawn])


def prior() -> jaxsbi.Prior:
    """Uniform over the box of the paper."""
    return jaxsbi.box(hh.PARAMETERS)


def infer(key: jax.Array, study: Run, name: str, model: Partial, config: Config) -> Posterior:
    """The density that simulations of the prior teach, of whatever `model` gives."""
    return keep_posterior(
        study, f"{name}: infer", name, 1,
        partial(
            jaxsbi.infer, key, model, prior(), simulations=config.simulations,
            estimator=config.estimator, training=config.training, batch=config.batch,
        ),
        name,
    )  # fmt: skip


def observed(cell: Observation) -> jax.Array:
    """(x_o, I, V₀) (9,)."""
    return jnp.concatenate([cell.x_o, jnp.asarray(stimulus(cell.protocol), cell.x_o.dtype)])


def validate(
    key: jax.Array,
    cells: list[Observation],
    unit: hh.Protocol,
    posterior: Posterior,
    alone: Posterior,
    config: Config,
) -> Outcome:
    """Each cell's draws, simulated under its own current; calibration over all currents."""
    keys = jax.random.split(key, 4)
    found = tuple(
        explain(jax.random.fold_in(keys[0], i), posterior, cell, config)
        for i, cell in enumerate(cells)
    )
    theta, x = jaxsbi.simulate(
        keys[1], Partial(simulate, protocol=unit), prior(), config.fresh, batch=config.batch
    )
    calibration = jaxsbi.diagnostics.calibrate(
        keys[2], posterior, theta, x, samples=min(499, 5 * config.fresh)
    )
    one = next(each for each in found if each.cell.name == ALONE)
    by_itself = predict(keys[3], alone, one.cell.x_o, one.cell, config)[1]
    x_o, of_prior = np.asarray(one.cell.x_o), np.asarray(x)[:, : len(hh.FEATURES)]
    scores = Scores(*judge(x_o, of_prior, by_itself, one.predicted))
    held = sum(int(each.held.sum()) for each in found)
    features = len(cells) * len(hh.FEATURES)
    targets = (
        Target(f"features held, of {features}", held, np.floor(HELD * features), at_most=False),
        Target("coverage off", calibration.gap, GAP),
    )
    return Outcome(config, posterior, found, calibration, scores, targets)


def explain(key: jax.Array, posterior: Posterior, cell: Observation, config: Config) -> Found:
    """What the density says of one cell, and how long it takes to say so."""
    draws, predicted = predict(key, posterior, observed(cell), cell, config)
    began = time.perf_counter()
    jax.block_until_ready(posterior.sample(key, config.draws, x=observed(cell)))
    return Found(cell, draws, predicted, time.perf_counter() - began)


def predict(
    key: jax.Array, posterior: Posterior, x: jax.Array, cell: Observation, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Draws at x (n, 8), and their features (n, 7) under the current of a cell."""
    keys = jax.random.split(key)
    draws = posterior.sample(keys[0], config.draws, x=x)
    model = Partial(hh.simulate, protocol=cell.protocol)
    return np.asarray(draws), np.asarray(jaxsbi.predict(keys[1], model, draws))
