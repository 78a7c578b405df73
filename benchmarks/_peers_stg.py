"""The pyloric circuit as a scalar loop in Numba (float64, all cores), and as a plain scan.

Written for the comparison from the equations: exponential Euler, noise in each step; of the
features, only what costs time in every step is taken: spikes, and the ends of bursts.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax import lax

from benchmarks import _measure
from simulators import _noise, stg
from simulators import _stg_kinetics as kinetics


@numba.njit(fastmath=True, inline="always")
def _s(v, a, b):
    return 1 / (1 + math.exp((v + a) / b))


@numba.njit(fastmath=True, inline="always")
def _k(v, a, b, c, d):
    return 1 / (math.exp((v + a) / b) + math.exp((v + c) / d))


@numba.njit(fastmath=True)
def _kinetics(v, ca, steady, tau):
    steady[0], tau[0] = _s(v, 25.5, -5.29), 2.64 - 2.52 * _s(v, 120, -25)
    steady[1] = _s(v, 48.9, 5.18)
    tau[1] = 1.34 * _s(v, 62.9, -10) * (1.5 + _s(v, 34.9, 3.6))
    steady[2], tau[2] = _s(v, 27.1, -7.2), 43.4 - 42.6 * _s(v, 68.1, -20.5)
    steady[3], tau[3] = _s(v, 32.1, 5.5), 210 - 179.6 * _s(v, 55, -16.9)
    steady[4], tau[4] = _s(v, 33, -8.1), 2.8 + 14 * _k(v, 27, 10, 70, -13)
    steady[5], tau[5] = _s(v, 60, 6.2), 120 + 300 * _k(v, 55, 9, 65, -16)
    steady[6], tau[6] = _s(v, 27.2, -8.7), 23.2 - 20.8 * _s(v, 32.9, -15.2)
    steady[7], tau[7] = _s(v, 56.9, 4.9), 77.2 - 58.4 * _s(v, 38.9, -26.5)
    steady[8] = ca / (ca + 3) * _s(v, 28.3, -12.6)
    tau[8] = 180.6 - 150.2 * _s(v, 46, -22.7)
    steady[9], tau[9] = _s(v, 12.3, -11.8), 14.4 - 12.8 * _s(v, 28.3, -19.2)
    steady[10] = _s(v, 75, 5.5)
    tau[10] = 2 / (math.exp(-14.59 - 0.086 * v) + math.exp(-1.87 + 0.0701 * v))


@numba.njit(fastmath=True, parallel=True)
def _run(theta, steps, dt, sd, counts, last):
    area, capacitance = 0.628e-3, 0.6283e-3
    pre = np.array([0, 0, 0, 0, 1, 1, 2])
    post = np.array([1, 1, 2, 2, 0, 2, 1])
    reversal = np.array([-70.0, -80, -70, -80, -70, -70, -70])
    slow = np.array([40.0, 100, 40, 100, 40, 40, 40])
    for row in numba.prange(theta.shape[0]):
        g = theta[row, :24].copy().reshape(3, 8) * area
        gs = np.exp(theta[row, 24:])
        v, old, older = np.full(3, -50.0), np.full(3, -50.0), np.full(3, -50.0)
        ca, x, s = np.full(3, 0.05), np.zeros((3, 11)), np.zeros(7)
        steady, tau = np.empty(11), np.empty(11)
        total, drive = np.empty(3), np.empty(3)
        latest = np.full(3, -(10**9))
        for i in range(steps):
            for n in range(3):
                total[n] = drive[n] = 0.0
            for j in range(7):
                c = gs[j] * s[j]
                total[post[j]] += c
                drive[post[j]] += c * reversal[j]
                bar = _s(v[pre[j]], 35, -5)
                t = slow[j] * (1 - bar)
                s[j] = bar if dt > t else s[j] + dt * (bar - s[j]) / t
            for n in range(3):
                y = x[n]
                e_ca = 8314.51 * 283 / (2 * 96485.3415) * math.log(3000 / ca[n])
                na = g[n, 0] * y[0] ** 3 * y[1]
                cat, cas = g[n, 1] * y[2] ** 3 * y[3], g[n, 2] * y[4] ** 3 * y[5]
                a, kca, kd = g[n, 3] * y[6] ** 3 * y[7], g[n, 4] * y[8] ** 4, g[n, 5] * y[9] ** 4
                h, leak = g[n, 6] * y[10], g[n, 7]
                total[n] += na + cat + cas + a + kca + kd + h + leak + 1e-20
                drive[n] += na * 50 + (cat + cas) * e_ca - (a + kca + kd) * 80 - h * 20 - leak * 50
                drive[n] += sd * np.random.normal()
                current = (cat + cas) * (v[n] - e_ca)
                _kinetics(v[n], ca[n], steady, tau)
                for q in range(11):
                    y[q] = steady[q] + (y[q] - steady[q]) * math.exp(-dt / tau[q])
                ca_bar = 0.05 - 14961 * current
                ca[n] = ca_bar + (ca[n] - ca_bar) * math.exp(-dt / 200)
                bar = drive[n] / total[n]
                older[n], old[n] = old[n], v[n]
                v[n] = bar + (v[n] - bar) * math.exp(-dt * total[n] / capacitance)
                if old[n] > -10 and old[n] >= older[n] and old[n] >= v[n]:
                    if i - latest[n] >= 6000:
                        counts[row, n] += 1
                    latest[n] = i
        last[row] = v


def in_numba(theta: np.ndarray, steps: int, dt: float = 0.025, sd: float = 0.001):
    """(bursts, dropped ones too, and V at the end), each (rows, 3), of theta (rows, 31)."""
    counts, last = np.zeros((len(theta), 3), np.int64), np.empty((len(theta), 3))
    _run(np.ascontiguousarray(theta, float), steps, dt, sd, counts, last)
    return counts, last


def plain(key, theta, protocol, *, noise: bool = True, features: bool = True):
    """V (3,) at the end, or the features: the same arithmetic in plain loops, without diffrax.

    Without noise no random words are drawn; without features nothing is observed.
    """
    c = kinetics.constants(theta, jnp.asarray(protocol.temperature, float))
    c["noise"] = protocol.noise / kinetics.CAPACITANCE
    words = tuple(_noise.key_words(key))
    rhythm = stg.Rhythm.of(protocol.start, protocol.samples, protocol.dt, False)

    def one(carry, index):
        y, seen, (now, *later) = carry
        new = stg.SOLVER.update(stg.TERM, 0.0, protocol.dt, y, ((c,), now))
        if features:
            seen = rhythm.sample(seen, index, y, new)
        return (new, seen, (*later, now)), None

    def advance(carry, first):
        y, seen, drawn = carry
        ahead, inputs = drawn, ((0.0,) * 3,) * 4
        if noise:
            ahead = stg._draw(first + 4, (c, words))
            inputs = stg._injected((), drawn, (c,))
        index = first + 1 + jnp.arange(4, dtype=jnp.int32)
        (y, seen, _), _ = lax.scan(one, (y, seen, tuple(inputs)), index)
        return (y, seen, ahead), None

    def stretch(carry, firsts):
        y, seen, drawn = carry
        seen = rhythm.open(seen, y) if features else seen
        (y, seen, drawn), _ = lax.scan(advance, (y, seen, drawn), firsts)
        return (y, rhythm.close(seen) if features else seen, drawn), None

    y = kinetics.initial(theta.dtype)
    size = stg.STRETCH
    firsts = jnp.arange(0, -(-(protocol.samples - 1) // size) * size, 4, dtype=jnp.int32)
    seen = rhythm.begin(y) if features else ()
    drawn = stg._draw(0, (c, words)) if noise else ()
    (y, seen, _), _ = lax.scan(stretch, (y, seen, drawn), firsts.reshape(-1, size // 4))
    return rhythm.summary(seen, protocol.dt)[0] if features else stg._voltage(y)


def defined(rows: int, batch: int = 128, seed: int = 0) -> dict[str, Any]:
    """Shares of prior draws that have all features, a period, each burst duration; pyloric ones."""
    calls = -(-rows // batch)
    theta = _measure.uniform_draws(stg.PARAMETERS, calls * batch, seed)
    theta = jnp.asarray(theta, jnp.float32).reshape(calls, batch, -1)
    keys = jax.random.split(jax.random.key(seed), (calls, batch))
    run = jax.jit(jax.vmap(stg.outcome))
    out = _measure.on_all_cores(lambda i: run(keys[i], theta[i]), calls)()
    x = np.concatenate([np.asarray(o.features) for o in out])[:rows]
    pyloric = np.concatenate([np.asarray(o.pyloric) for o in out])[:rows]
    finite = np.isfinite(x)
    return {
        "rows": rows,
        "all features": float(finite.all(1).mean()),
        "period": float(finite[:, 0].mean()),
        "burst durations": finite[:, 1:4].mean(0).tolist(),
        "pyloric": float(pyloric.mean()),
    }
