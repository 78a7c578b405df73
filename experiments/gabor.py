"""Which receptive field is behind these spikes? (Gonçalves et al. 2020, eLife 9:e56261, fig. 2e–g.)

A neuron of visual cortex sees white noise; what is left of its spikes are their number and their
average frame, an image of 41 × 41 pixels, mostly noise. A network finds the nine parameters of the
field in it, in rounds for this one neuron (APT). It is given the average times the root of the
number, whose noise is about 1 in every pixel, and the logarithm of the number: see `seen`. Where
the field is even, turning it by half a circle changes nothing: the posterior has two modes. The
likelihood is known, so the posterior is compared with exact draws. Methods, in order: `observe`,
`infer`, `sample_exactly`, `compare`, then figures and report.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxsbi
from experiments import exact, gabor_report, runs
from experiments.checks import Check
from experiments.conclusion import conclude
from experiments.gabor_presets import PRESETS, Config
from experiments.keeping import keep_arrays, keep_posterior, keep_score
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import C2ST
from jaxsbi.posteriors import Posterior
from simulators import gabor

PHASES = (-2.5, -1.5, -0.5)
"""Where the sampler of exact draws begins in z of the phase, which may lie at its end, 0."""
ALPHA, PHI = 4, 2
"""Of the angle and of the phase among the parameters."""
MODES = 0.15
"""By how much the share of draws in a mode may differ from that of exact draws."""
ALIKE = 0.15
"""By how much less drawn fields may correlate with the true one than exact ones (medians)."""
AXIS = math.pi / 9
"""How near its axis, α or α + π, an angle is called found."""
FOUND = 0.15
"""By how much the share of angles found may fall short of that of exact draws."""


class Options(NamedTuple):
    """cell: which of the paper's six."""

    cell: int = 6


class Neuron(NamedTuple):
    """What is to be explained: spike counts (frames,) and the features x_o left of them."""

    cell: int
    theta: np.ndarray
    counts: jax.Array
    x_o: dict[str, jax.Array]
    protocol: gabor.Protocol

    @property
    def truth(self) -> np.ndarray:
        """(bias, A, φ, f, α, γ, b, x₀, y₀)."""
        return np.asarray(gabor.constrain(self.theta))


class Outcome(NamedTuple):
    """Draws (n, 9) of the learned posterior and exact ones, constrained, and how they compare.

    alike: correlations (n,) of each draw's field with the true one, learned, exact, of the prior.
    turned: share of draws that lie nearer to α + π than to α; found: that lie within `AXIS` of
    either.
    """

    config: Config
    neuron: Neuron
    posterior: Posterior
    draws: np.ndarray
    exact: np.ndarray
    sampler: dict[str, float]
    score: C2ST
    alike: tuple[np.ndarray, np.ndarray, np.ndarray]
    turned: tuple[float, float]
    found: tuple[float, float]
    counts: np.ndarray
    checks: tuple[Check, ...]
    targets: tuple[Target, ...]


folder_name = partial(runs.folder_name, "gabor")
command = partial(runs.command, "gabor")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, compare, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 5)
    neuron = observe(keys[0], options.cell, config)
    seen = {f"cell_{neuron.cell}": {"count": neuron.x_o["count"], "truth": neuron.truth}}
    settings = runs.settings_of("gabor", preset, seed, seen, settings_of(config))
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    print(f"cell {neuron.cell}, {int(neuron.x_o['count'])} spikes", flush=True)
    posterior = infer(keys[1], study, neuron, config)
    reference = sample_exactly(keys[2], study, neuron, config)
    outcome = compare(keys[3], study, neuron, posterior, reference, config)
    return conclude(study, command(preset, seed, out, options), outcome, gabor_report.TELLING)


def prior() -> jaxsbi.Prior:
    """Independent Gaussians on the unconstrained scale."""
    return jaxsbi.gaussian(gabor.PRIOR_MEAN, sd=gabor.PRIOR_SD, names=list(gabor.NAMES))


def observe(key: jax.Array, cell: int, config: Config) -> Neuron:
    """One run of one of the paper's neurons under a frozen white noise."""
    protocol = gabor.white_noise(frames=config.frames, size=config.pixels)
    protocol = gabor.Protocol(jnp.asarray(protocol.frames))
    theta = gabor.CELL_THETAS[cell - 1]
    trace = gabor.trace(key, jnp.asarray(theta), protocol)
    return Neuron(cell, theta, trace.counts, gabor.features(trace), protocol)


def seen(x: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """(sta √count, log count): as much as x says, on scales that suit a network.

    A spike-triggered average of n spikes has noise of 1/√n in each pixel, and neurons fire between
    1 and 100,000 spikes.
    """
    return {"image": x["sta"] * jnp.sqrt(x["count"]), "log_count": jnp.log(x["count"])}


def simulate(key: jax.Array, theta: jax.Array, protocol: gabor.Protocol) -> dict[str, jax.Array]:
    """What the network sees of a run."""
    return seen(gabor.simulate(key, theta, protocol))


def infer(key: jax.Array, study: Run, neuron: Neuron, config: Config) -> Posterior:
    """q(θ | x), x an image and a number, in rounds: later ones simulate draws of the one before."""
    inference = partial(
        jaxsbi.infer, key, Partial(simulate, protocol=neuron.protocol), prior(), seen(neuron.x_o),
        algorithm=config.algorithm, rounds=config.rounds, simulations=config.simulations,
        estimator=config.estimator, training=config.training,
    )  # fmt: skip
    name = f"cell_{neuron.cell}"
    return keep_posterior(study, "infer", name, config.rounds, inference, f"cell {neuron.cell}")


def sample_exactly(
    key: jax.Array, study: Run, neuron: Neuron, config: Config
) -> dict[str, np.ndarray]:
    """θ ~ p(θ) L(θ) by importance sampling that begins at α and at α + π, for several phases.

    Around each start the proposal has the covariance (I + F)⁻¹ in z, F the Fisher information.
    """
    of = prior()

    def log_density(z: jax.Array) -> jax.Array:
        theta = of.to_theta(z)
        return of.log_prob_z(z) + gabor.log_likelihood(theta, neuron.counts, neuron.protocol)

    def draw() -> dict[str, np.ndarray]:
        found = exact.sample(
            key, log_density, starts(neuron, of), config.draws, config.proposals, config.adaptations
        )
        return {"theta": of.to_theta(jnp.asarray(found.z, float)), **found._asdict()}

    return keep_arrays(study, "exact posterior", "exact", draw)


def starts(neuron: Neuron, of: jaxsbi.Prior) -> exact.Mixture:
    """Gaussians at both angles and several phases."""
    truth = neuron.truth
    turned = truth.copy()
    turned[ALPHA] = (truth[ALPHA] + np.pi) % (2 * np.pi)
    thetas = jnp.asarray(np.stack([gabor.unconstrain(truth), gabor.unconstrain(turned)]), float)
    means = np.repeat(np.asarray(of.to_z(thetas), float), len(PHASES), axis=0)
    means[:, PHI] = np.tile(PHASES, 2)

    @jax.jit
    def information(z: jax.Array) -> jax.Array:
        """Σ_t λ_t ∂log λ_t ∂log λ_tᵀ."""
        log_rates = partial(_log_rates, neuron.protocol, of)
        slopes = jax.jacfwd(log_rates)(z)
        return (slopes * jnp.exp(log_rates(z))[:, None]).T @ slopes

    fisher = np.stack([np.asarray(information(jnp.asarray(m, float)), float) for m in means])
    covariances = np.linalg.inv(np.eye(of.dim) + fisher)
    return exact.Mixture(np.full(len(means), 1 / len(means)), means, covariances)


def _log_rates(protocol: gabor.Protocol, of: jaxsbi.Prior, z: jax.Array) -> jax.Array:
    cell = gabor.constrain(of.to_theta(z))
    field = gabor.receptive_field(cell, *protocol.frames.shape[1:])
    drive = jnp.tensordot(protocol.frames, field, axes=2)
    return jnp.log(gabor.DT) + cell[0] + jnp.minimum(drive, gabor.CLIP)


def compare(
    key: jax.Array,
    study: Run,
    neuron: Neuron,
    posterior: Posterior,
    reference: dict[str, np.ndarray],
    config: Config,
) -> Outcome:
    """Draws against exact ones: by classifiers, and by their shares in the two modes."""
    keys = jax.random.split(key)
    theta = np.asarray(posterior.sample(keys[0], config.draws))
    simulate = Partial(gabor.simulate, protocol=neuron.protocol)

    def predict() -> dict[str, np.ndarray]:
        some = jnp.asarray(theta[: config.predicted])
        return {"counts": jaxsbi.predict(keys[1], simulate, some)["count"]}

    score = keep_score(study, "compare", "c2st", reference["theta"], theta)
    counts = keep_arrays(study, "predict", "predicted", predict)["counts"]
    draws, exactly = (np.asarray(gabor.constrain(t)) for t in (theta, reference["theta"]))
    before = prior().sample(jax.random.fold_in(key, 2), config.draws)
    fields = draws, exactly, np.asarray(gabor.constrain(before))
    alike = tuple(correlations(neuron, cells) for cells in fields)
    along = [np.cos(d[:, ALPHA] - neuron.truth[ALPHA]) for d in (draws, exactly)]
    turned = tuple(float(np.mean(cosine < 0)) for cosine in along)
    found = tuple(float(np.mean(abs(cosine) > math.cos(AXIS))) for cosine in along)
    sampler = {k: float(reference[k]) for k in ("proposed", "ess", "pareto_k", "log_evidence")}
    fired = jaxsbi.diagnostics.predictive(neuron.x_o["count"], counts, names=["spikes"])
    made = (
        Check("c2st", "Can classifiers tell learned draws from exact ones?",
              score.verdict, score.p_value),
        Check("predictive", "Do draws, simulated anew, fire as often as was observed?",
              fired.verdict, float(fired.p_values[0])),
    )  # fmt: skip
    targets = (
        Target("share of draws at α + π, less the exact one", abs(turned[0] - turned[1]), MODES),
        Target(
            "correlation of drawn fields with the true one, median, below that of exact ones",
            float(np.median(alike[1]) - np.median(alike[0])), ALIKE,
        ),
        Target(
            f"share of draws within {math.degrees(AXIS):.0f}° of α or α + π, below the exact one",
            found[1] - found[0], FOUND,
        ),
    )  # fmt: skip
    return Outcome(
        config, neuron, posterior, draws, exactly, sampler, score, alike, turned, found, counts,
        made, targets,
    )  # fmt: skip


def correlations(neuron: Neuron, cells: np.ndarray) -> np.ndarray:
    """Of each field with the true one (n,), 0 of one that the screen does not show."""
    pixels, truth = neuron.protocol.frames.shape[1], jnp.asarray(neuron.truth)

    @jax.jit
    def with_truth(cells: jax.Array) -> jax.Array:
        def correlation(cell: jax.Array) -> jax.Array:
            both = (gabor.receptive_field(c, pixels, pixels).ravel() for c in (cell, truth))
            return jnp.nan_to_num(jnp.corrcoef(*both)[0, 1])

        return jax.lax.map(correlation, cells, batch_size=100)

    return np.asarray(with_truth(jnp.asarray(cells)))
