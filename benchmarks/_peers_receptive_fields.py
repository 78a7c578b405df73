"""The two receptive-field models as scalar loops in Numba: fastmath, all cores, noise included.

Written for the comparison from the models' equations. Beside them, parts of our own simulations.
"""

from __future__ import annotations

import math

import jax
import numba
import numpy as np

from simulators import gabor as gabor_model
from simulators import glm as glm_model


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


@numba.njit(fastmath=True)
def _field(cell, side, out):
    gain, phi, f, alpha, gamma, b, x0, y0 = cell[1:]
    power = 2.0**b
    sigma = math.sqrt(2 * math.log(2)) / (2 * math.pi * f) * (power + 1) / (power - 1)
    norm = 0.5 + math.exp(-((2 * math.pi * f * sigma) ** 2)) * math.cos(2 * phi)
    step = 2 / (side - 1)
    scale = gain / math.sqrt(math.pi * sigma**2 / gamma * norm / step**2)
    c, s = math.cos(alpha), math.sin(alpha)
    for row in range(side):
        for column in range(side):
            x, y = column * step - 1 - x0, row * step - 1 - y0
            u, v = x * c - y * s, gamma * (x * s + y * c)
            value = math.exp(-(u * u + v * v) / (2 * sigma**2))
            out[row * side + column] = scale * value * math.cos(2 * math.pi * f * u - phi)


@numba.njit(fastmath=True, parallel=True)
def _gabor(cells, frames, side, sta, count):
    n, pixels = frames.shape
    for row in numba.prange(cells.shape[0]):
        field = np.empty(pixels, np.float32)
        _field(cells[row], side, field)
        base = 0.025 * math.exp(cells[row, 0])
        spikes = 0
        for t in range(n):
            z = np.float32(0)
            for p in range(pixels):
                z += field[p] * frames[t, p]
            y = np.random.poisson(base * math.exp(min(z, np.float32(4))))
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


def gabor(cells: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """STA (rows, pixels) and count (rows,) of constrained parameters (rows, 9).

    `frames`: the video (n, side, side) in float32. The products with it are in float32 too, the
    loop's fastest; every run reads the whole video.
    """
    n, side, _ = frames.shape
    cells = np.asarray(cells, float)
    sta, count = np.zeros((len(cells), side * side), np.float32), np.empty(len(cells))
    _gabor(cells, frames.reshape(n, -1), side, sta, count)
    return sta, count


def glm_mean(key, theta, protocol):
    """E x, by the operations of `glm.simulate` but for its random numbers."""
    return glm_model._project(
        protocol.design, jax.nn.sigmoid(glm_model._drive(theta, protocol.design))
    )


def gabor_mean(key, theta, protocol):
    """x of the expected counts, by the operations of `gabor.simulate` but for random numbers."""
    cell = gabor_model.constrain(theta)
    rate = gabor_model._rate(cell, gabor_model._drive(cell, protocol.frames))
    return gabor_model._summary(rate, protocol.frames)


def gabor_products(key, theta, protocol):
    """The two products of a simulation with the video, and nothing between them."""
    drive = gabor_model._drive(gabor_model.constrain(theta), protocol.frames)
    return gabor_model._summary(drive, protocol.frames)
