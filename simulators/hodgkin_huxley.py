"""C dV/dt = −ḡ_Na m³h (V−E_Na) − ḡ_K n⁴ (V−E_K) − g_l (V−E_l) − ḡ_M p (V−E_K) + I(t) + σ η(t).

Single-compartment Hodgkin–Huxley neuron with an M current (Pospischil et al. 2008) as in Gonçalves
et al. 2020, eLife 9:e56261, figure 4. V [mV], t [ms], conductances [mS/cm²], currents [µA/cm²],
C = 1 µF/cm². Exponential Euler: V first, then the gates with the new V; σ N(0,1)/√dt is added to
the current in each step.

    simulate(key, theta, protocol) -> features (7,)      trace(key, theta, protocol) -> Trace
    features(trace) -> (7,), the same numbers

One neuron at a time; `jax.vmap` over keys, thetas and protocols. All features but the spike count,
whose gradient is zero, are differentiable in theta, in reverse mode and in bounded memory.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from ._gating import efun
from ._parameters import Parameter, as_theta, expect, nominal
from ._solve import Drive, ExponentialEuler, Relaxation, integrate, replay
from ._watch import FEATURES, Watch
from .stimuli import CurrentClamp as Protocol
from .stimuli import step

__all__ = [
    "DEFAULT",
    "FEATURES",
    "NOMINAL",
    "PARAMETERS",
    "Protocol",
    "Trace",
    "features",
    "simulate",
    "step",
    "trace",
]

E_NA, E_K, CAPACITANCE = 53.0, -107.0, 1.0
BLOCK = 120  # steps per block; no number depends on it beyond rounding

PARAMETERS = (
    Parameter("g_Na", "mS/cm²", 0.5, 80.0, 50.0),
    Parameter("g_K", "mS/cm²", 1e-4, 15.0, 5.0),
    Parameter("g_l", "mS/cm²", 1e-4, 0.6, 0.1),
    Parameter("g_M", "mS/cm²", 1e-4, 0.6, 0.07),
    Parameter("tau_max", "ms", 50.0, 3000.0, 600.0),
    Parameter("-V_T", "mV", 40.0, 90.0, 60.0),
    Parameter("sigma", "µA/cm²·√ms", 1e-4, 0.15, 0.1),
    Parameter("-E_l", "mV", 35.0, 100.0, 70.0),
)
NOMINAL = nominal(PARAMETERS)
# What can be simulated; 200 mV from V_T every gate has settled.
_LOWEST = np.array([-200.0 if p.unit == "mV" else 0.0 for p in PARAMETERS])
_HIGHEST = np.array([200.0 if p.unit == "mV" else np.inf for p in PARAMETERS])
# The time constant of the fastest gate, sodium's activation, where it is longest: at V_T + 21.6 mV.
# Away from there the gate is faster, but all closed or open, and a step finds it so.
FASTEST = 0.119  # ms
# 5·10⁻⁴ µA into a cylinder of 70 µm length and diameter: 3.248 µA/cm².
DEFAULT = step(5e-4 / (math.pi * 70e-4**2))


class Trace(eqx.Module):
    """Voltage (n,) [mV] at t = i·dt under a protocol; made by `trace`, or from a recording."""

    voltage: jax.Array
    protocol: Protocol

    @property
    def time(self) -> np.ndarray:
        """t = i·dt [ms], shape (n,)."""
        return self.protocol.time

    @property
    def current(self) -> jax.Array:
        """Injected current density [µA/cm²], shape (n,)."""
        return self.protocol.current


def _rates(v, c):
    """{gate: (steady state, rate [1/ms])} at voltage v, from the constants c of one neuron."""
    u = v - c["v_t"]
    # One exponential, w = e^{u/40}, serves all rates but a_h. Beyond ±200 mV every gate is settled.
    # The barrier keeps XLA from turning 1/w into another exponential.
    bounded = jnp.clip(u, -200, 200)
    w = jax.lax.optimization_barrier(jnp.exp(bounded / 40))
    w2 = w * w
    w4 = w2 * w2
    w8 = w4 * w4
    a_m = 0.32 * 4 * efun(-(u - 13) / 4, math.exp(13 / 4) / (w8 * w2))
    e = w8 * math.exp(-8)  # e^{(u − 40)/5}
    b_m = 0.28 * 5 * efun((u - 40) / 5, e)
    a_h = 0.128 * jnp.exp(-(bounded - 17) / 18)
    b_h = 4 * e / (1 + e)
    a_n = 0.032 * 5 * efun(-(u - 15) / 5, math.exp(3) / w8)
    b_n = 0.5 * math.exp(10 / 40) / w
    s = w2 * c["shift_p"]  # e^{(V + 35)/20}
    s2 = s * s
    return {
        "m": (a_m / (a_m + b_m), a_m + b_m),
        "h": (a_h / (a_h + b_h), a_h + b_h),
        "n": (a_n / (a_n + b_n), a_n + b_n),
        "p": (s2 / (1 + s2), (3.3 * s2 + 1) / (s * c["tau_max"])),
    }


def _field(t, y, args):
    """(steady state, rate) of V and gates; args = ((constants, …), injected current + noise)."""
    (c, *_), injected = args
    g_na, g_k = c["g_na"] * y["m"] ** 3 * y["h"], c["g_k"] * y["n"] ** 4
    g_m = c["g_m"] * y["p"]
    g = g_na + g_k + c["g_l"] + g_m
    drive = g_na * E_NA + (g_k + g_m) * E_K + c["leak"] + injected
    return {"v": (drive / g, g / CAPACITANCE)} | _rates(y["v"], c)


TERM = Relaxation(_field)
SOLVER = ExponentialEuler((("v",), ("m", "h", "n", "p")))


def _constants(theta, dt):
    g_na, g_k, g_l, g_m, tau_max, minus_v_t, sigma, minus_e_l = theta
    return {
        "g_na": g_na,
        "g_k": g_k,
        "g_l": g_l,
        "g_m": g_m,
        "tau_max": tau_max,
        "v_t": -minus_v_t,
        "leak": -g_l * minus_e_l,
        "shift_p": jnp.exp((35 - minus_v_t) / 20),
        "noise": sigma / math.sqrt(dt),
    }


def _initial(v0, c):
    return {"v": v0} | {name: steady for name, (steady, _) in _rates(v0, c).items()}


def _voltage(y):
    return y["v"]


def _current(first, length, args):
    return jax.lax.dynamic_slice_in_dim(args[2], first, length)


def _draw(first, args):
    return _noise.words(args[1], first)


def _injected(current, drawn, args):
    """I_{i−1} + σ z_i/√dt [µA/cm²] of GROUP steps."""
    noise = args[0]["noise"]
    return tuple(current[q] + noise * z for q, z in enumerate(_noise.four(drawn)))


def _as_protocol(protocol) -> Protocol:
    """The protocol as JAX arrays in the default precision; ValueError for anything else."""
    expect(
        "protocol",
        protocol,
        Protocol,
        "a hodgkin_huxley.Protocol",
        "step(amplitude, …) or Protocol(current, v0, t_on, t_off, dt)",
    )
    if protocol.current.ndim != 1:
        raise ValueError(
            f"protocol.current: expected shape (n,), got {protocol.current.shape}; "
            "use jax.vmap for a batch of protocols"
        )
    return jax.tree.map(lambda a: jnp.asarray(a, float), protocol)


def _prepare(key, theta, protocol):
    protocol = _as_protocol(protocol)
    if protocol.dt > FASTEST:
        raise ValueError(
            f"protocol.dt: expected at most {FASTEST} ms, the time constant of the fastest gate "
            f"(of sodium), got {protocol.dt:g}; 0.01 is usual"
        )
    return _noise.key_words(key), as_theta(theta, PARAMETERS, _LOWEST, _HIGHEST), protocol


def _run(key, theta, protocol, keep):
    c = _constants(theta, protocol.dt)
    steps = protocol.samples - 1
    current = jnp.pad(protocol.current, (0, -steps % BLOCK))
    return integrate(
        TERM,
        SOLVER,
        _initial(protocol.v0, c),
        (c, tuple(key), current),
        drive=Drive(_current, _draw, _injected),
        emit=_voltage,
        dt=protocol.dt,
        steps=steps,
        length=BLOCK,
        observer=Watch.of(protocol),
        keep=keep,
    )


@jax.jit
def _simulate(key, theta, protocol):
    return _run(key, theta, protocol, keep=False)[0].features()


@jax.jit
def _trace(key, theta, protocol):
    return _run(key, theta, protocol, keep=True)[1]


@jax.jit
def _features(voltage, protocol):
    return replay(Watch.of(protocol), {"v": voltage}, BLOCK).features()


def simulate(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> jax.Array:
    """x = features of one noisy run, shape (7,), streamed: no trace is kept.

    `key`: a threefry key; `theta`: (8,), see PARAMETERS. NaN marks an undefined feature (an empty
    window, a constant voltage). The spike count has zero gradient in theta. Raises ValueError for a
    negative conductance that can be looked at; inside jit or vmap such a row is NaN.
    """
    return _simulate(*_prepare(key, theta, protocol))


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> Trace:
    """V_i at t = i·dt, i = 0 … n − 1, of the run that `simulate` summarises."""
    key, theta, protocol = _prepare(key, theta, protocol)
    return Trace(_trace(key, theta, protocol), protocol)


def features(trace: Trace) -> jax.Array:
    """x of a trace, shape (7,): spike count; mean V for t < t_on; sd for 0.9 t_on ≤ t < t_on;
    mean, variance, skewness, kurtosis (not excess) for t_on < t < t_off; ddof 0 throughout.
    """
    expect("trace", trace, Trace, "a hodgkin_huxley.Trace", "Trace(voltage, protocol)")
    protocol = _as_protocol(trace.protocol)
    voltage = jnp.asarray(trace.voltage).astype(float)
    if voltage.shape != (protocol.samples,):
        raise ValueError(
            f"trace.voltage: expected shape ({protocol.samples},), one voltage per sample "
            f"of the protocol, got {voltage.shape}"
        )
    return _features(voltage, protocol)
