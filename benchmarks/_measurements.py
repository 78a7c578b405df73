"""What is measured of a simulator, each a generator of JSON lines, in terms of a `Subject`."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _floor, _measure
from benchmarks._subject import Simulation, Subject

Lines = Iterator[dict[str, Any]]


@dataclass
class Bench:
    """A subject, the sizes of its measurements, and the times that later ones compare with."""

    subject: Subject
    batches: tuple[int, ...]
    gradient_batches: tuple[int, ...]
    simulations: int
    repeats: int
    numba_ns: float = np.nan  # a neuron-step
    best: tuple[float, int] = (np.inf, 0)  # ms a simulation of `protocol`, and at which batch

    @cached_property
    def protocol(self) -> Any:
        """What is simulated where the subject's whole protocol would take too long."""
        subject = self.subject
        return subject.protocol if subject.short is None else subject.short

    @property
    def rows(self) -> int:
        """Draws for shares and deviations."""
        return min(self.subject.rows, self.simulations)

    def calls(self, batch: int, rows: int, seed: int = 0) -> list[tuple[jax.Array, jax.Array]]:
        """Keys and thetas of at least `rows` simulations, `batch` a call, a call for each core."""
        threads = _measure.cores() if jax.default_backend() == "cpu" else 1
        calls = threads * -(-rows // (threads * batch))
        theta = jnp.asarray(self.subject.draw(calls * batch, seed), jnp.float32)
        keys = jax.random.split(jax.random.key(seed), (calls, batch))
        theta = theta.reshape(calls, batch, -1)
        return [jax.block_until_ready((keys[i], theta[i])) for i in range(calls)]

    def time(
        self, one: Simulation, batch: int, given: Any = None, rows: int | None = None
    ) -> tuple[float, Any]:
        """Milliseconds a simulation of one(key, theta, given); the compiled program."""
        given = jax.tree.map(jnp.asarray, self.protocol if given is None else given)
        inputs = self.calls(batch, rows or self.simulations)
        compiled = jax.jit(jax.vmap(one, (0, 0, None))).lower(*inputs[0], given).compile()
        run = _measure.on_all_cores(lambda i: compiled(*inputs[i], given), len(inputs))
        return 1e3 * _measure.seconds(run, self.repeats) / (len(inputs) * batch), compiled

    def line(self, what: str, batch: int, ms: float, compiled: Any, protocol: Any = None) -> dict:
        """Times and memory of simulations under a protocol."""
        protocol = self.protocol if protocol is None else protocol
        return {
            "what": what,
            "batch": batch,
            "simulated_ms": self.subject.milliseconds(protocol),
            "ms_per_simulation": ms,
            "ns_per_neuron_step": 1e6 * ms / self.subject.neuron_steps(protocol),
            "peak_bytes_per_call": _measure.peak_bytes(compiled),
        }


def speed(bench: Bench) -> Lines:
    """The Numba loop; ours at several batch sizes; ours and simulations per second at the best."""
    subject = bench.subject
    theta = subject.draw(min(subject.loop_rows, bench.simulations), 0)
    ms = 1e3 * _measure.seconds(lambda: subject.loop(theta), bench.repeats) / len(theta)
    bench.numba_ns = 1e6 * ms / subject.neuron_steps(subject.protocol)
    yield {
        "what": "numba, scalar loop, fastmath, all cores",
        "simulated_ms": subject.milliseconds(subject.protocol),
        "ms_per_simulation": ms,
        "ns_per_neuron_step": bench.numba_ns,
    }

    def beside(line):
        ratio = bench.numba_ns / line["ns_per_neuron_step"]
        return line | {"ratio": ratio, "ratio_to": "numba, per neuron-step"}

    for batch in bench.batches:
        ms, compiled = bench.time(subject.simulate, batch)
        bench.best = min(bench.best, (ms, batch))
        yield beside(bench.line("simulate", batch, ms, compiled))
    ms, batch = bench.best
    if subject.short is not None:
        ms, compiled = bench.time(subject.simulate, batch, subject.protocol, batch)
        yield beside(bench.line("simulate, whole", batch, ms, compiled, subject.protocol))
    yield {"what": "best batch", "batch": batch, "simulations_per_second": 1e3 / ms}


def scan(bench: Bench) -> Lines:
    """A plain `lax.scan` of the same step, with and without noise and features; the noise."""
    subject, (best, batch) = bench.subject, bench.best
    if subject.plain is not None:
        times = {}
        for noise, features in ((False, False), (True, False), (True, True)):

            def one(key, theta, protocol, noise=noise, features=features):
                return subject.plain(key, theta, protocol, noise=noise, features=features)

            ms, compiled = bench.time(one, batch)
            times[noise, features] = ms
            line = bench.line("plain lax.scan of the same step", batch, ms, compiled)
            line |= {"noise": noise, "features": features, "ratio": best / ms}
            yield line | {"ratio_to": "simulate at the best batch, as a multiple of this"}
        neuron, noisy = times[False, False], times[True, False]
    else:
        neuron, compiled = bench.time(subject.noiseless, batch)
        yield bench.line("the same operations but for random numbers", batch, neuron, compiled)
        noisy = best
    yield {
        "what": "noise",
        "batch": batch,
        "ms_per_simulation": noisy - neuron,
        "ratio": (noisy - neuron) / neuron,
        "ratio_to": "the neuron without it",
    }


def floor(bench: Bench) -> Lines:
    """The exponentials of the equations at the price of one in an array; what ours evaluates."""
    subject, (best, batch) = bench.subject, bench.best
    each = _floor.nanoseconds(bench.repeats)
    steps = subject.neuron_steps(bench.protocol)
    step, arguments, counted = subject.step()
    taken = {name: n / counted for name, n in _floor.elementary(step, *arguments).items()}
    least = 1e-6 * steps * subject.exponentials
    cached, large = least * each["exp in cache"], least * each["exp of 2^24"]
    line = {
        "what": "floor: exponentials of the equations",
        "per_neuron_step": subject.exponentials,
        "nanoseconds": each,
        "used": "exp in cache",
        "ms_per_simulation": cached,
        "ratio": best / cached,
        "ratio_to": "simulate at the best batch, as a multiple of this",
        "ms_per_simulation_by_2^24": large,
        "ratio_by_2^24": best / large,
        "taken_per_neuron_step": taken,
    }
    if best < max(cached, large):
        line["below"] = (
            "An array of 2^24 is limited by memory, a step's states stay in cache; and ours "
            "evaluates what taken_per_neuron_step says: rates share exponentials, and "
            "1 - exp(-x) is a polynomial (approach)."
        )
    yield line
    if subject.essential is not None:
        name, part = subject.essential
        ms, _ = bench.time(part, batch)
        yield {
            "what": f"floor: {name}",
            "batch": batch,
            "ms_per_simulation": ms,
            "ratio": best / ms,
            "ratio_to": "simulate at the best batch, as a multiple of this",
        }


def accuracy(bench: Bench) -> Lines:
    """float32 against float64 under the same noise, in sds of each feature over the prior."""
    subject, batch = bench.subject, bench.best[1]
    batch = batch if bench.rows % batch == 0 else bench.rows
    settings: dict[str, Callable] = {"drawn": lambda theta, protocol: (theta, protocol)}
    if subject.silent is not None:
        settings["zero"] = subject.silent
    for noise, quieten in settings.items():
        theta, protocol = quieten(subject.draw(bench.rows, 1), bench.protocol)
        found = []
        for double in (False, True):
            with jax.enable_x64(double):
                keys = jax.random.split(jax.random.key(1), bench.rows)
                x = _in_chunks(subject.simulate, batch, keys, jnp.asarray(theta, float), protocol)
                found.append(subject.columns(jax.device_get(x)))
        yield {
            "what": "float32 against float64, in prior sds",
            "noise": noise,
            "rows": bench.rows,
            "features": {name: _gap(found[0][name], x) for name, x in found[1].items()},
        }


@partial(jax.jit, static_argnums=(0, 1))
def _in_chunks(simulate, batch, keys, theta, protocol):
    return jax.lax.map(lambda row: simulate(*row, protocol), (keys, theta), batch_size=batch)


def _gap(single: np.ndarray, double: np.ndarray) -> dict[str, float]:
    """Deviation (root mean square over the columns) in sds over the rows."""
    finite = np.isfinite(single).all(1) & np.isfinite(double).all(1)
    same = np.isfinite(single) == np.isfinite(double)
    line = {"defined_share": float(finite.mean()), "same_definedness": float(same.all(1).mean())}
    if finite.any():
        single, double = single[finite], double[finite]
        if np.array_equal(double, np.round(double)):
            line["equal"] = float((single == double).all(1).mean())
        spread = double.std(0)
        gap = (single - double) / np.where(spread > 0, spread, 1)
        gap = np.sqrt(np.mean(gap**2, axis=1))
        line |= {"median": float(np.median(gap)), "p99": float(np.quantile(gap, 0.99))}
    return line


def agreement(bench: Bench) -> Lines:
    """The Numba loop computes what `simulate` does."""
    rows = min(bench.rows, 64)
    yield {"what": "numba against simulate", "rows": rows} | bench.subject.agreement(rows)


def memory(bench: Bench) -> Lines:
    """Peak of one call, by the compiler's account, at two lengths of simulated time."""
    if bench.subject.lengths is None:
        return
    batch, protocols = bench.subject.lengths
    peaks = []
    for protocol in protocols:
        peaks.append(_measure.peak_bytes(_compiled(bench.subject, batch, protocol)))
        yield {
            "what": "memory",
            "batch": batch,
            "simulated_ms": bench.subject.milliseconds(protocol),
            "peak_bytes_per_call": peaks[-1],
            "ratio": peaks[-1] / peaks[0],
            "ratio_to": "the shortest",
        }


def crowd(bench: Bench) -> Lines:
    """One call of very many simulations, done: the compiler's account and the device's."""
    if bench.subject.crowd is None:
        return
    batch, protocol = bench.subject.crowd
    compiled = _compiled(bench.subject, batch, protocol)
    theta = jnp.asarray(bench.subject.draw(batch, 0), jnp.float32)
    keys = jax.random.split(jax.random.key(0), batch)
    given = jax.tree.map(jnp.asarray, protocol)
    began = time.perf_counter()
    jax.block_until_ready(compiled(keys, theta, given))
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if (stats := jax.devices()[0].memory_stats()) is not None:
        used = stats["peak_bytes_in_use"]
    yield {
        "what": "memory of one call",
        "batch": batch,
        "simulated_ms": bench.subject.milliseconds(protocol),
        "peak_bytes_per_call": _measure.peak_bytes(compiled),
        "peak_bytes_of_process": used,  # on a GPU, on the device
        "seconds": seconds,
    }


def shares(bench: Bench, rows: int) -> Lines:
    """Shares of so many prior draws for which features are defined."""
    if bench.subject.shares is not None:
        yield {"what": "shares of prior draws"} | bench.subject.shares(rows)


def _compiled(subject: Subject, batch: int, protocol: Any) -> Any:
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
    theta = jax.ShapeDtypeStruct((batch, subject.draw(1, 0).shape[1]), jnp.float32)
    given = jax.tree.map(jnp.asarray, protocol)
    return jax.jit(jax.vmap(subject.simulate, (0, 0, None))).lower(keys, theta, given).compile()
