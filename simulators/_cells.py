"""Parameters of a Gabor cell, as they are and on an unconstrained scale; six published cells."""

import math

import jax
import jax.numpy as jnp
import numpy as np

CONSTRAINED = ("bias", "A", "phi", "f", "alpha", "gamma", "b", "x_0", "y_0")
_FIRST = (math.pi / 4, 1.8, 0.7, 1.5, 2.5, 0.3, -0.4)
_SECOND = (math.pi / 2 - 0.001, 2.4, 0.7 + math.pi / 4, 2.8, 2.3, -0.5, 0.1)
_SIXTH = (0.001, 1.8, 0.7 + math.pi / 3, 0.8, 2.7, 0.3, 0.4)
_FAST, _SLOW = (1.488101, 0.492620), (-0.202180, 0.635893)
# The six published cells, (6, 9), as CONSTRAINED; the last is the observation of the figure.
CELLS = np.array(
    [
        (*_FAST, *_FIRST), (*_FAST, *_SECOND), (*_FAST, *_SIXTH),
        (*_SLOW, *_FIRST), (*_SLOW, *_SECOND), (*_SLOW, *_SIXTH),
    ]
)  # fmt: skip


def constrain(theta: jax.Array) -> jax.Array:
    """(bias, A, φ, f, α, γ, b, x₀, y₀) of theta: e^θ, σ(θ)·π, σ(θ)·2π or tanh(θ/2)."""
    theta = jnp.asarray(theta, float)
    bias, log_a, phi, log_f, alpha, log_gamma, log_b, x0, y0 = jnp.moveaxis(theta, -1, 0)
    positive = (jnp.exp(v) for v in (log_a, log_f, log_gamma, log_b))
    a, f, gamma, b = positive
    phi, alpha = math.pi * jax.nn.sigmoid(phi), 2 * math.pi * jax.nn.sigmoid(alpha)
    x0, y0 = jnp.tanh(x0 / 2), jnp.tanh(y0 / 2)
    return jnp.stack([bias, a, phi, f, alpha, gamma, b, x0, y0], axis=-1)


def _logit(p):
    return np.log(p) - np.log1p(-p)


def unconstrain(cell: np.ndarray) -> np.ndarray:
    """theta of (bias, A, φ, f, α, γ, b, x₀, y₀), in NumPy; ValueError outside their ranges."""
    cell = np.asarray(cell, float)
    if cell.shape[-1:] != (len(CONSTRAINED),):
        raise ValueError(f"cell: expected shape (…, 9), {CONSTRAINED}, got {cell.shape}")
    ends = {"A": (0, np.inf), "f": (0, np.inf), "gamma": (0, np.inf), "b": (0, np.inf)}
    ends |= {"phi": (0, np.pi), "alpha": (0, 2 * np.pi), "x_0": (-1, 1), "y_0": (-1, 1)}
    columns = dict(zip(CONSTRAINED, np.moveaxis(cell, -1, 0), strict=True))
    for name, (low, high) in ends.items():
        values = np.ravel(columns[name])
        outside = ~((values > low) & (values < high))
        if outside.any():
            raise ValueError(
                f"cell: expected {name} between {low:g} and {high:g}, got {values[outside][0]:g}; "
                "angles may be shifted by whole turns"
            )
    theta = [
        columns["bias"], np.log(columns["A"]), _logit(columns["phi"] / np.pi),
        np.log(columns["f"]), _logit(columns["alpha"] / (2 * np.pi)), np.log(columns["gamma"]),
        np.log(columns["b"]), _logit((columns["x_0"] + 1) / 2), _logit((columns["y_0"] + 1) / 2),
    ]  # fmt: skip
    return np.stack(theta, axis=-1)
