"""dm/dt = T (m∞(V) − m)/τ(V), I = T m (V − E_K): a K⁺ channel under voltage clamp ("omnimodel").

m∞ = 1/(1 + e^{−aV + b}), τ = d/(e^{−(e y + f y²)} + e^{g y + h y²}), y = V − c; V [mV], t [ms],
theta = (a, …, h). Podlaski et al. 2017, eLife 6:e22152; Gonçalves et al. 2020, eLife 9:e56261,
figure 3. Exponential Euler, m_i from V_{i−1}; every sample of the command carries its own noise,
which the gate and the driving force see. Currents are divided by their maximum in a protocol.

    simulate(key, theta, protocol) -> features (55,)     trace(key, theta, protocol) -> Trace
    features(trace) -> (55,), the same numbers           fit_basis(thetas, clamps) -> Basis

Features: per protocol the coefficients of the current on 10 basis functions of time, and its mean.
They are smooth in theta at fixed noise, but where another sample becomes the maximum. The basis is
large: hand a protocol to `jax.jit` as an argument, for one that is closed over becomes a constant.
"""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from ._archives import read
from ._basis import COMPONENTS, Basis, principal
from ._clamped import run
from ._parameters import Feature, Parameter, as_theta, concrete, expect, nominal
from .voltage_clamp import Clamp, data_folder, standard

NOISE = 0.5  # mV
FITS = "channels/omnimodel_fits.npz"

PARAMETERS = (
    Parameter("a", "1/mV", 0.0, 1.0, 0.111),
    Parameter("b", "", -10.0, 10.0, 0.475),
    Parameter("c", "mV", -120.0, 120.0, -10.1),
    Parameter("d", "ms", 0.0, 2000.0, 91.4),
    Parameter("e", "1/mV", 0.0, 0.5, 0.0337),
    Parameter("f", "1/mV²", 0.0, 0.05, 0.00017),
    Parameter("g", "1/mV", 0.0, 0.5, 0.0287),
    Parameter("h", "1/mV²", 0.0, 0.05, 0.00026),
)
NOMINAL = nominal(PARAMETERS)
_LOWEST = np.where([p.unit == "ms" for p in PARAMETERS], 0, -np.inf)


class Protocol(eqx.Module):
    """Command voltages, the basis of the features, and the sd of the voltage noise [mV]."""

    clamps: tuple[Clamp, ...]
    basis: Basis
    noise: jax.Array | float = NOISE

    def __check_init__(self):
        names = tuple(clamp.name for clamp in self.clamps)
        if names != self.basis.names:
            raise ValueError(
                f"basis: expected one of the protocols {names}, got {self.basis.names}; "
                "make one with fit_basis(thetas, clamps)"
            )
        for clamp, function in zip(self.clamps, self.basis.functions, strict=True):
            shape = (clamp.samples, clamp.sweeps, COMPONENTS)
            if np.shape(function)[-3:] != shape:
                raise ValueError(
                    f"basis: expected functions {shape} for {clamp.name}, got "
                    f"{np.shape(function)}; make them with fit_basis(thetas, clamps)"
                )
        if concrete(self.noise) and not (
            np.all(np.isfinite(self.noise)) and np.all(self.noise >= 0)
        ):
            raise ValueError(f"noise: expected an sd ≥ 0 [mV], got {self.noise}")


class Trace(eqx.Module):
    """Normalised currents (sweeps, n) of each protocol, maximum 1, under a Protocol."""

    currents: tuple[jax.Array, ...]
    protocol: Protocol


def feature_list(names: Sequence[str]) -> tuple[Feature, ...]:
    """The features under protocols of these names."""
    per = (*(f"component {k + 1}" for k in range(COMPONENTS)), "mean")
    return tuple(Feature(f"{name}, {what}", "") for name in names for what in per)


FEATURES = feature_list(
    ("activation", "inactivation", "deactivation", "action potentials", "ramps")
)


def _streams(clamps):
    """Number of the first of two noise streams a sweep, for each protocol."""
    return np.cumsum([0, *(2 * clamp.sweeps for clamp in clamps[:-1])])


def _normalised(values, maximum):
    """values / maximum; NaN if no current flows outwards."""
    flows = maximum > 0
    return jnp.where(flows, values / jnp.where(flows, maximum, 1), jnp.nan)


@jax.jit
def _simulate(key, theta, protocol):
    parts = []
    each = zip(protocol.clamps, protocol.basis.functions, _streams(protocol.clamps), strict=True)
    for clamp, functions, stream in each:
        seen, _ = run(key, theta, protocol.noise, clamp, functions, stream)
        x = jnp.append(seen.products, seen.total / clamp.voltage.size)
        parts.append(_normalised(x, seen.maximum))
    return jnp.concatenate(parts)


@jax.jit
def _currents(key, theta, noise, clamps):
    """Normalised currents (n, sweeps) of each protocol."""
    currents = []
    for clamp, stream in zip(clamps, _streams(clamps), strict=True):
        none = jnp.zeros((clamp.samples, clamp.sweeps, 0), clamp.voltage.dtype)
        seen, kept = run(key, theta, noise, clamp, none, stream, keep=True)
        currents.append(_normalised(kept, seen.maximum))
    return tuple(currents)


@jax.jit
def _features(currents, protocol):
    parts = []
    for current, functions in zip(currents, protocol.basis.functions, strict=True):
        flat = current.T.reshape(-1)
        products = jnp.dot(flat, functions.reshape(-1, COMPONENTS), precision="highest")
        parts += [products, jnp.mean(flat)[None]]
    return jnp.concatenate(parts)


def _as_protocol(protocol) -> Protocol:
    """The protocol as JAX arrays in the default precision; ValueError for anything else."""
    if protocol is None:
        protocol = default_protocol()
    expect(
        "protocol",
        protocol,
        Protocol,
        "a channels.Protocol",
        "Protocol(clamps, fit_basis(thetas, clamps))",
    )
    return jax.tree.map(lambda a: jnp.asarray(a, float), protocol)


def simulate(key: jax.Array, theta: jax.Array, protocol: Protocol | None = None) -> jax.Array:
    """x, shape (11 · protocols,): coefficients on the basis and mean, protocol by protocol.

    Streamed: no trace is kept. `theta`: (8,), see PARAMETERS; `protocol`: `default_protocol()` if
    left out. NaN where no outward current flows and, under jit or vmap, where d < 0.
    """
    theta, protocol = as_theta(theta, PARAMETERS, _LOWEST), _as_protocol(protocol)
    return _simulate(_noise.key_words(key), theta, protocol)


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol | None = None) -> Trace:
    """Normalised currents of the run that `simulate` summarises."""
    theta, protocol = as_theta(theta, PARAMETERS, _LOWEST), _as_protocol(protocol)
    currents = _currents(_noise.key_words(key), theta, protocol.noise, protocol.clamps)
    return Trace(tuple(current.T for current in currents), protocol)


def features(trace: Trace) -> jax.Array:
    """x of a trace: Σ φ_k I over the samples of all sweeps, k = 1 … 10, and the mean of I."""
    expect("trace", trace, Trace, "a channels.Trace", "Trace(currents, protocol)")
    protocol = _as_protocol(trace.protocol)
    currents = tuple(jnp.asarray(current).astype(float) for current in trace.currents)
    shapes = tuple(clamp.voltage.shape for clamp in protocol.clamps)
    if tuple(current.shape for current in currents) != shapes:
        raise ValueError(
            f"trace.currents: expected shapes {shapes}, one (sweeps, n) for each protocol, "
            f"got {tuple(current.shape for current in currents)}"
        )
    return _features(currents, protocol)


def fit_basis(thetas: np.ndarray, clamps: Sequence[Clamp], labels: Sequence[str] = ()) -> Basis:
    """Principal components of the noise-free responses of channels (m, 8), each distinct one once.

    `labels`: names of the channels for error messages.
    """
    thetas = np.asarray(thetas, float)
    if thetas.ndim != 2 or thetas.shape[1] != len(PARAMETERS):
        raise ValueError(f"thetas: expected shape (m, {len(PARAMETERS)}), got {thetas.shape}")
    labels = [str(n) for n in labels] or [f"row {i}" for i in range(len(thetas))]
    if len(labels) != len(thetas):
        raise ValueError(f"labels: expected {len(thetas)}, one a channel, got {len(labels)}")
    thetas, first = np.unique(thetas, axis=0, return_index=True)
    labels = [labels[i] for i in first]
    key, lanes = jnp.zeros(2, jnp.uint32), 16
    batches = np.resize(np.arange(len(thetas)), (-(-len(thetas) // lanes), lanes))
    functions = []
    for clamp in clamps:
        on_device = jax.tree.map(lambda a: jnp.asarray(a, float), (clamp,))
        run = jax.jit(jax.vmap(lambda t, c: _currents(key, t, 0.0, c)[0], (0, None)))
        rows = [np.asarray(run(jnp.asarray(thetas[b], float), on_device)) for b in batches]
        responses = np.concatenate(rows)[: len(thetas)]
        functions.append(principal(clamp.name, responses, labels))
    return Basis(tuple(functions), tuple(clamp.name for clamp in clamps))


def fits(path: str | Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and θ (n, 8) of the channels in a file such as FITS."""
    names, thetas = read(
        path,
        *("names", "theta"),
        expected="an .npz with theta and names of channels",
        remedy="put a whole file in its place, or take it away",
    )
    return tuple(str(name) for name in np.ravel(names)), thetas


@functools.cache
def default_protocol() -> Protocol:
    """The five protocols with a basis fitted to the published channels, made once per process.

    Reads FITS and the recorded action potentials from the data folder; where they are not there,
    draws from the prior and simulated action potentials take their place, with a warning.
    """
    clamps, path = standard(), data_folder() / FITS
    if path.exists():
        labels, thetas = fits(path)
    else:
        warnings.warn(
            f"{FITS} is not in the data folder (set JAXSBI_DATA): the basis of the features is "
            "fitted to draws from the prior, not to published channels",
            stacklevel=2,
        )
        low, high = (np.array([getattr(p, side) for p in PARAMETERS]) for side in ("low", "high"))
        thetas, labels = np.random.RandomState(0).uniform(low, high, (109, 8)), ()
    with jax.ensure_compile_time_eval():  # it may be asked for while a function is traced
        protocol = Protocol(clamps, fit_basis(thetas, clamps, labels))
        return jax.tree.map(lambda a: jnp.asarray(a, float), protocol)


def __getattr__(name: str):
    if name == "DEFAULT":  # not made on import: it takes seconds and 80 MB
        return default_protocol()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
