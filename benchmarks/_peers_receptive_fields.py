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
