"""C dV/dt = −Σ g (V − E) + I_noise in each of three neurons, PM, LP, PY, joined by seven synapses.

The pyloric network of the crustacean stomatogastric ganglion (Prinz, Bucher & Marder 2004) as in
Gonçalves et al. 2020, eLife 9:e56261, figures 5 and 6. V [mV], t [ms]; θ: membrane conductances
[mS/cm²] of PM (AB/PD), LP, PY, then logarithms of synaptic ones [ln mS]. Exponential Euler for V,
[Ca] and gates, forward Euler for synapses, all from the values of the step before; an independent
N(0, 0.001 µA) is added to each neuron's current in every step.

    simulate(key, theta, protocol) -> features (18,)     trace(key, theta, protocol) -> Trace
    features(trace) -> (18,), the same numbers           outcome, summarise: with more beside them

One circuit at a time; `jax.vmap` over keys, thetas and protocols. Reverse mode differentiates in
theta. Features are made of whole numbers of samples, whose gradient is that of what they stand for:
the times of spikes between samples, V' = 0, and for plateaus those at which V passes the level.
Zero gradient have undefined features (NaN), plateaus replaced by a constant, and numbers of bursts
and cycles: where a burst, a spike at its end or the longest plateau gives way to another, a feature
jumps. No value is changed by it. A gradient keeps the state of every block, 0.5 MB in 11 s.

Finite is not useful: over the prior, norms per standard deviation of features and θ have medians of
1.5, 2.6 and 4.7 after 1, 3 and 11 s, but one in ten exceeds 9, 460 and 6·10⁴, and of 11 s one in
a hundred overflows. Circuits whose rhythm is regular forget their past; others are chaotic. Clip.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from . import _stg_kinetics as kinetics
from ._observers import Both
from ._parameters import Parameter, as_theta, expect, nominal
from ._pyloric import FEATURES, STRETCH, Rhythm
from ._solve import Drive, ExponentialEuler, Relaxation, integrate, replay
from ._stages import alike
from ._stg_kinetics import NEURONS
from ._stg_protocol import Protocol

__all__ = [
    "DEFAULT",
    "FEATURES",
    "NEURONS",
    "NOMINAL",
    "Outcome",
    "PARAMETERS",
    "Protocol",
    "Trace",
    "features",
    "outcome",
    "simulate",
    "summarise",
    "trace",
]

BLOCK = 32 * STRETCH  # steps per block; no number depends on it

# A circuit on the published path of good parameters, rounded.
_NOMINAL = (
    *(212.0, 1.48, 5.15, 28.9, 14.4, 138.0, 1.85e-3, 7.88e-3),
    *(76.1, 0.387, 5.24, 46.2, 3.03, 86.7, 0.0451, 0.0209),
    *(498.0, 7.59, 1.73, 46.9, 1.22, 116.0, 0.0275, 0.0179),
    *(-9.02, -16.7, -12.9, -10.1, -7.37, -15.0, -8.18),
)
_BOUNDS = (
    *((0, 500), (0, 7.5), (0, 8), (0, 60), (0, 15), (25, 150), (0, 0.02), (0, 0.01)),
    *((0, 200), (0, 2.5), (2, 12), (10, 60), (0, 10), (0, 125), (0, 0.06), (0.01, 0.04)),
    *((0, 600), (0, 12.5), (0, 4), (30, 60), (0, 5), (50, 150), (0, 0.06), (0, 0.04)),
    (np.log(1e-8), np.log(1e-2)),
    *((np.log(1e-8), np.log(1e-3)),) * 6,
)
_LABELS = (
    *((f"g_{name} {me}", "mS/cm²") for me in NEURONS for name in kinetics.MEMBRANE),
    *((f"ln g {pre}-{post} {kind}", "ln mS") for pre, kind, post in kinetics.SYNAPSES),
)
PARAMETERS = tuple(
    Parameter(*label, float(low), float(high), value)
    for label, (low, high), value in zip(_LABELS, _BOUNDS, _NOMINAL, strict=True)
)
NOMINAL = nominal(PARAMETERS)
# What can be simulated: any conductance ≥ 0, any synapse whose conductance is finite in float32.
_LOWEST, _HIGHEST = np.repeat([[0, -79.9], [np.inf, 79.9]], (24, 7), axis=1)

DEFAULT = Protocol()


class Trace(eqx.Module):
    """Voltages (3, n) [mV] of PM, LP, PY at t = i·dt under a protocol."""

    voltage: jax.Array
    protocol: Protocol

    @property
    def time(self) -> np.ndarray:
        """t = i·dt [ms], shape (n,)."""
        return self.protocol.time


class Outcome(eqx.Module):
    """Features (18,), whether the rhythm is pyloric, and the neurons' energies (3,) [pJ] or None.

    Energy is ∫ Σ g (V − E)² dt over the window, of the membrane and of the synapses onto it.
    """

    features: jax.Array
    pyloric: jax.Array
    energy: jax.Array | None = None


def _forward(x):
    return jnp.minimum(x, 1)  # forward Euler, and the steady state where dt > τ


TERM = Relaxation(kinetics.field)
SOLVER = ExponentialEuler(
    (kinetics.STATES,), tuple((n, _forward) for n in kinetics.STATES if n[3:] in ("glut", "chol"))
)


def _voltage(y):
    return jnp.stack([y[f"{me}.v"] for me in NEURONS])


def _nothing(first, length, args):
    return ()


def _draw(first, args):
    return tuple(_noise.words(args[1], first, stream) for stream in range(3))


def _injected(given, drawn, args):
    """The noise [mV/ms] of GROUP steps: for each step, one number a neuron."""
    z = [_noise.four(words) for words in drawn]
    return tuple(tuple(args[0]["noise"] * n for n in step) for step in zip(*z, strict=True))


def _as_protocol(protocol) -> Protocol:
    expect(
        "protocol",
        protocol,
        Protocol,
        "an stg.Protocol",
        "Protocol(duration, burn_in, dt, temperature)",
    )
    for name in ("temperature", "noise"):
        if np.shape(getattr(protocol, name)) != ():
            raise ValueError(
                f"protocol.{name}: expected one number, got {np.shape(getattr(protocol, name))}; "
                "use jax.vmap for a batch of protocols"
            )
    return protocol


class _Window(NamedTuple):
    """First sample that features see, number of samples, time step: the static part of a run."""

    start: int
    samples: int
    dt: float

    @classmethod
    def of(cls, protocol):
        return cls(protocol.start, protocol.samples, protocol.dt)


def _run(key, theta, good, setting, window, energy=False, keep=False, moving=False):
    # A row that can not be simulated is replaced by one that can, and its results by NaN.
    theta = jnp.where(good, theta, jnp.asarray(NOMINAL, theta.dtype))
    temperature, noise = (
        jnp.where(good, a, safe) for a, safe in zip(setting, (kinetics.REFERENCE, 0.0), strict=True)
    )
    c = kinetics.constants(theta, temperature) | {"noise": noise / kinetics.CAPACITANCE}
    rhythm = Rhythm.of(*window, moving)
    return integrate(
        TERM,
        SOLVER,
        kinetics.initial(theta.dtype),
        (c, tuple(key)),
        drive=Drive(_nothing, _draw, _injected),
        emit=_voltage,
        dt=window.dt,
        # Energy looks at the sample before a step: one more step shows it the last one.
        steps=window.samples - (not energy),
        length=BLOCK,
        stretch=STRETCH,
        unrolled=False,
        observer=Both(rhythm, kinetics.Energy(c, window.start, window.samples))
        if energy
        else rhythm,
        keep=keep,
    )


def _watched(window, energy, moving, key, theta, good, setting):
    seen, _ = _run(key, theta, good, setting, window, energy, moving=moving)
    spent = None
    if energy:
        seen, joules = seen
        spent = jnp.where(good, window.dt * joules.total(), jnp.nan)
    x, pyloric = Rhythm.of(*window, moving).summary(seen, window.dt)
    return Outcome(jnp.where(good, x, jnp.nan), pyloric & good, spent)


@partial(jax.jit, static_argnums=(0, 1))
def _outcome(window, energy, *operands):
    plain, moving = (partial(_watched, window, energy, moving) for moving in (False, True))
    return alike(plain, moving, *operands)


@partial(jax.jit, static_argnums=4)
def _trace(key, theta, good, setting, window):
    voltage = _run(key, theta, good, setting, window, keep=True)[1].T
    return jnp.where(good, voltage, jnp.nan)


def _replayed(window, moving, voltage):
    rhythm = Rhythm.of(*window, moving)
    states = {f"{me}.v": v for me, v in zip(NEURONS, voltage, strict=True)}
    return Outcome(*rhythm.summary(replay(rhythm, states, STRETCH), window.dt))


@partial(jax.jit, static_argnums=0)
def _summarise(window, voltage):
    return alike(partial(_replayed, window, False), partial(_replayed, window, True), voltage)


def _prepare(key, theta, protocol):
    protocol = _as_protocol(protocol)
    words, theta = _noise.key_words(key), as_theta(theta, PARAMETERS, _LOWEST, _HIGHEST)
    fits = protocol.dt <= kinetics.fastest(protocol.temperature)
    good = jnp.all(jnp.isfinite(theta)) & fits & (protocol.noise >= 0)
    setting = tuple(jnp.asarray(a, float) for a in (protocol.temperature, protocol.noise))
    return words, theta, good, setting


def outcome(
    key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT, energy: bool = False
) -> Outcome:
    """x, the pyloric flag and, if asked for, the energies of one noisy run, streamed.

    `key`: a threefry key; `theta`: (31,), see PARAMETERS. Raises ValueError for a negative
    conductance that can be looked at; inside jit or vmap such a row has features NaN.
    """
    operands = _prepare(key, theta, protocol)
    return _outcome(_Window.of(protocol), bool(energy), *operands)


def simulate(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> jax.Array:
    """x = features of one noisy run, shape (18,), streamed: no trace is kept.

    `key`: a threefry key; `theta`: (31,), see PARAMETERS. NaN marks an undefined feature: no
    burst of that neuron, no cycle, or a rhythm that is not triphasic.
    """
    return outcome(key, theta, protocol).features


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> Trace:
    """V (3, n) at t = i·dt, i = 0 … n − 1, of the run that `simulate` summarises."""
    return Trace(_trace(*_prepare(key, theta, protocol), _Window.of(protocol)), protocol)


def summarise(trace: Trace) -> Outcome:
    """The features and the pyloric flag of a trace."""
    expect("trace", trace, Trace, "an stg.Trace", "Trace(voltage, protocol)")
    protocol = _as_protocol(trace.protocol)
    voltage = jnp.asarray(trace.voltage).astype(float)
    if voltage.shape != (3, protocol.samples):
        raise ValueError(
            f"trace.voltage: expected shape (3, {protocol.samples}), one voltage per neuron and "
            f"sample of the protocol, got {voltage.shape}"
        )
    return _summarise(_Window.of(protocol), voltage)


def features(trace: Trace) -> jax.Array:
    """x of a trace, shape (18,), see FEATURES: the numbers that `simulate` gives for its run."""
    return summarise(trace).features
