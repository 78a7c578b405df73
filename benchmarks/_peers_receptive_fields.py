"""The two receptive-field models as scalar loops in Numba: fastmath, all cores, noise included.

Written for the comparison from the models' equations.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(fastmath=True, parallel=True)
def _glm(theta, u, x):
    lags = theta.shape[1] - 1
    for row in numba.prange(theta.shape[0]):
        for j in range(lags + 1):
            x[row, j] = 0.0
        for t in range(u.shape[0]):
            psi = theta[row, 0]
            for j in range(min(lags, t + 1)):
                psi += theta[row, 1 + j] * u[t - j]
            if np.random.random() * (1 + math.exp(-psi)) < 1:
                x[row, 0] += 1
                for j in range(min(lags, t + 1)):
                    x[row, 1 + j] += u[t - j]


def glm(theta: np.ndarray, protocol) -> np.ndarray:
    """Features (rows, 10) of each theta (rows, 10), in float64."""
    theta = np.asarray(theta, float)
    x = np.empty_like(theta)
    _glm(theta, np.asarray(protocol.stimulus, float), x)
    return x


@numba.njit(fastmath=True, parallel=True)
def _gabor(cells, fields, frames, clip, dt, sta, count):
    n, pixels = frames.shape
    for row in numba.prange(cells.shape[0]):
        base = dt * math.exp(cells[row, 0])
        spikes = 0
        for t in range(n):
            z = np.float32(0)
            for p in range(pixels):
                z += fields[row, p] * frames[t, p]
            y = np.random.poisson(base * math.exp(min(z, clip)))
            if y > 0:
                spikes += y
                for p in range(pixels):
                    sta[row, p] += y * frames[t, p]
        mean = 0.0
        for p in range(pixels):
            sta[row, p] /= max(spikes, 1)
            mean += sta[row, p] / pixels
        for p in range(pixels):
            sta[row, p] -= mean
        count[row] = spikes


def gabor(theta: np.ndarray, protocol) -> tuple[np.ndarray, np.ndarray]:
    """STA (rows, pixels) and count (rows,) of each theta (rows, 9).

    The video and the products with it are in float32, which is the loop's fastest: it reads the
    whole video for every run.
    """
    from simulators import gabor as model

    cells = np.asarray(model.constrain(theta), float)
    rows, columns = protocol.frames.shape[1:]
    fields = np.stack([model.receptive_field(c, rows, columns) for c in cells]).astype(np.float32)
    frames = np.asarray(protocol.frames, np.float32).reshape(len(protocol.frames), -1)
    sta, count = np.zeros((len(theta), rows * columns), np.float32), np.empty(len(theta))
    _gabor(cells, fields.reshape(len(theta), -1), frames, model.CLIP, model.DT, sta, count)
    return sta, count
