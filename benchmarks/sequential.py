"""Sequential inference beside `sbi`: atomic APT on two moons, the same budget on both sides.

    python benchmarks/sequential.py --rounds 10 --simulations 1000 --out sequential.jsonl

Both draw θ, simulate and train round after round with a neural spline flow, batches of 200 and ten
atoms, under their own defaults for everything else. Times are of the whole run, compilation
included; `ratio` is sbi's over ours. Quality is the classifier two-sample test against exact draws
of the posterior, by both classifiers. `--only` runs one side. sbi's time for fewer rounds may be
measured with `--peer-rounds`; the ratio is then left out.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

# benchmarks/simulators.py bears the name of a package, so this folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from benchmarks import _measure

X_O = np.zeros(2)
RADIUS, SPREAD, CENTRE = 0.1, 0.01, 0.25
BATCH, ATOMS, DRAWS = 200, 10, 3000
PACKAGES = ("flax", "distrax", "optax", "torch", "sbi")


def two_moons(key: jax.Array, theta: jax.Array) -> jax.Array:
    """x = r (cos a, sin a) + (¼, 0) + (−|θ₁ + θ₂|, θ₂ − θ₁)/√2, a and r random.

    Lueckmann et al. 2021 (AISTATS), task T.8.
    """
    key_angle, key_radius = jax.random.split(key)
    angle = jnp.pi * (jax.random.uniform(key_angle) - 0.5)
    radius = RADIUS + SPREAD * jax.random.normal(key_radius)
    moon = radius * jnp.array([jnp.cos(angle), jnp.sin(angle)]) + jnp.array([CENTRE, 0.0])
    return moon + jnp.array([-jnp.abs(theta[0] + theta[1]), theta[1] - theta[0]]) / jnp.sqrt(2)


def exact_draws(n: int, seed: int) -> np.ndarray:
    """θ ~ p(θ | x_o): the noise drawn, the two θ that it leaves solved for; all lie in the box."""
    rng = np.random.default_rng(seed)
    angle = np.pi * (rng.uniform(size=4 * n) - 0.5)
    radius = RADIUS + SPREAD * rng.normal(size=4 * n)
    moon = radius * np.array([np.cos(angle), np.sin(angle)]) + np.array([[CENTRE], [0.0]])
    size, difference = np.sqrt(2) * np.array([[-1.0], [1.0]]) * (X_O[:, None] - moon)
    total = rng.choice([-1.0, 1.0], 4 * n) * size
    theta = np.stack([total - difference, total + difference], axis=1) / 2
    return theta[(size >= 0) & (np.abs(theta) <= 1).all(axis=1)][:n]


def run_jaxsbi(rounds: int, simulations: int, seed: int) -> tuple[np.ndarray, dict]:
    began, cpu = time.perf_counter(), time.process_time()
    posterior = jaxsbi.infer(
        jax.random.key(seed), two_moons, jaxsbi.box([-1.0, -1.0], [1.0, 1.0]), X_O,
        algorithm=jaxsbi.apt(atoms=ATOMS), rounds=rounds, simulations=simulations,
        estimator=jaxsbi.nsf(), training=jaxsbi.Training(batch_size=BATCH), progress=False,
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    draws = posterior.sample(jax.random.key(seed + 1), DRAWS)
    return np.asarray(draws), {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "compile_seconds": sum(r.compile_seconds for r in posterior.history.rounds),
        "epochs": [r.epochs for r in posterior.history.rounds],
    }


def run_sbi(rounds: int, simulations: int, seed: int) -> tuple[np.ndarray, dict]:
    import torch
    from sbi.inference import NPE_C
    from sbi.utils import BoxUniform

    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count() or 1)
    prior = BoxUniform(-torch.ones(2), torch.ones(2))
    x_o = torch.tensor(X_O, dtype=torch.float32)
    simulate = jax.jit(jax.vmap(two_moons))
    epochs, proposal = [], prior
    began, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as logs, contextlib.chdir(logs):  # sbi logs where it stands
        inference = NPE_C(prior, density_estimator="nsf", show_progress_bars=False)
        for number in range(rounds):
            theta = proposal.sample((simulations,))
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), simulations)
            x = torch.tensor(np.array(simulate(keys, jnp.asarray(theta.numpy()))))
            density = inference.append_simulations(theta, x, proposal=proposal).train(
                training_batch_size=BATCH, num_atoms=ATOMS
            )
            proposal = inference.build_posterior(density).set_default_x(x_o)
            epochs.append(inference.summary["epochs_trained"][-1])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    draws = proposal.sample((DRAWS,), show_progress_bars=False)
    return draws.numpy(), {"seconds": seconds, "cpu_seconds": cpu, "epochs": epochs}


def scored(draws: np.ndarray, outcome: dict, seed: int) -> dict:
    score = jaxsbi.diagnostics.c2st(exact_draws(DRAWS, seed), draws)
    return {**outcome, "c2st": {"mlp": score.mlp, "rf": score.rf}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peer-rounds", type=int, help="rounds of sbi, if fewer")
    parser.add_argument("--simulations", type=int, default=1000, help="per round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["jaxsbi", "sbi"], help="run one side alone")
    parser.add_argument("--out", type=Path, help="append the JSON line to this file too")
    arguments = parser.parse_args()
    peer_rounds = arguments.peer_rounds or arguments.rounds
    line = {
        "benchmark": "sequential", "task": "two_moons", "algorithm": "apt", "atoms": ATOMS,
        "rounds": arguments.rounds, "peer_rounds": peer_rounds,
        "simulations": arguments.simulations, "batch_size": BATCH, "seed": arguments.seed,
    }  # fmt: skip
    sides = {"jaxsbi": (run_jaxsbi, arguments.rounds), "sbi": (run_sbi, peer_rounds)}
    for name, (run, rounds) in sides.items():
        if arguments.only in (None, name):
            outcome = run(rounds, arguments.simulations, arguments.seed)
            line[name] = scored(*outcome, arguments.seed)
    if arguments.only is None and peer_rounds == arguments.rounds:
        line["ratio"] = line["sbi"]["seconds"] / line["jaxsbi"]["seconds"]
    line["machine"] = _measure.machine(*PACKAGES)
    _measure.report(line, arguments.out)


if __name__ == "__main__":
    main()
