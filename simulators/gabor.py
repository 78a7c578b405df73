"""y_t ~ Poisson(Δ e^{bias + min(⟨RF, frame_t⟩, 4)}): a neuron with a Gabor receptive field.

White-noise video, the same in all simulations, Δ = 25 ms; Gonçalves et al. 2020, eLife 9:e56261,
figure 2e–g. RF = A/√N e^{−(x'² + (γ y')²)/2σ²} cos(2πf x' − φ), see `receptive_field`. The clip at
4 belongs to the model. theta is unconstrained, under a Gaussian prior with independent components:
`constrain` gives (bias, A, φ, f, α, γ, b, x₀, y₀), `unconstrain` is its inverse.

    simulate(key, theta, protocol) -> {"sta": (41, 41), "count": ()}
    trace(key, theta, protocol) -> Trace          features(trace) -> the same numbers
    log_likelihood(theta, counts, protocol)

The gradient that passes a count y is that of its mean, dy = dλ; no value is changed by it. That of
E y is exact. A run is two products with the video, in a batch two matrix products: pass the
protocol (80 MB) to `jax.jit` as an argument, for one that is closed over becomes a constant.
Counts depend on the batch no more than the rounding of a product of matrices does: one bin in some
millions may differ by a spike.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from ._cells import CELLS, constrain, unconstrain
from ._parameters import Feature, Parameter, as_theta, concrete, expect, nominal
from ._poisson import poisson

SIZE, FRAMES, DT, CLIP = 41, 12_000, 0.025, 4.0  # pixels a side, frames, s, log gain
CELL_THETAS = unconstrain(CELLS)
NAMES = (
    "bias", "log A", "logit phi/pi", "log f", "logit alpha/2pi", "log gamma", "log b",
    "logit (x_0+1)/2", "logit (y_0+1)/2",
)  # fmt: skip
PARAMETERS = tuple(
    Parameter(name, "", -math.inf, math.inf, float(value))
    for name, value in zip(NAMES, CELL_THETAS[5], strict=True)
)
PRIOR_MEAN = np.array([-0.57, 0, 0, 0, 0, 0, 0, 0, 0])
PRIOR_SD = np.array([math.sqrt(1.63), 0.5, 1.9, 0.5, 1.78, 0.5, 0.5, 1.78, 1.78])
FEATURES = (Feature("spike-triggered average", ""), Feature("spike count", ""))
NOMINAL = nominal(PARAMETERS)


def _video(frames) -> jax.Array | np.ndarray:
    if hasattr(frames, "dtype"):  # NumPy's float32 stays as it is, and touches no device
        return frames
    try:
        return np.asarray(frames, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "frames: expected numbers of shape (frames, rows, columns), got "
            f"{type(frames).__name__} of something else; white_noise(seed, frames) makes a video"
        ) from error


class Protocol(eqx.Module):
    """Video (frames, rows, columns), one frame each 25 ms, float32 unless JAX is in float64."""

    frames: jax.Array | np.ndarray = eqx.field(converter=_video)

    def __check_init__(self):
        shape = np.shape(self.frames)
        if len(shape) != 3 or min(shape) < 1 or min(shape[1:]) < 2:
            raise ValueError(f"frames: expected shape (frames, rows, columns), got {shape}")
        if isinstance(self.frames, np.ndarray) and not np.all(np.isfinite(self.frames)):
            bad = int(np.sum(~np.isfinite(self.frames)))
            raise ValueError(
                f"frames: expected finite numbers, got {bad} NaN or infinite; fill the gap first"
            )

    @property
    def time(self) -> np.ndarray:
        """Start of each frame [s], shape (frames,)."""
        return np.arange(self.frames.shape[0]) * DT


def white_noise(seed: int = 0, frames: int = FRAMES, size: int = SIZE) -> Protocol:
    """N(0, 1) per pixel and frame from a seed, the same numbers on every machine, in float32."""
    if frames < 1 or size < 2:
        raise ValueError(
            f"frames, size: expected at least 1 and 2 (pixels a side), got {frames} and {size}"
        )
    random = np.random.RandomState(seed)
    video = np.empty((frames, size, size), np.float32)
    for first in range(0, frames, 1000):
        part = video[first : first + 1000]
        part[:] = random.standard_normal(part.shape)
    return Protocol(video)


@functools.cache
def default_protocol() -> Protocol:
    """The video of 300 s, 41 × 41 pixels: made once per process, 80 MB on the default device."""
    with jax.ensure_compile_time_eval():
        return Protocol(jnp.asarray(white_noise().frames))


def __getattr__(name: str):
    if name == "DEFAULT":  # not made on import: it takes a second and 80 MB
        return default_protocol()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Trace(eqx.Module):
    """Spike counts y (n,) and the unclipped drive ⟨RF, frame⟩ (n,) behind them."""

    counts: jax.Array
    drive: jax.Array
    protocol: Protocol

    @property
    def time(self) -> np.ndarray:
        """Start of each frame [s], shape (n,)."""
        return self.protocol.time


def receptive_field(cell: jax.Array, rows: int = SIZE, columns: int = SIZE) -> jax.Array:
    """RF (rows, columns) of constrained (bias, A, φ, f, α, γ, b, x₀, y₀); rows are y, ascending.

    σ = √(2 ln 2)/(2πf) · (2^b + 1)/(2^b − 1), N = (πσ²/γ)(½ + e^{−(2πfσ)²} cos 2φ) / dA;
    pixel centres at linspace(−1, 1) in x and y, x' and y' turned by α about (x₀, y₀).
    """
    _, gain, phi, f, alpha, gamma, b, x0, y0 = jnp.asarray(cell, float)
    x = jnp.linspace(-1, 1, columns)[None, :] - x0
    y = jnp.linspace(-1, 1, rows)[:, None] - y0
    turned_x = x * jnp.cos(alpha) - y * jnp.sin(alpha)
    turned_y = x * jnp.sin(alpha) + y * jnp.cos(alpha)
    # (2^b + 1)/(2^b − 1) = coth(½ b ln 2)
    cycles = math.sqrt(2 * math.log(2)) / jnp.tanh(b * (math.log(2) / 2))  # 2πf σ
    sigma = cycles / (2 * math.pi * f)
    area = (2 / (rows - 1)) * (2 / (columns - 1))
    energy = math.pi * sigma**2 / gamma * (0.5 + jnp.exp(-(cycles**2)) * jnp.cos(2 * phi)) / area
    envelope = jnp.exp(-(turned_x**2 + (gamma * turned_y) ** 2) / (2 * sigma**2))
    return gain / jnp.sqrt(energy) * envelope * jnp.cos(2 * math.pi * f * turned_x - phi)


def _drive(cell, frames):
    field = receptive_field(cell, *frames.shape[1:]).reshape(-1)
    # In this order the frames of one simulation lie side by side in a batch.
    return jnp.dot(field, frames.reshape(len(frames), -1).T, precision="highest")


def _rate(cell, drive):
    """λ_t, expected spikes in each frame."""
    return DT * jnp.exp(cell[0] + jnp.minimum(drive, CLIP))


def _summary(counts, frames):
    """x; without a spike, a rejected simulation, all of it is NaN."""
    count = jnp.sum(counts)
    sums = jnp.dot(counts, frames.reshape(len(frames), -1), precision="highest")
    sta = sums / jnp.where(count > 0, count, 1)
    x = {"sta": (sta - jnp.mean(sta)).reshape(frames.shape[1:]), "count": count}
    return jax.tree.map(lambda a: jnp.where(count > 0, a, jnp.nan), x)


@jax.jit
def _trace(key, theta, protocol):
    cell = constrain(theta)
    drive = _drive(cell, protocol.frames)
    return poisson(_noise.uniforms(key, len(protocol.frames)), _rate(cell, drive)), drive


@jax.jit
def _simulate(key, theta, protocol):
    return _summary(_trace(key, theta, protocol)[0], protocol.frames)


@jax.jit
def _features(counts, protocol):
    return _summary(counts, protocol.frames)


@jax.jit
def _log_likelihood(theta, counts, protocol):
    cell = constrain(theta)
    drive = _drive(cell, protocol.frames)
    log_rate = math.log(DT) + cell[0] + jnp.minimum(drive, CLIP)
    return jnp.sum(counts * log_rate - jnp.exp(log_rate) - jax.lax.lgamma(counts + 1))


def _as_protocol(protocol) -> Protocol:
    """The protocol as JAX arrays in the default precision; ValueError for anything else."""
    if protocol is None:
        protocol = default_protocol()
    expect(
        "protocol",
        protocol,
        Protocol,
        "a gabor.Protocol",
        "white_noise(seed, frames) or Protocol(frames)",
    )
    if protocol.frames.ndim != 3:
        raise ValueError(
            f"protocol.frames: expected shape (frames, rows, columns), got "
            f"{protocol.frames.shape}; use jax.vmap for a batch of videos"
        )
    return Protocol(jnp.asarray(protocol.frames, float))


def _as_counts(name, counts, protocol):
    counts = jnp.asarray(counts).astype(float)
    if counts.shape != protocol.frames.shape[:1]:
        raise ValueError(
            f"{name}: expected shape ({len(protocol.frames)},), one count a frame, "
            f"got {counts.shape}"
        )
    if concrete(counts):
        y = np.asarray(counts)
        good = np.isfinite(y) & (y >= 0) & (y == np.round(y))
        if not good.all():
            i = int(np.argmin(good))
            raise ValueError(f"{name}: expected whole numbers ≥ 0, got {y[i]:g} in frame {i}")
    return counts


def simulate(
    key: jax.Array, theta: jax.Array, protocol: Protocol | None = None
) -> dict[str, jax.Array]:
    """x = {"sta": Σ y_t frame_t / Σ y_t less its mean over pixels, "count": Σ y_t}.

    `theta`: (9,), see PARAMETERS; `protocol`: `default_protocol()` if left out. A run without a
    spike (one prior draw in 10⁴) is a rejected simulation: all of x is NaN, a mask for the row.
    """
    theta, protocol = as_theta(theta, PARAMETERS), _as_protocol(protocol)
    return _simulate(_noise.key_words(key), theta, protocol)


def trace(key: jax.Array, theta: jax.Array, protocol: Protocol | None = None) -> Trace:
    """Counts and drive of the run that `simulate` summarises."""
    theta, protocol = as_theta(theta, PARAMETERS), _as_protocol(protocol)
    return Trace(*_trace(_noise.key_words(key), theta, protocol), protocol)


def features(trace: Trace) -> dict[str, jax.Array]:
    """x of a trace, as `simulate` gives it."""
    expect("trace", trace, Trace, "a gabor.Trace", "Trace(counts, drive, protocol)")
    protocol = _as_protocol(trace.protocol)
    return _features(_as_counts("trace.counts", trace.counts, protocol), protocol)


def log_likelihood(
    theta: jax.Array, counts: jax.Array, protocol: Protocol | None = None
) -> jax.Array:
    """log p(y | theta) = Σ_t (y_t log λ_t − λ_t − log y_t!), exact; counts y (n,)."""
    theta, protocol = as_theta(theta, PARAMETERS), _as_protocol(protocol)
    return _log_likelihood(theta, _as_counts("counts", counts, protocol), protocol)
