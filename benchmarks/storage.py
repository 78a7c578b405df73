"""Stores and streams: what writing costs, how fast a stream trains, how much memory it takes.

    python benchmarks/storage.py --out storage.jsonl

writing: a Hodgkin–Huxley campaign into memory and into a store, in turns; the cost is the median
ratio of wall times of two neighbours, less 1, for the machine's speed drifts. streaming: rows
trained on per second, from the store and in memory, validation included and compilation apart.
large: rows of 31 + 18 floats simulated into a store and trained on for one epoch, with the
process's peak memory; run it alone, since the peak is that of all that came before.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import resource
import sys
import tempfile
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
from simulators import hodgkin_huxley as hh

DIM, FEATURES = 31, 18
PACKAGES = ("zarr", "numcodecs", "orbax-checkpoint")
ESTIMATOR = jaxsbi.maf(layers=5, hidden=(50, 50))


def wide(key: jax.Array, theta: jax.Array) -> jax.Array:
    """Eighteen noisy sums of pairs of 31 parameters: next to nothing to simulate."""
    return theta[:FEATURES] + theta[-FEATURES:] + 0.1 * jax.random.normal(key, (FEATURES,))


PRIOR = jaxsbi.box(-np.ones(DIM), np.ones(DIM))


def writing(folder: Path, rows: int, repeats: int) -> dict[str, Any]:
    prior, key = jaxsbi.box(hh.PARAMETERS), jax.random.key(0)

    def seconds(**where: Any) -> float:
        began = time.perf_counter()
        jax.block_until_ready(
            jax.tree.leaves(jaxsbi.simulate(key, hh.simulate, prior, rows, **where))
        )
        return time.perf_counter() - began

    seconds()
    seconds(store=folder / "first")
    pairs = [(seconds(), seconds(store=folder / f"{i}")) for i in range(repeats)]
    memory, store = np.median(pairs, axis=0).tolist()
    cost = float(np.median([store / memory for memory, store in pairs])) - 1
    return {
        "rows": rows, "memory_seconds": memory, "store_seconds": store, "cost": cost,
        "rows_per_second": rows / store, "pairs": pairs,
    }  # fmt: skip


def streaming(folder: Path, rows: int, epochs: int) -> dict[str, Any]:
    store = jaxsbi.simulate(jax.random.key(0), wide, PRIOR, rows, store=folder / "wide")
    found: dict[str, Any] = {"rows": rows, "epochs": epochs}
    for name, memory in (("memory", 1 << 40), ("stream", 0)):
        (done,) = _fit(store, epochs, memory).history.rounds
        found[f"{name}_rows_per_second"] = rows * epochs / done.train_seconds
        found[f"{name}_loss"] = done.best_loss
    found["ratio"] = found["stream_rows_per_second"] / found["memory_rows_per_second"]
    return found


def large(folder: Path, rows: int, epochs: int) -> dict[str, Any]:
    began = time.perf_counter()
    store = jaxsbi.simulate(
        jax.random.key(0), wide, PRIOR, rows, store=folder / "large", batch=8192, progress=True
    )
    simulated = time.perf_counter()
    found = {
        "rows": rows, "row_bytes": store.row_bytes, "epochs": epochs,
        "simulate_seconds": simulated - began, "simulate_peak_bytes": _peak(),
        "stored_bytes": sum(p.stat().st_size for p in (folder / "large").rglob("*") if p.is_file()),
    }  # fmt: skip
    (done,) = _fit(store, epochs, 0).history.rounds
    return {
        **found, "fit_seconds": time.perf_counter() - simulated,
        "train_seconds": done.train_seconds,
        "rows_per_second": rows * epochs / done.train_seconds, "loss": done.best_loss,
        "peak_bytes": _peak(),
    }  # fmt: skip


def _fit(store: Any, epochs: int, memory: int) -> Any:
    training = jaxsbi.Training(max_epochs=epochs, anneal=1, batch_size=1000)
    return jaxsbi.fit(
        jax.random.key(1), store=store, memory=memory, estimator=ESTIMATOR, training=training
    )


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    tasks: dict[str, Callable[[Path], dict[str, Any]]] = {
        "writing": lambda folder: writing(folder, arguments.rows, arguments.repeats),
        "streaming": lambda folder: streaming(folder, arguments.stream_rows, arguments.epochs),
        "large": lambda folder: large(folder, arguments.large_rows, 1),
    }
    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            found = tasks[name](Path(folder))
        yield {
            "benchmark": "storage",
            "part": name,
            **found,
            "machine": _measure.machine(*PACKAGES),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["writing", "streaming"],
                        choices=["writing", "streaming", "large"])  # fmt: skip
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the neuron's campaign")
    parser.add_argument("--repeats", type=int, default=7, help="campaigns of each kind")
    parser.add_argument("--stream-rows", type=int, default=300_000)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of the streaming part")
    parser.add_argument("--large-rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where stores are made (default: temporary)")
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file too")
    arguments = parser.parse_args()
    for line in measure(arguments):
        _measure.report(line, arguments.out)


if __name__ == "__main__":
    main()
