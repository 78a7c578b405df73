"""Which Hodgkin–Huxley neurons fire like this one? (Gonçalves et al. 2020, eLife 9:e56261, fig. 4.)

One round of neural posterior estimation over eight parameters from seven voltage features: for the
paper's synthetic neuron, and for a cell recorded in mouse cortex. Methods, in order: `observe`,
`infer_parameters`, `validate`, then figures and report.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import allen, hodgkin_huxley_report, recordings
from experiments.runs import Run
from jaxsbi.diagnostics import Calibration
from jaxsbi.types import Estimator
from simulators import hodgkin_huxley as hh

DEFAULT_CELL = "518290966"


@dataclass(frozen=True)
class Config:
    """How much of everything: simulations per observation, the density and how it is trained."""

    simulations: int
    cell_simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    calibration: int = 1000
    posterior_samples: int = 1000


PRESETS = {
    "smoke": Config(
        simulations=500,
        cell_simulations=500,
        estimator=jaxsbi.mdn(components=1),
        training=jaxsbi.Training(anneal=10, max_epochs=30),
        calibration=50,
        posterior_samples=50,
    ),
    "laptop": Config(
        simulations=75_000,  # equal sizes, so that both trainings share one compilation
        cell_simulations=75_000,
        estimator=jaxsbi.nsf(layers=3, hidden=(100, 100)),
        training=jaxsbi.Training(learning_rate=0.01, max_epochs=30, anneal=30),
    ),
    "gpu": Config(
        simulations=1_000_000,
        cell_simulations=250_000,
        estimator=jaxsbi.nsf(hidden=(128, 128)),
        training=jaxsbi.Training(batch_size=2000),
        posterior_samples=5000,
    ),
    "paper": Config(
        simulations=100_000,
        cell_simulations=250_000,
        estimator=jaxsbi.maf(layers=5, hidden=(50, 50)),
        training=jaxsbi.Training(batch_size=500),
        posterior_samples=5000,
    ),
}


class Options(NamedTuple):
    """Which recording to infer, if another than the default cell."""

    cell: Path | None = None
    sweep: int | None = None
    soma_area: float | None = None
    download: int | None = None
    data: Path | None = None
    all_cells: bool = False


class Observation(NamedTuple):
    """What is to be explained: features under a protocol, and what else is known of the cell."""

    name: str
    title: str
    x_o: jax.Array
    protocol: hh.Protocol
    truth: jax.Array | None = None
    voltage: np.ndarray | None = None


class Outcome(NamedTuple):
    """All that was inferred and checked for one observation."""

    observation: Observation
    posterior: jaxsbi.posteriors.DirectPosterior
    samples: np.ndarray
    predicted: np.ndarray
    best: np.ndarray
    best_predicted: np.ndarray
    at_bound: tuple[str, ...]
    calibration: Calibration

    @property
    def within(self) -> np.ndarray:
        """Which observed features lie in the central 95 % of the posterior predictive (7,)."""
        low, high = np.nanquantile(self.predicted, [0.025, 0.975], axis=0)
        x_o = np.asarray(self.observation.x_o)
        rounding = 1e-6 * np.abs(x_o)
        return (x_o >= low - rounding) & (x_o <= high + rounding)


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run, one for every different run."""
    cell = options.cell and options.cell.stem
    cell = f"-{cell or options.download}" if cell or options.download else ""
    cell = "-all" if options.all_cells else cell
    return f"hodgkin_huxley-{preset}-seed{seed}{cell}"


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, validate, draw and report; returns what results.json holds."""
    config, key = PRESETS[preset], jax.random.key(seed)
    observations = observe(jax.random.fold_in(key, 0), options)
    settings = {
        "study": "hodgkin_huxley",
        "preset": preset,
        "seed": seed,
        "observations": {o.name: np.asarray(o.x_o, np.float64).tolist() for o in observations},
    }
    study = Run(out, settings)
    outcomes = []
    for i, observation in enumerate(observations):
        key_infer, key_check = jax.random.split(jax.random.fold_in(key, i + 1))
        print(f"{observation.title}", flush=True)
        posterior = infer_parameters(key_infer, study, observation, config)
        with study.stage(f"{observation.name}: validate"):
            outcomes.append(validate(key_check, observation, posterior, config))
    with study.stage("figures"):
        figures = hodgkin_huxley_report.draw(study.folder / "figures", outcomes)
    results = hodgkin_huxley_report.results(outcomes, config)
    study.finish(results)
    page = hodgkin_huxley_report.write(study, outcomes, figures)
    hodgkin_huxley_report.summarise(outcomes)
    print(f"wrote {study.folder / 'results.json'} and {page}")
    return results


def observe(key: jax.Array, options: Options) -> list[Observation]:
    """The synthetic neuron and the default cell, or the one recording that was asked for."""
    if sum((options.cell is not None, options.download is not None, options.all_cells)) > 1:
        raise ValueError("--cell, --download and --all-cells exclude each other; give one of them")
    if options.download is not None:
        path = allen.download(options.download, options.data or Path("recordings"))
        return [_recorded(recordings.load(path, options.sweep, options.soma_area))]
    if options.cell is not None:
        return [_recorded(recordings.load(options.cell, options.sweep, options.soma_area))]
    if options.data is not None and not options.data.is_dir():
        raise ValueError(f"--data {options.data} must be a folder of recordings, got none there")
    if options.all_cells:
        names = [o.name for o in recordings.read_features()]
        return [_synthetic(key), *(_known_cell(name, options.data) for name in names)]
    return [_synthetic(key), _known_cell(DEFAULT_CELL, options.data)]


def _synthetic(key: jax.Array) -> Observation:
    truth = jnp.asarray(hh.NOMINAL)
    trace = hh.trace(key, truth)
    return Observation(
        "synthetic",
        "the synthetic neuron",
        hh.simulate(key, truth),
        hh.DEFAULT,
        truth,
        np.asarray(trace.voltage),
    )


def _recorded(recording: recordings.Recording) -> Observation:
    x_o, protocol = recordings.observe(recording)
    return Observation(
        f"cell_{recording.cell}", recording.name, x_o, protocol, voltage=recording.voltage
    )


def _known_cell(name: str, data: Path | None) -> Observation:
    """One of the paper's cells from its features; with the recording itself where it is at hand."""
    cell = next(o for o in recordings.read_features() if name in o.name)
    number = cell.name.split()[1].rstrip(",")
    found = sorted(data.rglob(f"cell_{number}_sweep_*.npz")) if data else []
    if found:
        return _recorded(recordings.load(found[0]))
    return Observation(f"cell_{number}", cell.name, cell.x_o, cell.protocol)


def infer_parameters(
    key: jax.Array, study: Run, observation: Observation, config: Config
) -> jaxsbi.posteriors.DirectPosterior:
    """p(θ | x_o): simulate from the prior, train q(z | x). Read back if the run has it already."""
    folder = study.folder / "posterior" / observation.name
    if folder.exists():
        return jaxsbi.load(folder)
    synthetic = observation.truth is not None
    with study.stage(f"{observation.name}: infer"):
        posterior = jaxsbi.infer(
            key,
            Partial(hh.simulate, protocol=observation.protocol),
            jaxsbi.box(hh.PARAMETERS),
            observation.x_o,
            simulations=config.simulations if synthetic else config.cell_simulations,
            estimator=config.estimator,
            training=config.training,
        )
    posterior.save(folder)
    return posterior


def validate(
    key: jax.Array,
    observation: Observation,
    posterior: jaxsbi.posteriors.DirectPosterior,
    config: Config,
) -> Outcome:
    """Re-simulate the posterior and its mode; calibrate against fresh draws from the prior."""
    keys = jax.random.split(key, 6)
    simulate = Partial(hh.simulate, protocol=observation.protocol)
    samples = posterior.sample(keys[0], config.posterior_samples)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best = posterior.map(key=keys[1])
    at_bound = tuple(
        name
        for name, value, low, high in zip(
            posterior.prior.names, best, *posterior.prior.bounds, strict=True
        )
        if value in (low, high)
    )
    del caught  # said again, by name, in the report
    theta, x = jaxsbi.simulate(keys[2], simulate, posterior.prior, config.calibration)
    return Outcome(
        observation=observation,
        posterior=posterior,
        samples=np.asarray(samples),
        predicted=np.asarray(jaxsbi.predict(keys[3], simulate, samples)),
        best=np.asarray(best),
        best_predicted=np.asarray(jaxsbi.predict(keys[4], simulate, jnp.tile(best, (64, 1)))),
        at_bound=at_bound,
        calibration=jaxsbi.diagnostics.calibrate(keys[5], posterior, theta, x, samples=499),
    )
