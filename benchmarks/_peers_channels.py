"""The ion channel under its five protocols as a scalar loop in Numba: float64, fastmath, all cores.

Written for the comparison from the model's equations: noise in every sample, currents, maxima and
products with the basis taken on the way.
"""

from __future__ import annotations

import math

import numba
import numpy as np


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
