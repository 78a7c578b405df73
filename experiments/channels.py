"""Which channel carries this current? (Gonçalves et al. 2020, eLife 9:e56261, fig. 3.)

Hundreds of models of potassium channels have been published. One model with eight parameters can
stand for most of them; a network that has seen its currents under voltage clamp tells for any
current at once which parameters it comes from. One posterior, trained once, serves all channels.
Methods, in order: `clamp`, `gather`, `infer`, `observe`, `find_modes`, `compare`, `detail`.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import channels_report, one_posterior, runs
from experiments.channels_presets import PRESETS, Config
from experiments.channels_reach import Reach, compare
from experiments.channels_targets import Channels, drawn, published
from experiments.conclusion import conclude
from experiments.keeping import keep_arrays, keep_posterior
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.posteriors import Posterior
from simulators import channels, voltage_clamp

MEDIAN = {"paper": 0.99}
"""Of the correlations of channels that the prior reaches, the median that was aimed at."""
LEAST_MEDIAN, LOW_TENTH = 0.97, 0.90
TOGETHER = 64
"""Channels whose modes are sought in one program."""
SWEEPS, EVERY = 4, 100
"""Of a protocol, sweeps shown at most, and every how many samples."""


class Options(NamedTuple):
    """data: the folder with channels/omnimodel_fits.npz; without it, channels are made up."""

    data: Path | None = None


class Detail(NamedTuple):
    """One channel in detail: draws (n, 8) of its posterior, and the share of them that are denser
    than its own parameters; its current and that of the mode, of each protocol some samples
    (sweeps, n) at times (n,) [ms]."""

    row: int
    draws: np.ndarray
    denser: float
    times: tuple[np.ndarray, ...]
    current: tuple[np.ndarray, ...]
    of_mode: tuple[np.ndarray, ...]


class Outcome(NamedTuple):
    """Of n channels the modes (n, 8) of their posteriors, and how the currents of these correlate
    with theirs (n,). reach: of the distinct channels; milliseconds: what a channel takes once the
    posterior is there; found: all checks, with the first of the details as the observation."""

    config: Config
    channels: Channels
    modes: np.ndarray
    correlations: np.ndarray
    reach: Reach
    details: tuple[Detail, ...]
    milliseconds: dict[str, float]
    found: one_posterior.Outcome
    targets: tuple[Target, ...]

    @property
    def posterior(self) -> Posterior:
        return self.found.posterior


command = partial(runs.command, "channels")


def folder_name(preset: str, seed: int, options: Options) -> str:
    """The default folder of a run: one for each preset and seed, wherever the data lie."""
    return f"channels-{preset}-seed{seed}"


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, compare, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 6)
    all_of_them = gather(keys[0], options.data, config)
    told = all_of_them.some(config.channels)
    about = {"channels": len(told.names), "published": told.published}
    seen = {"channels": about | {"mean": told.theta.mean(axis=0)}}
    settings = runs.settings_of("channels", preset, seed, seen, settings_of(config))
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    print(f"{len(told.names)} channels, {len(told.distinct[0])} of them distinct", flush=True)
    with study.stage("clamp"):
        protocol = clamp(options.data, all_of_them, config)
    x = observe(keys[1], study, told, protocol)
    examples = told.examples(config.detailed)
    posterior = infer(keys[2], study, x[examples[0]], protocol, config)
    modes, milliseconds = find_modes(keys[3], study, posterior, x, config)
    correlations, within = compare(keys[1], study, told, modes, protocol)
    details = detail(keys[4], study, posterior, told, x, modes, examples, protocol)
    with study.stage("validate"):
        found = one_posterior.validate(
            keys[5], Partial(channels.simulate, protocol=protocol), posterior,
            told.theta[examples[0]], feature_names(config), config.draws, config.fresh,
            modes[examples[0]],
        )  # fmt: skip
    aimed = targets(told, correlations, within, MEDIAN.get(preset, LEAST_MEDIAN))
    outcome = Outcome(
        config, told, modes, correlations, within, details, milliseconds, found, aimed
    )
    return conclude(study, command(preset, seed, out, options), outcome, channels_report.TELLING)


def prior() -> jaxsbi.Prior:
    """Uniform over the box of the paper."""
    return jaxsbi.box(channels.PARAMETERS)


def gather(key: jax.Array, data: Path | None, config: Config) -> Channels:
    """The published channels where their file is at hand, else as many draws of the prior."""
    path = None if data is None else data / channels.FITS
    if path is not None and path.exists():
        return published(path)
    return drawn(key, prior(), config.channels)


def clamp(data: Path | None, told: Channels, config: Config) -> channels.Protocol:
    """The protocols, and as features the principal components of what the channels respond.

    Where the recorded action potentials are not at hand, those of a simulated neuron.
    """
    path = None if data is None else data / voltage_clamp.FILE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report says whose action potentials they are
        standard = voltage_clamp.standard(path if path is not None and path.exists() else None)
    clamps = tuple(c for c in standard if c.name in config.clamps)
    first, _ = told.distinct
    basis = channels.fit_basis(told.theta[first], clamps, [told.names[i] for i in first])
    protocol = channels.Protocol(clamps, basis)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), protocol)


def feature_names(config: Config) -> list[str]:
    """Of the coefficients under the protocols that are used."""
    return [feature.name for feature in channels.feature_list(config.clamps)]


def observe(key: jax.Array, study: Run, told: Channels, protocol: channels.Protocol) -> np.ndarray:
    """x (n, k) of one noisy run of every channel."""
    simulate = Partial(channels.simulate, protocol=protocol)
    theta = jnp.asarray(told.theta, float)
    kept = keep_arrays(
        study, "observe", "observed", lambda: {"x": jaxsbi.predict(key, simulate, theta)}
    )
    return kept["x"]


def infer(
    key: jax.Array, study: Run, x_o: np.ndarray, protocol: channels.Protocol, config: Config
) -> Posterior:
    """q(θ | x) for all x, from draws of the prior."""
    inference = partial(
        jaxsbi.infer, key, Partial(channels.simulate, protocol=protocol), prior(),
        jnp.asarray(x_o), simulations=config.simulations, estimator=config.estimator,
        training=config.training,
    )  # fmt: skip
    return keep_posterior(study, "infer", "channels", 1, inference, "the channels")


def find_modes(
    key: jax.Array, study: Run, posterior: Posterior, x: np.ndarray, config: Config
) -> tuple[np.ndarray, dict[str, float]]:
    """argmax_θ q(θ | x) of every channel (n, 8), and the milliseconds that one channel takes.

    Channels go through compiled programs some at a time; what these take is told without their
    compilation.
    """
    rows = np.arange(-(-len(x) // TOGETHER) * TOGETHER) % len(x)
    batches = [jnp.asarray(x[part]) for part in rows.reshape(-1, TOGETHER)]

    def seek() -> dict[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modes at a bound
            modes, for_modes = _timed(lambda x: posterior.map(x, key=key), batches)
        _, for_draws = _timed(lambda x: posterior.sample(key, config.draws, x), batches[:1])
        return {"theta": modes.reshape(len(rows), -1)[: len(x)], "mode": for_modes,
                "draws": for_draws}  # fmt: skip

    kept = keep_arrays(study, "modes", "modes", seek)
    return kept["theta"], {name: float(kept[name]) for name in ("mode", "draws")}


def _timed(find: Any, batches: list[jax.Array]) -> tuple[np.ndarray, float]:
    """What `find` gives of each batch, and the milliseconds a channel takes once it is compiled."""
    jax.block_until_ready(find(batches[0]))
    began = time.perf_counter()
    found = [np.asarray(find(x)) for x in batches]
    return np.stack(found), 1000 * (time.perf_counter() - began) / (len(batches) * TOGETHER)


def detail(
    key: jax.Array,
    study: Run,
    posterior: Posterior,
    told: Channels,
    x: np.ndarray,
    modes: np.ndarray,
    rows: np.ndarray,
    protocol: channels.Protocol,
) -> tuple[Detail, ...]:
    """Of some channels draws of the posterior, and currents to look at, each run with new noise."""
    key_draw, *keys = jax.random.split(key, 3)

    def look() -> dict[str, np.ndarray]:
        n = study.settings["config"]["draws"]
        looked = {"draws": np.asarray(posterior.sample(key_draw, n, jnp.asarray(x[rows])))}
        for i, row in enumerate(rows):
            whose = {"current": told.theta[row], "of_mode": modes[row]}
            for k, (name, theta) in zip(keys, whose.items(), strict=True):
                found = channels.trace(
                    jax.random.fold_in(k, i), jnp.asarray(theta, float), protocol
                )
                for c, current in enumerate(found.currents):
                    looked[f"{name}_{i}_{c}"] = _some(np.asarray(current))
        return looked

    kept = keep_arrays(study, "detail", "detail", look)
    protocols = range(len(protocol.clamps))
    times = tuple(c.time[::EVERY] for c in protocol.clamps)
    denser = denser_than(posterior, told.theta[rows], kept["draws"], x[rows])
    return tuple(
        Detail(
            int(row), kept["draws"][i], float(denser[i]), times,
            *(tuple(kept[f"{n}_{i}_{c}"] for c in protocols) for n in ("current", "of_mode")),
        )
        for i, row in enumerate(rows)
    )  # fmt: skip


def denser_than(
    posterior: Posterior, theta: np.ndarray, draws: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Of each channel the share of draws (b, n, 8) that are denser than its own θ (b, 8)."""
    all_of_them = jnp.asarray(np.concatenate([theta[:, None], draws], axis=1), float)
    log_prob = np.asarray(posterior.log_prob(all_of_them, jnp.asarray(x)))
    return np.mean(log_prob[:, 1:] > log_prob[:, :1], axis=1)


def _some(current: np.ndarray) -> np.ndarray:
    """A few sweeps, from the first to the last, of some samples."""
    sweeps = np.linspace(0, len(current) - 1, min(SWEEPS, len(current))).astype(int)
    return current[sweeps, ::EVERY]


def targets(
    told: Channels, correlations: np.ndarray, within: Reach, median: float
) -> tuple[Target, ...]:
    """Over the distinct channels that the prior reaches: what was aimed at."""
    first, _ = told.distinct
    found = correlations[first][within.reached]
    of = f"correlation with the current of {len(found)} channels within reach of the prior"
    low, middle = np.quantile(found, [0.1, 0.5]) if len(found) else (np.nan, np.nan)
    return (
        Target(f"{of}, median", float(middle), median, at_most=False),
        Target(f"{of}, 10th percentile", float(low), LOW_TENTH, at_most=False),
    )
