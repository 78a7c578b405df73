"""Speed, memory, gradients and accuracy of the simulators, with peers in the same run.

    python benchmarks/simulators.py --model hodgkin_huxley --out simulators.jsonl

One JSON line per measurement. Times are wall times on all cores, noise and features included, the
shortest of several runs; theta is drawn from the prior. `ratio` compares with what the line names.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# This file bears the name of the package it measures, so its folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _measure
from simulators import hodgkin_huxley as hh

BATCHES = (32, 64, 128, 256, 1024, 4096)
EXPONENTIALS = 7  # per step: V, four gates, two for the rates


def per_simulation(
    one: Callable[[jax.Array, jax.Array], Any], batch: int, rows: int, repeats: int
) -> tuple[float, Any]:
    """Milliseconds a simulation of one(key, theta), `batch` lanes a call; the compiled program."""
    calls = -(-rows // batch)
    theta = jnp.asarray(_measure.uniform_draws(hh.PARAMETERS, calls * batch), jnp.float32).reshape(
        calls, batch, -1
    )
    keys = jax.random.split(jax.random.key(0), (calls, batch))
    inputs = [jax.block_until_ready((keys[i], theta[i])) for i in range(calls)]
    compiled = jax.jit(jax.vmap(one)).lower(*inputs[0]).compile()
    run = _measure.on_all_cores(lambda i: compiled(*inputs[i]), calls)
    return 1e3 * _measure.seconds(run, repeats) / (calls * batch), compiled


def speed(batches: list[int], rows: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Ours at several batch sizes, the peers, the floor, a gradient."""
    from benchmarks import _peers_numba, _peers_scan

    protocol, steps = hh.DEFAULT, hh.DEFAULT.samples - 1
    theta = _measure.uniform_draws(hh.PARAMETERS, rows)
    numba_ms = 1e3 * _measure.seconds(lambda: _peers_numba.hodgkin_huxley(theta, protocol), repeats)
    numba_ms /= rows
    yield {"what": "numba, scalar loop, float64, fastmath", "ms_per_simulation": numba_ms}

    ours = {}
    for batch in batches:
        ms, compiled = per_simulation(hh.simulate, batch, rows, repeats)
        ours[batch] = ms
        yield {
            "what": "simulate",
            "batch": batch,
            "ms_per_simulation": ms,
            "ns_per_neuron_step": 1e6 * ms / steps,
            "peak_bytes_per_call": _measure.peak_bytes(compiled),
            "ratio": numba_ms / ms,
            "ratio_to": "numba",
        }
    batch = min(ours, key=ours.get)
    best = ours[batch]

    plain = {}
    for noise, features in ((False, False), (True, False), (True, True)):

        def one(key, theta, noise=noise, features=features):
            return _peers_scan.hodgkin_huxley(key, theta, protocol, noise=noise, features=features)

        ms, _ = per_simulation(one, batch, rows, repeats)
        plain[noise, features] = ms
        yield {
            "what": "plain lax.scan of the same step",
            "noise": noise,
            "features": features,
            "batch": batch,
            "ms_per_simulation": ms,
            "ratio": best / ms,
            "ratio_to": "simulate at the best batch, as a multiple of this",
        }
    neuron = plain[False, False]
    cost = plain[True, False] - neuron
    yield {"what": "noise", "ms_per_simulation": cost, "ratio": cost / neuron, "ratio_to": "neuron"}

    big = jnp.linspace(-3.0, 3.0, 1 << 24)
    exp_ns = 1e9 * _measure.seconds(lambda: jnp.exp(big), repeats) / big.size
    floor = EXPONENTIALS * exp_ns * steps / 1e6
    yield {
        "what": "floor: exponentials",
        "exponentials_per_step": EXPONENTIALS,
        "ns_per_exponential": exp_ns,  # of 2²⁴ at once, on all cores
        "ms_per_simulation": floor,
        "ratio": best / floor,
        "ratio_to": "simulate at the best batch, as a multiple of this",
    }

    def loss(theta, key):
        return jnp.sum(hh.simulate(key, theta)[1:])

    few = batch * _measure.cores()
    ms, compiled = per_simulation(lambda k, t: jax.grad(loss)(t, k), batch, few, 1)
    yield {
        "what": "gradient in theta",
        "batch": batch,
        "ms_per_simulation": ms,
        "peak_bytes_per_call": _measure.peak_bytes(compiled),
        "ratio": ms / best,
        "ratio_to": "simulate at the best batch",
    }


def accuracy(rows: int) -> Iterator[dict[str, Any]]:
    """float32 against float64 under the same noise, in sds of each feature over the prior."""
    for sigma in ("drawn", "zero"):
        theta = _measure.uniform_draws(hh.PARAMETERS, rows, seed=1)
        theta[:, 6] *= sigma == "drawn"
        results = {}
        for double in (False, True):
            with jax.enable_x64(double):
                keys = jax.random.split(jax.random.key(1), rows)
                run = jax.jit(
                    lambda k, t: jax.lax.map(lambda a: hh.simulate(*a), (k, t), batch_size=128)
                )
                results[double] = np.asarray(run(keys, jnp.asarray(theta, float)), float)
        gap = np.abs(results[False] - results[True]) / results[True].std(0)
        gap = gap[np.isfinite(gap).all(1)]
        names = [feature.name for feature in hh.FEATURES]
        yield {
            "what": "float32 against float64, in prior sds",
            "sigma": sigma,
            "rows": rows,
            "finite_share": float(np.isfinite(results[False]).all(1).mean()),
            "equal_counts": float((results[False][:, 0] == results[True][:, 0]).mean()),
            "median": dict(zip(names, np.median(gap, 0).tolist(), strict=True)),
            "p99": dict(zip(names, np.quantile(gap, 0.99, axis=0).tolist(), strict=True)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["hodgkin_huxley"], default="hodgkin_huxley")
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES), help="lanes a call")
    parser.add_argument("--simulations", type=int, default=4096, help="per timing")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the lines here")
    options = parser.parse_args()
    for name in ("simulations", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected at least 1, got {getattr(options, name)}")
    if min(options.batch) < 1:
        parser.error(f"--batch: expected at least 1, got {min(options.batch)}")

    setting = _measure.machine("numba", "numpy")
    lines = []
    for source in (
        speed(options.batch, options.simulations, options.repeats),
        accuracy(max(1000, options.simulations // 4)),
    ):
        for line in source:
            lines.append(json.dumps({"model": options.model} | line | {"machine": setting}))
            print(lines[-1], flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
