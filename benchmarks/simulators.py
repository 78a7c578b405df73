"""Speed, memory, gradients and accuracy of the simulators, with peers in the same run.

    python benchmarks/simulators.py --model all --out simulators.jsonl

One JSON line per measurement, as it is made. Times are wall times on all cores (or of the GPU),
noise and features included, the shortest of several runs; theta is drawn from the prior. `ratio`
compares with what the line names. Long models are compared by the neuron-step: batch sizes are
tried on a shorter protocol, and the best one runs the whole. Half of the time goes into compiling:
JAX_COMPILATION_CACHE_DIR spares it a second run.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# This file bears the name of the package it measures, so its folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax

from benchmarks import _gradients, _measure, _measurements
from benchmarks._subjects import SUBJECTS

MEASUREMENTS = {
    "scan": _measurements.scan,
    "floor": _measurements.floor,
    "gradient": _gradients.gradient,
    "accuracy": _measurements.accuracy,
    "agreement": _measurements.agreement,
    "memory": _measurements.memory,
}


def measure(model: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of one model: the crowd first, while the process is small, then speed."""
    began = time.perf_counter()
    subject = SUBJECTS[model]()
    platform = "cpu" if jax.default_backend() == "cpu" else "gpu"
    batches = tuple(options.batch or ())
    bench = _measurements.Bench(
        subject,
        batches=batches or subject.batches[platform],
        gradient_batches=batches or subject.gradient_batches[platform],
        simulations=options.simulations or subject.simulations[platform],
        repeats=options.repeats or subject.repeats,
    )
    if options.memory:
        yield from _measurements.crowd(bench)
    yield from _measurements.speed(bench)
    for name in options.measure:
        yield from MEASUREMENTS[name](bench)
    if options.shares:
        yield from _measurements.shares(bench, options.shares)
    yield {"what": "this model's measurements", "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=[*SUBJECTS, "all"], default="all")
    parser.add_argument("--measure", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS),
                        help="besides speed; all unless given")  # fmt: skip
    parser.add_argument("--batch", type=int, nargs="+", help="simulations a call, each model's own")
    parser.add_argument("--simulations", type=int, help="per timing, each model's own")
    parser.add_argument(
        "--repeats", type=int, help="of which the shortest counts, each model's own"
    )
    parser.add_argument("--memory", action="store_true", help="100 000 circuits in one call, first")
    parser.add_argument(
        "--shares", type=int, metavar="ROWS", help="prior draws to count defined features of: stg"
    )
    parser.add_argument("--out", type=Path, help="also write the lines here")
    options = parser.parse_args()
    for name in ("batch", "simulations", "repeats", "shares"):
        value = getattr(options, name)
        if value is not None and min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"--{name}: expected at least 1, got {value}")

    setting = _measure.machine("numba", "numpy")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("")
    for model in SUBJECTS if options.model == "all" else [options.model]:
        for line in measure(model, options):
            _measure.report({"model": model} | line | {"machine": setting}, options.out)


if __name__ == "__main__":
    main()
