"""Channels under short protocols, and their currents in NumPy from the published equations."""

import numpy as np

from simulators import channels
from simulators.voltage_clamp import Clamp


def near_nominal(n, seed=0):
    """Channels that open within the short protocols below."""
    spread = np.random.default_rng(seed).uniform(0.6, 1.6, (n, 8))
    return channels.NOMINAL * spread * [1, 1, 1, 0.1, 1, 1, 1, 1]


def short_clamps():
    """A step family of three sweeps and a ramp, for some ms each."""
    steps = np.full((3, 403), -80.0)
    steps[:, 50:300] = np.array([-20.0, 10.0, 50.0])[:, None]
    ramp = -80 + 130 * (1 - np.abs(np.linspace(-1, 1, 250)))
    return (Clamp(steps, 0.05, "steps"), Clamp(ramp[None], 0.1, "ramp"))


def short_protocol():
    """The short clamps with a basis of twenty channels."""
    clamps = short_clamps()
    return channels.Protocol(clamps, channels.fit_basis(near_nominal(20, seed=9), clamps))


def currents(theta, clamp):
    """Normalised currents (sweeps, n) without noise, from the equations as they are published."""
    a, b, c, d, e, f, g, h = np.asarray(theta, float)
    v = np.asarray(clamp.voltage, float)
    y = v - c
    with np.errstate(over="ignore"):
        rate = (np.exp(-(e * y + f * y * y)) + np.exp(g * y + h * y * y)) / d
    keep = np.exp(np.maximum(-clamp.dt * 2.3**1.4 * rate, -500))
    steady = 1 / (1 + np.exp(-a * v + b))
    m = np.empty_like(v)
    m[:, 0] = steady[:, 0]
    for i in range(1, v.shape[1]):
        m[:, i] = steady[:, i - 1] + (m[:, i - 1] - steady[:, i - 1]) * keep[:, i - 1]
    current = 2.3**1.4 * m * (v + 86.7)
    return current / current.max()
