"""The Hodgkin–Huxley neuron as a scalar loop in Numba: float64, fastmath, all cores.

Written for the comparison from the model's equations: exponential Euler, noise in each step, the
seven features taken on the way (power sums about the resting potential).
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(fastmath=True)
def _efun(z):
    return 1 - z / 2 if abs(z) < 1e-4 else z / (math.exp(z) - 1)


@numba.njit(fastmath=True, parallel=True)
def _run(theta, current, v0, on, off, rest, dt, x):
    for row in numba.prange(theta.shape[0]):
        g_na, g_k, g_l, g_m, tau_max, v_t, sigma, e_l = theta[row]
        v_t, e_l = -v_t, -e_l
        scale = sigma / math.sqrt(dt)
        gap = int(0.5 / dt + 1e-6)
        v = v0
        m = h = n = p = 0.0
        before, older = v0, math.inf
        last, count = -gap - 1, 0
        n1 = n2 = n4 = 0
        a1 = b1 = b2 = s1 = s2 = s3 = s4 = 0.0
        for i in range(current.shape[0]):
            if i > 0:
                na, k, mm = g_na * m * m * m * h, g_k * n * n * n * n, g_m * p
                g = na + k + g_l + mm
                drive = na * 53 - (k + mm) * 107 + g_l * e_l + current[i - 1]
                drive += scale * np.random.normal()
                v_inf = drive / g
                v = v_inf + (v - v_inf) * math.exp(-dt * g)
            u = v - v_t
            a_m, b_m = 1.28 * _efun(-(u - 13) / 4), 1.4 * _efun((u - 40) / 5)
            a_h, b_h = 0.128 * math.exp(-(u - 17) / 18), 4 / (1 + math.exp(-(u - 40) / 5))
            a_n, b_n = 0.16 * _efun(-(u - 15) / 5), 0.5 * math.exp(-(u - 10) / 40)
            p_inf = 1 / (1 + math.exp(-(v + 35) / 10))
            r_p = (3.3 * math.exp((v + 35) / 20) + math.exp(-(v + 35) / 20)) / tau_max
            m_inf, h_inf, n_inf = a_m / (a_m + b_m), a_h / (a_h + b_h), a_n / (a_n + b_n)
            if i == 0:
                m, h, n, p = m_inf, h_inf, n_inf, p_inf
            else:
                m = m_inf + (m - m_inf) * math.exp(-dt * (a_m + b_m))
                h = h_inf + (h - h_inf) * math.exp(-dt * (a_h + b_h))
                n = n_inf + (n - n_inf) * math.exp(-dt * (a_n + b_n))
                p = p_inf + (p - p_inf) * math.exp(-dt * r_p)
            d = v - v0
            if i < on:
                a1 += d
                n1 += 1
                if i >= rest:
                    b1 += d
                    b2 += d * d
                    n2 += 1
            elif on < i < off:
                s1 += d
                s2 += d * d
                s3 += d * d * d
                s4 += d * d * d * d
                n4 += 1
            if on < i - 1 < off and older <= before and before > v and before > -10:
                if i - 1 - last > gap:
                    count += 1
                last = i - 1
            older, before = before, v
        a = s1 / n4
        m2 = s2 / n4 - a * a
        m3 = s3 / n4 - 3 * a * s2 / n4 + 2 * a**3
        m4 = s4 / n4 - 4 * a * s3 / n4 + 6 * a * a * s2 / n4 - 3 * a**4
        x[row, 0] = count
        x[row, 1] = v0 + a1 / n1
        x[row, 2] = math.sqrt(max(b2 / n2 - (b1 / n2) ** 2, 0.0))
        x[row, 3] = v0 + a
        x[row, 4] = m2
        x[row, 5] = m3 / m2**1.5
        x[row, 6] = m4 / (m2 * m2)


def hodgkin_huxley(theta: np.ndarray, protocol) -> np.ndarray:
    """Features (rows, 7) of each theta (rows, 8) under a step or recorded protocol."""
    x = np.empty((len(theta), 7))
    on, off = (int(round(float(t) / protocol.dt)) for t in (protocol.t_on, protocol.t_off))
    rest = int(round(0.9 * float(protocol.t_on) / protocol.dt))
    current = np.asarray(protocol.current, float)
    theta = np.asarray(theta, float)
    _run(theta, current, float(protocol.v0), on, off, rest, protocol.dt, x)
    return x
