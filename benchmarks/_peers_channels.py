"""The ion channel under its five protocols as a scalar loop in Numba (float64, fastmath, all
cores), and as a plain scan.

Written for the comparison from the model's equations: noise in every sample, currents, maxima and
products with the basis taken on the way.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax import lax

from simulators import _clamped, _noise
from simulators import channels as model
from simulators._solve import GROUP


@numba.njit(fastmath=True, parallel=True)
def _run(theta, voltage, functions, dt, noise, x):
    sweeps, samples, count = functions.shape
    speed = 2.3**1.4
    for row in numba.prange(theta.shape[0]):
        a, b, c, d, e, f, g, h = theta[row]
        products = np.zeros(count)
        total, largest = 0.0, -math.inf
        for sweep in range(sweeps):
            v = voltage[sweep, 0] + noise * np.random.normal()
            m = 1 / (1 + math.exp(-a * v + b))
            for i in range(samples):
                if i > 0:
                    y = v - c
                    steady = 1 / (1 + math.exp(-a * v + b))
                    rate = (math.exp(-(e * y + f * y * y)) + math.exp(g * y + h * y * y)) / d
                    m = steady + (m - steady) * math.exp(max(-dt * speed * rate, -500.0))
                    v = voltage[sweep, i] + noise * np.random.normal()
                current = speed * m * (v + 86.7)
                largest = max(largest, current)
                total += current
                for k in range(count):
                    products[k] += current * functions[sweep, i, k]
        for k in range(count):
            x[row, k] = products[k] / largest
        x[row, count] = total / (largest * samples * sweeps)


def arguments(protocol) -> list[tuple]:
    """What the loop reads of each protocol, sweep by sweep."""
    return [
        (
            np.asarray(clamp.voltage, float),
            np.ascontiguousarray(np.asarray(functions).swapaxes(0, 1)),
            clamp.dt,
            float(protocol.noise),
        )
        for clamp, functions in zip(protocol.clamps, protocol.basis.functions, strict=True)
    ]


def channels(theta: np.ndarray, given: list[tuple]) -> np.ndarray:
    """Features (rows, 55) of each theta (rows, 8); `given`: the protocol's `arguments`."""
    theta = np.asarray(theta, float)
    parts = [np.empty((len(theta), given[0][1].shape[2] + 1)) for _ in given]
    for x, one in zip(parts, given, strict=True):
        _run(theta, *one, x)
    return np.concatenate(parts, axis=1)


def step(y, c):
    """One step of a gate whose commanded voltage is 0 mV."""
    return _clamped.SOLVER.update(_clamped.TERM, 0.0, 0.025, y, ((c,), 0.0))


def at_rest(theta) -> tuple:
    """State and constants of one channel, for `step`."""
    c = _constants(jnp.asarray(theta, jnp.float32), 0.0, 0.025)
    y = {name: jnp.float32(0) for name in ("v", "low", "m")}
    return y, c


def _constants(theta, noise, dt):
    a, b, c, d, e, f, g, h = theta
    return {
        "a": a, "b": b, "c": c, "e": e, "f": f, "g": g, "h": h, "noise": noise,
        "log_rate": jnp.log(_clamped.SPEED / d), "fastest": math.log(500 / dt),
    }  # fmt: skip


def plain(key, theta, protocol, *, noise: bool = True, features: bool = True):
    """The features, or the gates at the end: the same arithmetic in plain loops, without diffrax.

    Without noise no random words are drawn; without features no current is looked at.
    """
    words = tuple(_noise.key_words(key))
    streams = model._streams(protocol.clamps)
    parts = []
    for clamp, functions, stream in zip(
        protocol.clamps, protocol.basis.functions, streams, strict=True
    ):
        c = _constants(theta, protocol.noise, clamp.dt)
        parts.append(_sweeps(words, c, clamp, functions, stream, noise, features))
    return jnp.concatenate(parts)


def _sweeps(words, c, clamp, functions, stream, noise, features):
    steps, sweeps, block = clamp.samples - 1, clamp.sweeps, _clamped.BLOCK
    eight = _clamped.LANES
    lanes = sweeps if sweeps < eight // 2 else -(-sweeps // eight) * eight
    voltage = jnp.pad(clamp.voltage.T, [(0, -steps % block), (0, lanes - sweeps)], mode="edge")
    streams = jnp.arange(stream, stream + 2 * lanes, 2, dtype=jnp.uint32)

    def draw(first):
        return _clamped._draw(first, (c, words, None, streams)) if noise else ()

    def advance(carry, turn):
        y, drawn = carry
        first, command = turn
        ahead = draw(first + GROUP)
        given = _clamped._voltages(command, drawn, (c,)) if noise else command
        samples = []
        for q in range(GROUP):
            y = _clamped.SOLVER.update(_clamped.TERM, 0.0, clamp.dt, y, ((c,), given[q]))
            samples.append(_clamped._current(y))
        return (y, ahead), jnp.stack(samples) if features else ()

    watch = _clamped.Project(clamp.samples, sweeps, functions.shape[-1])

    def part(carry, turns):
        y, drawn, seen = carry
        (y, drawn), samples = lax.scan(advance, (y, drawn), turns)
        if features:
            samples = samples.reshape(block, lanes)
            seen = watch.block(seen, turns[0][0], samples, (None, None, None, None, functions))
        return (y, drawn, seen), None

    y = {"v": voltage[0], "low": jnp.zeros_like(voltage[0])}
    if noise:
        y["v"] = (
            y["v"]
            + c["noise"]
            * _noise.four(_clamped._draw(0, (c, words, None, streams + np.uint32(1))))[0]
        )
    y["m"] = _clamped._field(0, y, ((c,), None))["m"][0]
    current = _clamped._current(y)[:sweeps]
    firsts = jnp.arange(0, len(voltage) - 1, GROUP, dtype=jnp.int32)
    turns = (firsts, voltage[1:].reshape(-1, GROUP, lanes))
    turns = jax.tree.map(lambda a: a.reshape(-1, block // GROUP, *a.shape[1:]), turns)
    (y, _, seen), _ = lax.scan(part, (y, draw(0), watch.begin(y)), turns)
    if not features:
        return y["m"]
    products = seen.products + jnp.einsum("s,sk->k", current, functions[0], precision="highest")
    x = jnp.append(products, seen.total / clamp.voltage.size)
    return model._normalised(x, seen.maximum)
