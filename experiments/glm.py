"""How near does each method come to an exact posterior? (Gonçalves et al. 2020, fig. 2a–d.)

A linear–nonlinear neuron with a temporal filter: ten parameters, ten sufficient features, and a
likelihood that is known, so that the posterior is too. Learned densities and likelihoods are set
against approximate Bayesian computation (ABC), at equal budgets and with a hundred times as many
simulations for ABC. Methods, in order: `observe`, `sample_exactly`, `infer`, `approximate`,
`compare`, `validate`, then figures and report.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from experiments import checks, exact, glm_report, runs
from experiments.checks import Check
from experiments.conclusion import conclude
from experiments.glm_presets import PRESETS, Config
from experiments.keeping import keep_arrays, keep_posterior, keep_score
from experiments.presets import settings_of
from experiments.runs import Run
from experiments.targets import Target
from jaxsbi.diagnostics import C2ST, Calibration
from jaxsbi.posteriors import Posterior
from jaxsbi.reference import Particles
from simulators import glm

MANY = 2000  # draws; classifiers of fewer are done before further processes have started
FEATURE_NAMES = tuple(f.name for f in glm.FEATURES)
NEWTON = 20  # steps from 0 to the mode
ONE_ROUND, LATER_ROUNDS = 0.60, 0.56
"""What C2ST was to be at most, with one round of simulations and with more."""


class Options(NamedTuple):
    """There is nothing else to choose."""


class Found(NamedTuple):
    """Draws (n, 10) of one method with one budget, how they compare with exact ones, their cost.

    score: C2ST, ½ where no classifier tells them from exact draws; off: the largest error of a
    mean, in exact sds; posterior: None of ABC.
    """

    method: str
    simulations: int
    rounds: int
    draws: np.ndarray
    score: C2ST
    off: float
    posterior: Posterior | None = None

    @property
    def name(self) -> str:
        return f"{self.method}-{self.simulations}"


class Outcome(NamedTuple):
    """All that was found; exact: draws (n, 10); sampler: of how many, and what they are worth."""

    config: Config
    x_o: np.ndarray
    exact: np.ndarray
    sampler: dict[str, float]
    found: tuple[Found, ...]
    calibration: Calibration
    checks: tuple[Check, ...]
    targets: tuple[Target, ...]


folder_name = partial(runs.folder_name, "glm")
command = partial(runs.command, "glm")


def run(preset: str, seed: int, out: Path, options: Options) -> dict[str, Any]:
    """Infer, compare, draw and report; returns what results.json holds."""
    config, keys = PRESETS[preset], jax.random.split(jax.random.key(seed), 6)
    x_o = observe(keys[0])
    settings = runs.settings_of(
        "glm", preset, seed, {"synthetic": {"x_o": x_o}}, settings_of(config)
    )
    study = Run(out, settings, folders=("posterior", "arrays", "figures"))
    known = sample_exactly(keys[1], study, x_o, config)
    draws = [*infer(keys[2], study, x_o, config), *approximate(keys[3], study, x_o, config)]
    found = tuple(compare(study, known["theta"], *each) for each in draws)
    with study.stage("validate"):
        calibration, made = validate(keys[4], x_o, found, config)
    outcome = Outcome(
        config, np.asarray(x_o), known["theta"],
        {name: float(known[name]) for name in ("proposed", "ess", "pareto_k")},
        found, calibration, made, targets(found),
    )  # fmt: skip
    return conclude(study, command(preset, seed, out, options), outcome, glm_report.TELLING)


def prior() -> jaxsbi.Prior:
    """N(0, P⁻¹), which favours smooth filters."""
    names = [p.name for p in glm.PARAMETERS]
    return jaxsbi.gaussian(glm.PRIOR_MEAN, precision=glm.PRIOR_PRECISION, names=names)


def observe(key: jax.Array) -> jax.Array:
    """One run of the paper's neuron under a frozen white noise."""
    return glm.simulate(key, jnp.asarray(glm.NOMINAL))


def sample_exactly(
    key: jax.Array, study: Run, x_o: jax.Array, config: Config
) -> dict[str, np.ndarray]:
    """θ ~ p(θ) L(θ), the likelihood being known, by importance sampling that begins at the mode.

    log p(θ) L(θ) is concave, so that Newton's method finds the mode, and its curvature there is
    nearly that of all the posterior.
    """

    def log_density(theta: jax.Array) -> jax.Array:
        return prior().log_prob(theta) + glm.log_likelihood_of_features(theta, x_o)

    def step(theta: jax.Array, _: None) -> tuple[jax.Array, None]:
        curvature = jax.hessian(log_density)(theta)
        return theta - jnp.linalg.solve(curvature, jax.grad(log_density)(theta)), None

    def draw() -> dict[str, np.ndarray]:
        mode = jax.jit(lambda t: jax.lax.scan(step, t, length=NEWTON)[0])(jnp.zeros(10))
        covariance = np.linalg.inv(-np.asarray(jax.hessian(log_density)(mode), float))
        start = exact.Mixture(np.ones(1), np.asarray(mode, float)[None], covariance[None])
        found = exact.sample(key, log_density, start, config.draws, 10 * config.draws)
        return {"theta": found.z, **found._asdict()}

    return keep_arrays(study, "exact posterior", "exact", draw)


Draws = tuple[str, int, int, np.ndarray, Posterior | None]


def infer(key: jax.Array, study: Run, x_o: jax.Array, config: Config) -> Iterator[Draws]:
    """Learned posteriors, each method with each budget, of simulations alone."""
    for i, (name, (algorithm, estimator, rounds)) in enumerate(config.methods.items()):
        for simulations in config.budgets:
            keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, i), simulations))
            label = f"{name}-{simulations}"
            inference = partial(
                jaxsbi.infer, keys[0], glm.simulate, prior(), x_o, algorithm=algorithm,
                rounds=rounds, simulations=simulations // rounds, estimator=estimator,
                training=config.training,
            )  # fmt: skip
            posterior = keep_posterior(
                study, f"{label}: infer", label, rounds, inference, f"{name}, {simulations:,}"
            )
            drawn = keep_arrays(
                study, f"{label}: draw", label,
                lambda p=posterior, k=keys[1]: {"theta": p.sample(k, config.draws)},
            )  # fmt: skip
            yield name, simulations, rounds, drawn["theta"], posterior


def approximate(key: jax.Array, study: Run, x_o: jax.Array, config: Config) -> Iterator[Draws]:
    """Rejection ABC and SMC-ABC: parameters whose simulations came close to the observation."""
    n = config.particles
    kinds = {
        "rejection ABC": partial(jaxsbi.reference.rejection_abc, accept=n),
        "SMC-ABC": partial(jaxsbi.reference.smc_abc, particles=n),
    }
    for i, (name, abc) in enumerate((name, kinds[name]) for name in config.abc):
        for simulations in config.abc_budgets:
            keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, i), simulations))

            def draw(abc=abc, keys=keys, simulations=simulations) -> dict[str, np.ndarray]:
                particles = abc(keys[0], glm.simulate, prior(), x_o, simulations=simulations)
                return {"theta": smoothed(keys[1], particles, config.draws)}

            label = f"{name.replace(' ', '_')}-{simulations}"
            drawn = keep_arrays(study, f"{name}, {simulations:,}", label, draw)
            yield name, simulations, 1, drawn["theta"], None


def smoothed(key: jax.Array, particles: Particles, n: int) -> jax.Array:
    """m + √(1 − h²) (θ_j − m) + h N(0, Σ): no two draws alike, mean m and covariance Σ kept.

    h is Silverman's for the effective number of particles. West 1993 (J. R. Stat. Soc. B 55:409).
    Draws with replacement would be told from others by their doubles alone.
    """
    key_draw, key_step = jax.random.split(key)
    weights, dim = particles.weights, particles.theta.shape[1]
    mean = weights @ particles.theta
    centred = particles.theta - mean
    covariance = (weights * centred.T) @ centred
    h = (4 / (dim + 2) / particles.ess) ** (1 / (dim + 4))
    steps = jax.random.multivariate_normal(key_step, jnp.zeros(dim), covariance, (n,))
    return mean + jnp.sqrt(1 - h**2) * (particles.sample(key_draw, n) - mean) + h * steps


def compare(
    study: Run,
    known: np.ndarray,
    method: str,
    simulations: int,
    rounds: int,
    draws: np.ndarray,
    posterior: Posterior | None,
) -> Found:
    """Can a classifier tell these draws from as many exact ones? And how far is their mean off?"""
    label = f"{method.replace(' ', '_')}-{simulations}"
    jobs = -1 if len(draws) > MANY else None
    score = keep_score(study, f"{label}: compare", f"{label}-c2st", known, draws, jobs)
    off = np.max(np.abs(draws.mean(axis=0) - known.mean(axis=0)) / known.std(axis=0))
    return Found(method, simulations, rounds, draws, score, float(off), posterior)


def validate(
    key: jax.Array, x_o: jax.Array, found: tuple[Found, ...], config: Config
) -> tuple[Calibration, tuple[Check, ...]]:
    """All checks that need no exact posterior, of the amortised one with the largest budget.

    They are what a model without a likelihood has: here one sees what they are worth.
    """
    keys = jax.random.split(key, 5)
    best = max((f for f in found if f.method == "npe"), key=lambda f: f.simulations)
    theta, x = jaxsbi.simulate(keys[0], glm.simulate, prior(), config.calibration)
    predicted = jaxsbi.predict(keys[1], glm.simulate, best.draws[: config.calibration])
    samples = min(499, 5 * config.calibration)
    calibration = jaxsbi.diagnostics.calibrate(keys[2], best.posterior, theta, x, samples=samples)
    made = checks.make(
        keys[3], best.posterior, calibration, x_o, (np.asarray(theta), np.asarray(x)),
        np.asarray(predicted), FEATURE_NAMES,
    )  # fmt: skip
    return calibration, made


def targets(found: tuple[Found, ...]) -> tuple[Target, ...]:
    """C2ST by the worse of two classifiers, with 10,000 simulations in all: what was aimed at."""
    learned = [f for f in found if f.posterior is not None and f.simulations == 10_000]
    return tuple(
        Target(
            f"C2ST of {f.method}, {f.rounds} round{'s' * (f.rounds > 1)}",
            f.score.worst,
            ONE_ROUND if f.rounds == 1 else LATER_ROUNDS,
        )
        for f in learned
    )
