"""Training speed and quality of `maf` and `nsf` beside `sbi`, on the same simulations.

    python benchmarks/training.py --out training.jsonl

Both libraries get the same Hodgkin–Huxley simulations, batches of 200 and flows of 5 layers with
50 hidden units, and train to convergence under their own defaults. Speed is in gradient steps per
second. `ratio` compares whole trainings: shuffling, loading and validation included, jaxsbi's
compilation apart. `ratio_to_bare_steps` compares jaxsbi's whole training with sbi's network in a
bare loop of loss, backward, clip and Adam over slices of the rows, the better half of its steps.

Quality is the mean of −log q(θ | x) / p(θ) over held-out rows, in nats: a ratio of densities, so
the same in θ and in z, where jaxsbi trains. sbi trains in θ (its default) or on the same z. Its
density is taken as trained: dividing by its mass inside the prior's box is no part of its loss.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# benchmarks/simulators.py bears the name of a package, so this folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import jax.numpy as jnp
import numpy as np

import jaxsbi
from benchmarks import _measure
from simulators import hodgkin_huxley as hh

BATCH, LAYERS, HIDDEN = 200, 5, 50
ESTIMATORS = {
    "maf": jaxsbi.maf(layers=LAYERS, hidden=(HIDDEN, HIDDEN)),
    "nsf": jaxsbi.nsf(layers=LAYERS, hidden=(HIDDEN, HIDDEN)),
}
PACKAGES = ("flax", "distrax", "optax", "torch", "sbi")


def run_jaxsbi(name: str, data: dict[str, jax.Array], prior: jaxsbi.Prior, seed: int) -> dict:
    key = jax.random.key(seed)
    training = jaxsbi.Training(batch_size=BATCH)
    posterior = jaxsbi.fit(
        key, data["theta"], data["x"], prior,
        estimator=ESTIMATORS[name], training=training, progress=False,
    )  # fmt: skip
    (done,) = posterior.history.rounds
    epochs = len(done.validation_losses)
    rows = int(len(data["theta"]) * (1 - training.validation))
    at_test = jax.vmap(posterior.conditional.log_prob)
    log_ratio = at_test(data["z_test"], data["x_test"]) - log_normal(data["z_test"])
    return {
        "steps_per_second": epochs * (rows // BATCH) / done.train_seconds,
        "loss": -float(jnp.mean(log_ratio)),
        "epochs": epochs,
        "train_seconds": done.train_seconds,
        "compile_seconds": done.compile_seconds,
    }


def log_normal(z: jax.Array) -> jax.Array:
    return jax.scipy.stats.norm.logpdf(z).sum(axis=-1)


def run_sbi(
    name: str, space: str, data: dict[str, jax.Array], log_prior: np.ndarray, seed: int
) -> dict:
    import torch
    from sbi.inference import NPE
    from sbi.neural_nets import posterior_nn

    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count() or 1)
    tensors = {label: torch.tensor(np.array(a, np.float32)) for label, a in data.items()}
    parameters, x = tensors[space], tensors["x"]
    options = {"num_bins": ESTIMATORS[name].bins} if name == "nsf" else {}
    build = posterior_nn(name, hidden_features=HIDDEN, num_transforms=LAYERS, **options)
    with tempfile.TemporaryDirectory() as logs, contextlib.chdir(logs):  # sbi logs where it stands
        inference = NPE(density_estimator=build, show_progress_bars=False)
        began = time.perf_counter()
        density = inference.append_simulations(parameters, x).train(training_batch_size=BATCH)
    seconds = time.perf_counter() - began
    density.eval()
    with torch.no_grad():
        at_test = density.log_prob(tensors[f"{space}_test"][None], condition=tensors["x_test"])[0]
    epochs = inference.summary["epochs_trained"][-1]
    steps = epochs * (int(0.9 * len(x)) // BATCH)
    return {
        "steps_per_second": steps / seconds,
        "bare_steps_per_second": bare_steps_per_second(build, parameters, x),
        "loss": -float(np.mean(at_test.numpy().astype(float) - log_prior)),
        "epochs": epochs,
        "train_seconds": seconds,
    }


def bare_steps_per_second(build: object, parameters: object, x: object, steps: int = 150) -> float:
    """The better half's mean over single steps: passes over the rows, no loader, no validation."""
    import torch

    network = build(parameters, x)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    seconds = []
    for step in range(steps):
        rows = slice(first := step * BATCH % (len(x) - BATCH + 1), first + BATCH)
        began = time.perf_counter()
        optimizer.zero_grad()
        network.loss(parameters[rows], condition=x[rows]).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return 1 / float(np.mean(np.sort(seconds)[: steps // 2]))


def measure(arguments: argparse.Namespace) -> Iterator[dict]:
    prior = jaxsbi.box(hh.PARAMETERS)
    key, key_test = jax.random.split(jax.random.key(arguments.seed))
    theta, x = jaxsbi.simulate(key, hh.simulate, prior, arguments.rows)
    theta_test, x_test = jaxsbi.simulate(key_test, hh.simulate, prior, arguments.test_rows)
    to_z = jax.vmap(prior.to_z)
    data = {
        "theta": theta, "x": x, "z": to_z(theta),
        "theta_test": theta_test, "x_test": x_test, "z_test": to_z(theta_test),
    }  # fmt: skip
    log_prior = {
        "theta": np.asarray(jax.vmap(prior.log_prob)(theta_test)),
        "z": np.asarray(log_normal(data["z_test"])),
    }
    for name in arguments.estimators:
        ours = run_jaxsbi(name, data, prior, arguments.seed)
        for space in arguments.spaces:
            peer = run_sbi(name, space, data, log_prior[space], arguments.seed)
            yield {
                "benchmark": "training",
                "estimator": name,
                "rows": arguments.rows,
                "test_rows": arguments.test_rows,
                "batch_size": BATCH,
                "jaxsbi": ours,
                "sbi": {"space": space, **peer},
                "ratio": ours["steps_per_second"] / peer["steps_per_second"],
                "ratio_to_bare_steps": ours["steps_per_second"] / peer["bare_steps_per_second"],
                "loss_difference": ours["loss"] - peer["loss"],
                "machine": _measure.machine(*PACKAGES),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="simulations to train on")
    parser.add_argument("--test-rows", type=int, default=10_000, help="held-out simulations")
    parser.add_argument("--estimators", nargs="+", default=["maf", "nsf"], choices=ESTIMATORS)
    parser.add_argument("--spaces", nargs="+", default=["theta"], choices=["theta", "z"],
                        help="where sbi trains: theta (its default) or z")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file too")
    arguments = parser.parse_args()
    for line in measure(arguments):
        _measure.report(line, arguments.out)


if __name__ == "__main__":
    main()
