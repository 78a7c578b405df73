"""Time of the diagnostics and analyses on two cores, compilation apart.

    python benchmarks/diagnostics.py --out diagnostics.jsonl

`sbc`, `tarp`, `lc2st`: a spline flow of the eight Hodgkin–Huxley parameters, trained briefly on
simulations, for the cost does not depend on how well; 1000 posteriors of 1000 draws each.

`correlations`: the conditional correlations of a masked autoregressive flow of 31 parameters (465
pairs), 100 posterior draws, 20 × 20 cells, beside the paper's definition (500 draws, 50 × 50
cells) of some of the pairs, from draws of its own. The flow is trained on a stand-in for a
circuit: 15 noisy features, curved functions of all parameters, so that the posterior has ridges.

Seconds are of wall time, on an idle machine; `cpu_seconds` counts those of all threads.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# benchmarks/simulators.py bears the name of a package, so this folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import numpy as np

import jaxsbi
from benchmarks import _measure
from jaxsbi.compilation import compile_clock
from simulators import hodgkin_huxley as hh
from simulators import stg

PACKAGES = ("flax", "distrax")
FEATURES = 15


def timed(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """A run's result and its seconds, those of compiling apart."""
    with compile_clock() as clock:
        began, began_cpu = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(run())
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return result, {
        "seconds": round(seconds - clock.seconds, 2),
        "compile_seconds": round(clock.seconds, 2),
        "cpu_seconds": round(cpu, 2),
    }


def trained(key: jax.Array, theta: jax.Array, x: jax.Array, prior: jaxsbi.Prior, **settings: Any):
    return jaxsbi.fit(key, theta, x, prior, progress=False, **settings)


def calibration(arguments: argparse.Namespace) -> Iterator[dict]:
    prior = jaxsbi.box(hh.PARAMETERS)
    keys = jax.random.split(jax.random.key(arguments.seed), 4)
    theta, x = jaxsbi.simulate(keys[0], hh.simulate, prior, 2000 + arguments.observations)
    posterior = trained(
        keys[1], theta[:2000], x[:2000], prior, estimator=jaxsbi.nsf(),
        training=jaxsbi.Training(max_epochs=5, anneal=1),
    )  # fmt: skip
    theta, x = theta[2000:], x[2000:]
    sizes = {"observations": arguments.observations, "samples": arguments.samples}
    for name in ("sbc", "tarp"):
        test = getattr(jaxsbi.diagnostics, name)
        found, times = timed(
            lambda test=test: test(keys[2], posterior, theta, x, samples=arguments.samples)
        )
        yield {"what": name, **sizes, **times, "verdict": found.verdict}
    found, times = timed(
        lambda: jaxsbi.diagnostics.lc2st(keys[3], posterior, theta[1:], x[1:], x_o=x[0])
    )
    yield {"what": "lc2st", "rows": found.rows, **times, "verdict": found.verdict}


def curved(key: jax.Array, z: jax.Array) -> jax.Array:
    """15 features of 31 coordinates: straight and squared sums, and noise."""
    weights = np.random.default_rng(0).normal(size=(2, z.size, FEATURES)) / np.sqrt(6)
    straight, bent = z @ weights[0], z @ weights[1]
    return straight + 0.3 * bent**2 + 0.3 * jax.random.normal(key, (FEATURES,))


def correlations(arguments: argparse.Namespace) -> Iterator[dict]:
    prior = jaxsbi.box(stg.PARAMETERS)
    keys = jax.random.split(jax.random.key(arguments.seed), 4)
    theta, x = jaxsbi.simulate(
        keys[0], lambda key, theta: curved(key, prior.to_z(theta)), prior, arguments.rows
    )
    posterior = trained(
        keys[1], theta[1:], x[1:], prior, x_o=x[0],
        estimator=jaxsbi.maf(layers=5, hidden=tuple(arguments.hidden)),
        training=jaxsbi.Training(max_epochs=arguments.epochs, anneal=min(20, arguments.epochs)),
    )  # fmt: skip
    sizes = {"samples": arguments.draws, "points": arguments.points}
    analysis = jaxsbi.analysis
    # once for the compilation, with as many slices as fill one call
    analysis.conditional_correlations(keys[2], posterior, samples=1, points=arguments.points)
    found, times = timed(
        lambda: analysis.conditional_correlations(
            keys[2], posterior, samples=arguments.draws, points=arguments.points
        )
    )
    marginal = analysis.marginal_correlations(keys[2], posterior)
    pairs = np.triu_indices(prior.dim, 1)
    line = {
        "what": "correlations",
        "pairs": len(pairs[0]),
        "hidden": arguments.hidden,
        **sizes,
        **times,
        "largest": round(float(np.abs(found.matrix[pairs]).max()), 3),
        "largest_marginal": round(float(np.abs(marginal.matrix[pairs]).max()), 3),
        "median_error": round(float(np.median(found.error[pairs])), 4),
        "coarse": found.coarse,
    }
    if arguments.pairs:
        chosen = np.random.default_rng(0).choice(len(pairs[0]), arguments.pairs, replace=False)
        chosen = np.array([[i, j] for i, j in zip(*pairs, strict=True)])[chosen]
        whole, times = timed(
            lambda: analysis.conditional_correlations(keys[3], posterior, pairs=chosen)
        )
        apart = (found.matrix - whole.matrix)[chosen[:, 0], chosen[:, 1]]
        line["paper"] = {
            "pairs": arguments.pairs, "samples": whole.samples, "points": 50, **times,
            "rms_difference": round(float(np.sqrt(np.mean(apart**2))), 4),
            "largest_difference": round(float(np.abs(apart).max()), 4),
        }  # fmt: skip
    yield line


MEASURES = {"calibration": calibration, "correlations": correlations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs="+", default=list(MEASURES), choices=MEASURES)
    parser.add_argument("--observations", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000, help="posterior draws for each")
    parser.add_argument("--draws", type=int, default=100, help="posterior draws to correlate at")
    parser.add_argument("--points", type=int, default=20, help="cells per parameter")
    parser.add_argument("--pairs", type=int, default=15, help="of the paper's definition")
    parser.add_argument("--hidden", type=int, nargs="+", default=[50, 50])
    parser.add_argument("--rows", type=int, default=10_000, help="simulations to train on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file too")
    arguments = parser.parse_args()
    for name in arguments.measure:
        for line in MEASURES[name](arguments):
            line = {"benchmark": "diagnostics", **line, "machine": _measure.machine(*PACKAGES)}
            _measure.report(line, arguments.out)


if __name__ == "__main__":
    main()
