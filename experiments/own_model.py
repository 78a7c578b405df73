"""Your own differential equation, prior and recording: copy this file and change its first half.

The model here is a neuron that fires in a rhythm (FitzHugh 1961, Biophys. J. 1:445), the voltage
dv/dt = v − v³/3 − w + I against a slow recovery dw/dt = ε (v + a − 0.8 w), recorded with noise.
Methods, in order: `simulate`, `PRIOR`, `observe`, `run`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from experiments import one_posterior, report, runs
from experiments.account import said, what_was_done
from experiments.arguments import cut, why
from experiments.conclusion import Telling, conclude
from experiments.keeping import keep_posterior
from experiments.one_posterior import Outcome
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import in_results
from jaxsbi import plotting
from jaxsbi.types import Estimator

# ---- the model: what you know ---------------------------------------------------------------

TIMES = np.linspace(2.0, 60.0, 30)  # ms
NOISE = 0.1  # mV
FEATURES = tuple(f"v({t:g} ms)" for t in TIMES)
PRIOR = jaxsbi.box(
    [0.0, 0.02, 0.3], [1.0, 0.2, 1.0], names=["I", "epsilon", "a"], units=["mV/ms", "1/ms", "mV"]
)
TRUTH = np.array([0.5, 0.08, 0.7])


def slope(t: float, state: tuple, theta: jax.Array) -> tuple:
    """(dv/dt, dw/dt)."""
    v, w = state
    current, epsilon, a = theta
    return v - v**3 / 3 - w + current, epsilon * (v + a - 0.8 * w)


def simulate(key: jax.Array, theta: jax.Array) -> jax.Array:
    """x ~ p(x | θ): the voltage at 30 times, with noise (30,)."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope), diffrax.Heun(), t0=0.0, t1=60.0, dt0=0.1, y0=(-1.0, 1.0),
        args=theta, saveat=diffrax.SaveAt(ts=TIMES), max_steps=700,
    )  # fmt: skip
    return solution.ys[0] + NOISE * jax.random.normal(key, TIMES.shape)


# ---- the data: what you saw -----------------------------------------------------------------


class Options(NamedTuple):
    """recording: a file of 30 voltages [mV], one a line; without it, one is made up."""

    recording: Path | None = None


def observe(key: jax.Array, options: Options) -> tuple[jax.Array, np.ndarray | None]:
    """The recording, and the parameters behind it if they are known."""
    if options.recording is None:
        return simulate(key, jnp.asarray(TRUTH)), TRUTH
    path, expected = options.recording, f"expected {len(TIMES)} voltages [mV], one a line"
    try:
        values = np.loadtxt(path.read_text().splitlines(), delimiter=",", ndmin=1)
    except OSError as error:
        raise ValueError(f"--recording {cut(path)}: {expected}, came none ({why(error)})") from None
    except ValueError as error:
        raise ValueError(f"--recording {cut(path)}: {expected}, came {error}") from None
    if values.shape != TIMES.shape or not np.all(np.isfinite(values)):
        raise ValueError(
            f"--recording {cut(path)}: {expected}, came {values.size} numbers, "
            f"{np.sum(~np.isfinite(values))} of them not finite; leave others out"
        )
    return jnp.asarray(values, float), None


# ---- how much of everything -----------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """simulations to learn from, the density and its training; draws and fresh rows of checks."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    draws: int = 1000
    fresh: int = 1000


PRESETS = {
    "smoke": Config(
        500,
        jaxsbi.mdn(components=1, hidden=(20,)),
        jaxsbi.Training(weight_decay=0.1, anneal=10, max_epochs=30),
        draws=100,
        fresh=100,
    ),
    "laptop": Config(10_000, jaxsbi.maf(), jaxsbi.Training(max_epochs=150)),
    "gpu": Config(1_000_000, jaxsbi.nsf(), jaxsbi.Training(batch_size=2000, max_epochs=100)),
}

# ---- inference, checks and report: nothing of the model below -------------------------------

folder_name = partial(runs.folder_name, "own_model")
command = partial(runs.command, "own_model")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, validate, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 3)
    x_o, truth = observe(keys[0], options)
    seen = {"recording": {"x_o": x_o}}
    settings = runs.settings_of("own_model", preset, seed, seen, settings_of(config))
    study = Run(out, settings, folders=("posterior", "figures"))

    infer = partial(
        jaxsbi.infer, keys[1], simulate, PRIOR, x_o, simulations=config.simulations,
        estimator=config.estimator, training=config.training,
    )  # fmt: skip
    posterior = keep_posterior(study, "infer", "recording", 1, infer, of="the recording")
    with study.stage("validate"):
        found = one_posterior.validate(
            keys[2], simulate, posterior, truth, FEATURES, config.draws, config.fresh
        )
    telling = Telling(draw, results, write, one_posterior.summarise)
    return conclude(study, command(preset, seed, out, options), found, telling)


def draw(folder: Path, found: Outcome) -> dict[str, Path]:
    """The figures of any posterior, and the recording among its predictions."""
    bands = plotting.bands(TIMES, found.x_o, found.predicted, names=["v"])
    return one_posterior.draw(folder, found, bands=bands)


def results(found: Outcome) -> dict[str, Any]:
    """What results.json says."""
    aimed = in_results(one_posterior.calibrated(found))
    return {"targets": aimed, **one_posterior.results(found)}


def write(study: Run, typed: str, found: Outcome, figures: dict[str, Path]) -> Path:
    """report.html: what was asked, the figures, the numbers, how far to trust them."""
    preset, told = study.settings["preset"], study.settings["config"]
    config = PRESETS[preset]
    return report.write(
        study.folder / "report.html",
        "A model of one's own",
        [
            "Which parameters of a differential equation agree with a recording? Every answer is a "
            "probability density over all of them at once, learned from simulations alone.",
            f"Preset {preset}, seed {study.settings['seed']}.",
        ],
        [
            *one_posterior.sections(
                found,
                figures,
                [f"{config.simulations:,} simulations from the prior trained a posterior density "
                 "of any such recording; this is what it says of this one."],
                report.Figure(figures["bands"], "The recording, and the central 50, 80 and 95 % of "
                              "posterior draws that were simulated anew, noise included."),
                targets=one_posterior.calibrated(found),
            ),
            what_was_done(
                study, typed,
                [("density", said(told["estimator"])), ("its training", said(told["training"]))],
                [("the recording", found.posterior, config.training.max_epochs)],
            ),
        ],
        names=PRIOR.names,
    )  # fmt: skip
