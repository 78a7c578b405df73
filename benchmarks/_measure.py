"""Time per run, memory of a compiled program, and a description of the machine and its software."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.runs import processor


def machine(*packages: str) -> dict[str, Any]:
    """Processor, cores, device, Python, the versions of JAX, diffrax, equinox and `packages`, and
    the commit that ran."""
    names = ("jax", "jaxlib", "diffrax", "equinox", *packages)
    return {
        "cpu": processor(),
        "cores": cores(),
        "load": round(os.getloadavg()[0], 2),
        "device": str(jax.devices()[0]),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
        "commit": _commit(),
    }


def report(line: dict[str, Any], path: Path | None) -> None:
    """Print a measurement as a line of JSON, and append it to a file if there is one."""
    text = json.dumps(line)
    print(text, flush=True)
    if path:
        with path.open("a") as file:
            file.write(text + "\n")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Of this checkout, with a + where files differ from it; None outside of one."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def uniform_draws(parameters: Sequence[Any], rows: int, seed: int = 0) -> np.ndarray:
    """θ (rows, d), uniform between the bounds of a model's PARAMETERS."""
    low, high = (np.array([getattr(p, side) for p in parameters]) for side in ("low", "high"))
    return np.random.default_rng(seed).uniform(low, high, (rows, len(low)))


def seconds(run: Callable[[], Any], repeats: int = 5) -> float:
    """The shortest of `repeats` wall times of a run, its results awaited, after one to warm up."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return min(times)


def on_all_cores(run: Callable[[int], Any], calls: int) -> Callable[[], list[Any]]:
    """A function that does `run(0)` … `run(calls − 1)`, on CPU with one thread per core."""
    threads = cores() if jax.default_backend() == "cpu" else 1

    def everything() -> list[Any]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda i: jax.block_until_ready(run(i)), range(calls)))

    return everything


def peak_bytes(compiled: Any) -> int:
    """Arguments, results and temporaries of one call of a compiled program."""
    m = compiled.memory_analysis()
    return m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
