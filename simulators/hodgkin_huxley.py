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
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _moments, _noise, spikes
from ._gating import efun
from ._parameters import Feature, Parameter, as_theta, nominal
from ._solve import GROUP, Drive, ExponentialEuler, Observer, Relaxation, integrate
from .stimuli import CurrentClamp as Protocol
from .stimuli import after, at_or_after, step

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
SPIKE_THRESHOLD, DEAD_TIME = -10.0, 0.5  # mV, ms
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
FEATURES = (
    Feature("spike count", ""),
    Feature("resting mean", "mV"),
    Feature("resting sd", "mV"),
    Feature("mean", "mV"),
    Feature("variance", "mV²"),
    Feature("skewness", ""),
    Feature("kurtosis", ""),
)
NOMINAL = nominal(PARAMETERS)
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


class Seen(NamedTuple):
    """What the features are made of: spikes; moments before t_on, just before it, and in between.

    `sums` are those of the current block, for the three windows.
    """

    spikes: spikes.SpikeCount
    moments: tuple[_moments.Moments, ...]
    sums: tuple[_moments.Sums, ...]


ORDERS = (1, 2, 4)  # moments needed before t_on, just before it, and between t_on and t_off


class Watch(Observer):
    """The seven features of a voltage, streamed; windows are numbers of samples."""

    rest: jax.Array  # first sample with t ≥ 0.9 t_on
    on: jax.Array  # first sample with t ≥ t_on
    start: jax.Array  # first sample with t > t_on
    stop: jax.Array  # first sample with t ≥ t_off, at most n
    dead_time: int = eqx.field(static=True)

    @classmethod
    def of(cls, protocol: Protocol) -> "Watch":
        dt = protocol.dt
        t_on, t_off = protocol.t_on, protocol.t_off
        return cls(
            rest=at_or_after(0.9 * t_on, dt),
            on=at_or_after(t_on, dt),
            start=after(t_on, dt),
            stop=jnp.minimum(at_or_after(t_off, dt), protocol.samples),
            dead_time=int(math.floor(DEAD_TIME / dt + 1e-6)),
        )

    def windows(self, index):
        """Whether sample `index` lies in each of the three windows."""
        early = index < self.on
        during = (index >= self.start) & (index < self.stop)
        return early, early & (index >= self.rest), during

    def begin(self, y):
        moments = tuple(_moments.one(y["v"], w) for w in self.windows(jnp.int32(0)))
        return self.open(Seen(spikes.begin(self.dead_time), moments, ()), y)

    def open(self, seen, y):
        return seen._replace(sums=tuple(_moments.start(y["v"], k) for k in ORDERS))

    def sample(self, seen, index, before, after):
        windows = self.windows(index)
        counted = spikes.count(
            seen.spikes,
            before["v"],
            after["v"],
            self.windows(index - 1)[2],
            threshold=SPIKE_THRESHOLD,
            dead_time=self.dead_time,
        )
        sums = tuple(
            _moments.add(s, after["v"], w) for s, w in zip(seen.sums, windows, strict=True)
        )
        return seen._replace(spikes=counted, sums=sums)

    def close(self, seen):
        new = zip(seen.moments, seen.sums, strict=True)
        return seen._replace(moments=tuple(_moments.merge(m, _moments.central(s)) for m, s in new))


def _summary(seen: Seen):
    before, rest, m = seen.moments
    return jnp.stack(
        [
            seen.spikes.count.astype(m.m2.dtype),
            _moments.mean(before),
            _moments.deviation(rest),
            _moments.mean(m),
            _moments.variance(m),
            _moments.skewness(m),
            _moments.kurtosis(m),
        ]
    )


def _as_protocol(protocol) -> Protocol:
    """The protocol as JAX arrays in the default precision; ValueError for anything else."""
    if not isinstance(protocol, Protocol):
        raise ValueError(
            f"protocol: expected a hodgkin_huxley.Protocol, got {type(protocol).__name__}; "
            "make one with step(amplitude, …) or Protocol(current, v0, t_on, t_off, dt)"
        )
    if protocol.current.ndim != 1:
        raise ValueError(
            f"protocol.current: expected shape (n,), got {protocol.current.shape}; "
            "use jax.vmap for a batch of protocols"
        )
    return jax.tree.map(lambda a: jnp.asarray(a, float), protocol)


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
    return _summary(_run(key, theta, protocol, keep=False)[0])


@jax.jit
def _trace(key, theta, protocol):
    return _run(key, theta, protocol, keep=True)[1]


@jax.jit
def _features(voltage, protocol):
    watch, steps = Watch.of(protocol), protocol.samples - 1
    tail = jnp.pad(voltage[1:], (0, -steps % BLOCK), mode="edge").reshape(-1, BLOCK)

    def block(carry, samples):
        seen, number, last = carry

        def sample(carry, given):
            seen, before = carry
            return (watch.sample(seen, given[0], {"v": before}, {"v": given[1]}), given[1]), None

        index = number + jnp.arange(BLOCK, dtype=jnp.int32)
        seen = watch.open(seen, {"v": last})
        (seen, last), _ = jax.lax.scan(sample, (seen, last), (index, samples))
        return (watch.close(seen), number + BLOCK, last), None

    seen = watch.begin({"v": voltage[0]})
    (seen, _, _), _ = jax.lax.scan(block, (seen, jnp.int32(1), voltage[0]), tail)
    return _summary(seen)


def simulate(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> jax.Array:
    """x = features of one noisy run, shape (7,), streamed: no trace is kept.

    `key`: a threefry key; `theta`: (8,), see PARAMETERS. NaN marks an undefined feature (an empty
    window, a constant voltage). The spike count has zero gradient in theta.
    """
    protocol = _as_protocol(protocol)
    return _simulate(_noise.key_words(key), as_theta(theta, PARAMETERS), protocol)


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> Trace:
    """V_i at t = i·dt, i = 0 … n − 1, of the run that `simulate` summarises."""
    protocol = _as_protocol(protocol)
    return Trace(_trace(_noise.key_words(key), as_theta(theta, PARAMETERS), protocol), protocol)


def features(trace: Trace) -> jax.Array:
    """x of a trace, shape (7,): spike count; mean V for t < t_on; sd for 0.9 t_on ≤ t < t_on;
    mean, variance, skewness, kurtosis (not excess) for t_on < t < t_off; ddof 0 throughout.
    """
    if not isinstance(trace, Trace):
        raise ValueError(
            f"trace: expected a hodgkin_huxley.Trace, got {type(trace).__name__}; "
            "make one with Trace(voltage, protocol)"
        )
    protocol = _as_protocol(trace.protocol)
    voltage = jnp.asarray(trace.voltage).astype(float)
    if voltage.shape != (protocol.samples,):
        raise ValueError(
            f"trace.voltage: expected shape ({protocol.samples},), one voltage per sample "
            f"of the protocol, got {voltage.shape}"
        )
    return _features(voltage, protocol)
