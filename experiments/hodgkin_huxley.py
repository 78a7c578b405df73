"""Which Hodgkin–Huxley neurons fire like this one? (Gonçalves et al. 2020, eLife 9:e56261, fig. 4.)

One round of neural posterior estimation over eight parameters from seven voltage features: for the
paper's synthetic neuron, and for a cell recorded in mouse cortex. Methods, in order: `observe`,
`infer_parameters`, `validate`, then figures and report.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import allen, hodgkin_huxley_report, hodgkin_huxley_results, recordings
from experiments import hodgkin_huxley_reach as reach
from experiments.hodgkin_huxley_presets import PRESETS, Config
from experiments.runs import Run, version
from jaxsbi.diagnostics import Calibration
from jaxsbi.training import Diverged
from simulators import hodgkin_huxley as hh

WINDOWS = 8
DEFAULT_CELL = "518290966"


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

    @property
    def settings(self) -> dict[str, Any]:
        """What tells two observations apart, in numbers that may be compared with a tolerance.

        A current is told by its mean under a few windows, 1 + cos(k π t/T), and by its rms: under
        windows of one sign the terms of a step current do not cancel.
        """
        protocol = self.protocol
        current = np.asarray(protocol.current, np.float64)
        windows = 1 + np.cos(np.outer(np.arange(WINDOWS), np.linspace(0, np.pi, len(current))))
        return {
            "x_o": dict(zip((f.name for f in hh.FEATURES), map(float, self.x_o), strict=True)),
            "samples": len(current),
            "dt": protocol.dt,
            **{name: float(getattr(protocol, name)) for name in ("v0", "t_on", "t_off")},
            "current_rms": float(np.sqrt(np.mean(current**2))),
            "current_means": (windows @ current / len(current)).tolist(),
        }


class Outcome(NamedTuple):
    """All that was inferred and checked for one observation.

    samples and predicted: posterior samples (n, 8) and their features (n, 7); best_predicted: the
    features of the mode, run many times; from_prior: parameters and features, fresh draws.
    """

    observation: Observation
    config: Config
    posterior: jaxsbi.posteriors.DirectPosterior
    samples: np.ndarray
    predicted: np.ndarray
    best: np.ndarray
    best_predicted: np.ndarray
    at_bound: tuple[str, ...]
    from_prior: tuple[np.ndarray, np.ndarray]
    calibration: Calibration

    @property
    def within(self) -> np.ndarray:
        """Which observed features lie in the central 95 % of the posterior predictive (7,)."""
        return reach.is_held(np.asarray(self.observation.x_o), self.predicted)


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset, seed and recording, told by its path."""
    cell = _file_name(options.cell) if options.cell else options.download
    parts = {
        "": "all" if options.all_cells else cell,
        "sweep": options.sweep,
        "area": options.soma_area,
    }
    named = "".join(f"-{name}{part}" for name, part in parts.items() if part is not None)
    return f"hodgkin_huxley-{preset}-seed{seed}{named}"


def _file_name(path: Path) -> str:
    """The stem of a file, cut, and a short hash of where it lies."""
    place = os.path.realpath(path)
    return f"{path.stem[:40]}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}"


def command(preset: str, seed: int, out: Path, options: Options) -> str:
    """What to type for this run."""
    words = ["python", "-m", "experiments", "hodgkin_huxley", "--preset", preset]
    words += ["--seed", str(seed), "--out", str(out)]
    for name, value in options._asdict().items():
        if value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, validate, draw and report; returns what results.json holds."""
    config, key = PRESETS[preset], jax.random.key(seed)
    observations = observe(jax.random.fold_in(key, 0), options)
    settings = {
        "study": "hodgkin_huxley",
        "preset": preset,
        "seed": seed,
        "observations": {o.name: o.settings for o in observations},
        "config": config.settings,
        "jaxsbi": version("jaxsbi"),
    }
    study = Run(out, settings, folders=("posterior", "figures"))
    outcomes = []
    for i, observation in enumerate(observations):
        key_infer, key_check = jax.random.split(jax.random.fold_in(key, i + 1))
        print(f"{observation.title}", flush=True)
        posterior = infer_parameters(key_infer, study, observation, config)
        with study.stage(f"{observation.name}: validate"):
            outcomes.append(validate(key_check, observation, posterior, config))
    with study.stage("figures"):
        figures = hodgkin_huxley_report.draw(study.folder / "figures", outcomes)
    typed = command(preset, seed, out, options)
    results = {"command": typed} | hodgkin_huxley_results.results(outcomes)
    study.finish(results)
    page = hodgkin_huxley_report.write(study, typed, outcomes, figures)
    hodgkin_huxley_report.summarise(outcomes)
    print(f"wrote {study.folder / 'results.json'} and {page}")
    return results


def observe(key: jax.Array, options: Options) -> list[Observation]:
    """The synthetic neuron and the default cell, or the one recording that was asked for."""
    if sum((options.cell is not None, options.download is not None, options.all_cells)) > 1:
        raise ValueError("--cell, --download and --all-cells exclude each other; give one of them")
    if options.cell is None and options.download is None:
        for name in ("sweep", "soma_area"):
            if getattr(options, name) is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} belongs to a recording of yours: give it with "
                    "--cell or --download, or leave it out"
                )
    if options.download is not None:
        path = allen.download(options.download, options.data or Path("recordings"))
        return [_recorded(recordings.load(path, options.sweep, options.soma_area))]
    if options.cell is not None:
        return [_recorded(recordings.load(options.cell, options.sweep, options.soma_area))]
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
    name = re.sub(r"[^\w-]+", "_", recording.cell)[:60]  # it names files
    return Observation(f"cell_{name}", recording.name, x_o, protocol, voltage=recording.voltage)


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
    """p(θ | x_o): simulate from the prior, train q(z | x). Read back if the run has it already.

    A training that Ctrl-C ended serves this run with its best weights; the next one trains anew.
    """
    folder = study.folder / "posterior" / observation.name
    if folder.exists():
        posterior = jaxsbi.load(folder)
        if not posterior.history[-1].interrupted:
            return posterior
    synthetic = observation.truth is not None
    with study.stage(f"{observation.name}: infer"):
        try:
            posterior = jaxsbi.infer(
                key,
                Partial(hh.simulate, protocol=observation.protocol),
                jaxsbi.box(hh.PARAMETERS),
                observation.x_o,
                simulations=config.simulations if synthetic else config.cell_simulations,
                estimator=config.estimator,
                training=config.training,
            )
        except Diverged as error:
            raise ValueError(
                f"training for {observation.title}: expected a finite validation loss, came none "
                "in any epoch; try another --seed or --preset, or look at the recording"
            ) from error
    if folder.exists():
        shutil.rmtree(folder)
    posterior.save(folder)
    if posterior.history[-1].interrupted:
        print("training interrupted: this run goes on with the best weights so far, Ctrl-C again "
              "ends it; the same command trains anew", flush=True)  # fmt: skip
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a mode at a bound: the report says it by name
        best = posterior.map(key=keys[1])
    at_bound = tuple(
        name
        for name, value, low, high in zip(
            posterior.prior.names, best, *posterior.prior.bounds, strict=True
        )
        if value in (low, high)
    )
    theta, x = jaxsbi.simulate(keys[2], simulate, posterior.prior, config.calibration)
    return Outcome(
        observation=observation,
        config=config,
        posterior=posterior,
        samples=np.asarray(samples),
        predicted=np.asarray(jaxsbi.predict(keys[3], simulate, samples)),
        best=np.asarray(best),
        best_predicted=np.asarray(jaxsbi.predict(keys[4], simulate, jnp.tile(best, (64, 1)))),
        at_bound=at_bound,
        from_prior=(np.asarray(theta), np.asarray(x)),
        calibration=jaxsbi.diagnostics.calibrate(keys[5], posterior, theta, x, samples=499),
    )
