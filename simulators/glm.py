"""y_t ~ Bernoulli(σ(ψ_t)), ψ_t = b₀ + Σ_{j=1..9} h_j u_{t−j+1}: a neuron with a temporal filter.

Bernoulli generalised linear model of Gonçalves et al. 2020, eLife 9:e56261, figure 2a–d. The input
u is white noise in bins of 1 ms, drawn once and the same in all simulations, 0 before its start;
theta = (b₀, h₁ … h₉), under a Gaussian prior that favours smooth filters. With the design
X = [1, u, u delayed by 1 … 8 bins], ψ = X theta, and x = Xᵀy is sufficient.

    simulate(key, theta, protocol) -> x (10,)        trace(key, theta, protocol) -> Trace
    features(trace) -> (10,), the same numbers       log_likelihood(theta, spikes, protocol)

Spikes are discrete, so no gradient passes through them as they are. In its place stands that of
their probability, dy = σ(ψ)(1 − σ(ψ)) dψ: the gradient of simulate is the one of E x, exactly, and
does not depend on the noise. Values are not changed by it.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from ._parameters import Feature, Parameter, as_numbers, as_theta, concrete, expect, nominal

__all__ = [
    "DEFAULT",
    "FEATURES",
    "NOMINAL",
    "PARAMETERS",
    "PRIOR_MEAN",
    "PRIOR_PRECISION",
    "Protocol",
    "Trace",
    "features",
    "log_likelihood",
    "log_likelihood_of_features",
    "simulate",
    "trace",
    "white_noise",
]

LAGS = 9
DT = 1.0  # ms, width of a bin
PARAMETERS = (
    Parameter("b_0", "", -math.inf, math.inf, -2.0),
    *(Parameter(f"h_{j}", "", -math.inf, math.inf, j**3 * math.exp(-j)) for j in range(1, 10)),
)
FEATURES = (
    Feature("spike count", ""),
    *(Feature(f"spike-triggered sum, lag {lag}", "") for lag in range(LAGS)),
)
NOMINAL = nominal(PARAMETERS)


def _prior_precision() -> np.ndarray:
    """blockdiag(½, FᵀF), F = D D + diag √(k/9), k = 0 … 8, D the first difference."""
    difference = np.eye(LAGS) - np.eye(LAGS, k=-1)
    f = difference @ difference + np.diag(np.sqrt(np.arange(LAGS) / LAGS))
    precision = np.zeros((LAGS + 1, LAGS + 1))
    precision[0, 0] = 0.5
    precision[1:, 1:] = f.T @ f
    return precision


PRIOR_MEAN = np.zeros(LAGS + 1)
PRIOR_PRECISION = _prior_precision()


class Protocol(eqx.Module):
    """Input u_t, t = 1 … n, shape (n,), one value a bin of 1 ms; dynamic, so it can be batched."""

    stimulus: jax.Array | np.ndarray = eqx.field(converter=as_numbers)

    def __check_init__(self):
        if self.stimulus.ndim != 1 or self.stimulus.shape[0] < 1:
            raise ValueError(
                f"stimulus: expected shape (n,), n ≥ 1, one number a bin, got {self.stimulus.shape}"
            )
        if concrete(self.stimulus) and not np.all(np.isfinite(self.stimulus)):
            bad = int(np.sum(~np.isfinite(self.stimulus)))
            raise ValueError(
                f"stimulus: expected finite numbers, got {bad} of {self.stimulus.size} NaN or "
                "infinite; cut or fill the gap first"
            )

    @property
    def bins(self) -> int:
        """Number of bins n."""
        return self.stimulus.shape[0]

    @property
    def design(self) -> jax.Array:
        """X = [1, u delayed by 0 … 8 bins], shape (n, 10), in the default precision."""
        u = jnp.pad(jnp.asarray(self.stimulus, float), (LAGS - 1, 0))
        delayed = [u[LAGS - 1 - lag : LAGS - 1 - lag + self.bins] for lag in range(LAGS)]
        return jnp.stack([jnp.ones(self.bins), *delayed], axis=1)


def white_noise(seed: int = 0, bins: int = 100) -> Protocol:
    """u_t ~ N(0, 1) from a seed, the same numbers on every machine."""
    if bins < 1:
        raise ValueError(f"bins: expected at least one, got {bins}")
    return Protocol(np.random.RandomState(seed).standard_normal(bins))


DEFAULT = white_noise()


class Trace(eqx.Module):
    """Spikes y (n,), 0 or 1 a bin, and the drive ψ (n,) behind them, under a protocol."""

    spikes: jax.Array
    drive: jax.Array
    protocol: Protocol

    @property
    def time(self) -> np.ndarray:
        """Start of each bin [ms], shape (n,)."""
        return np.arange(self.protocol.bins) * DT


@jax.custom_jvp
def _bernoulli(v, psi):
    """1 if v < σ(ψ), else 0, for v uniform; the tangent is that of σ(ψ)."""
    y = (v.astype(psi.dtype) * (1 + jnp.exp(-psi)) < 1).astype(psi.dtype)
    return jnp.where(jnp.isnan(psi), psi, y)


@_bernoulli.defjvp
def _bernoulli_jvp(primals, tangents):
    s = jax.nn.sigmoid(primals[1])
    return _bernoulli(*primals), s * (1 - s) * tangents[1]


def _drive(theta, design):
    # Term by term, so that a spike does not depend on how a matrix product would be arranged.
    psi = theta[0] + theta[1] * design[:, 1]
    for j in range(2, LAGS + 1):
        psi = psi + theta[j] * design[:, j]
    return psi


def _project(design, y):
    return jnp.dot(y, design, precision="highest")


@jax.jit
def _simulate(key, theta, protocol):
    y, _ = _trace(key, theta, protocol)
    return _project(protocol.design, y)


@jax.jit
def _trace(key, theta, protocol):
    psi = _drive(theta, protocol.design)
    return _bernoulli(_noise.uniforms(key, protocol.bins), psi), psi


def _as_protocol(protocol) -> Protocol:
    """The protocol as JAX arrays in the default precision; ValueError for anything else."""
    expect(
        "protocol",
        protocol,
        Protocol,
        "a glm.Protocol",
        "white_noise(seed, bins) or Protocol(stimulus)",
    )
    if protocol.stimulus.ndim != 1:
        raise ValueError(
            f"protocol.stimulus: expected shape (n,), got {protocol.stimulus.shape}; "
            "use jax.vmap for a batch of protocols"
        )
    return jax.tree.map(lambda a: jnp.asarray(a, float), protocol)


def _as_spikes(name, spikes, protocol):
    spikes = jnp.asarray(spikes).astype(float)
    if spikes.shape != (protocol.bins,):
        raise ValueError(
            f"{name}: expected shape ({protocol.bins},), 0 or 1 a bin of the protocol, "
            f"got {spikes.shape}"
        )
    if concrete(spikes):
        good = np.isin(spikes, (0, 1))
        if not good.all():
            i = int(np.argmin(good))
            raise ValueError(f"{name}: expected 0 or 1 a bin, got {float(spikes[i]):g} in bin {i}")
    return spikes


def simulate(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> jax.Array:
    """x = Xᵀy, shape (10,): spike count, and Σ_t y_t u_{t−l}, l = 0 … 8.

    E x = Xᵀ σ(X theta), Cov x = Xᵀ diag(s(1 − s)) X. `theta`: (10,), see PARAMETERS.
    """
    protocol = _as_protocol(protocol)
    return _simulate(_noise.key_words(key), as_theta(theta, PARAMETERS), protocol)


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol = DEFAULT) -> Trace:
    """Spikes and drive of the run that `simulate` summarises."""
    protocol = _as_protocol(protocol)
    return Trace(*_trace(_noise.key_words(key), as_theta(theta, PARAMETERS), protocol), protocol)


def features(trace: Trace) -> jax.Array:
    """x = Xᵀy of a trace, shape (10,)."""
    expect("trace", trace, Trace, "a glm.Trace", "Trace(spikes, drive, protocol)")
    protocol = _as_protocol(trace.protocol)
    return _project(protocol.design, _as_spikes("trace.spikes", trace.spikes, protocol))


def log_likelihood(theta: jax.Array, spikes: jax.Array, protocol: Protocol = DEFAULT) -> jax.Array:
    """log p(y | theta) = −Σ_t log(1 + e^{(1 − 2 y_t) ψ_t}), exact; spikes y (n,), 0 or 1."""
    protocol = _as_protocol(protocol)
    spikes = _as_spikes("spikes", spikes, protocol)
    psi = _drive(as_theta(theta, PARAMETERS), protocol.design)
    return -jnp.sum(jax.nn.softplus((1 - 2 * spikes) * psi))


def log_likelihood_of_features(
    theta: jax.Array, x: jax.Array, protocol: Protocol = DEFAULT
) -> jax.Array:
    """thetaᵀx − Σ_t log(1 + e^{ψ_t}) = log p(y | theta) of any one spike train y with Xᵀy = x.

    log p(x | theta) is this plus the logarithm of the number of such trains, free of theta.
    """
    protocol, theta = _as_protocol(protocol), as_theta(theta, PARAMETERS)
    x = jnp.asarray(x).astype(float)
    if x.shape != (len(FEATURES),):
        raise ValueError(f"x: expected shape ({len(FEATURES)},), got {x.shape}; use jax.vmap")
    return jnp.dot(theta, x) - jnp.sum(jax.nn.softplus(_drive(theta, protocol.design)))
