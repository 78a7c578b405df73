"""The ten tasks of the sbibm benchmark: prior, simulator and exact likelihood of each.

Lueckmann et al. 2021, AISTATS, arXiv:2101.04653. N(m, V) takes a covariance, LogNormal(m, s) the
standard deviation s of the logarithm. A likelihood leaves out what does not depend on θ.
Observations and 10 000 reference posterior samples each are read in place from the data folder
(JAXSBI_DATA, else shared/data beside the checkout).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.stats import norm
from jaxtyping import Array, Float

import jaxsbi
from benchmarks import _dynamics
from simulators import glm
from simulators.voltage_clamp import data_folder


class Task(NamedTuple):
    """A problem of inference: θ ~ prior, x ~ simulate(key, θ), log p(x | θ) up to a constant."""

    name: str
    prior: jaxsbi.Prior
    simulate: Callable[[Array, Array], Array]
    log_likelihood: Callable[[Array, Array], Array]


class Observation(NamedTuple):
    """One observation x_o (k,) with the θ that made it and samples (10 000, d) of p(θ | x_o)."""

    x: np.ndarray
    theta: np.ndarray
    reference: np.ndarray


@cache
def observation(task: str, number: int) -> Observation:
    """Observation 1 … 5 of a task, from the data folder."""
    path = data_folder() / "sbibm" / task / f"obs_{number}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = ("observation", "true_parameters", "reference_posterior")
            return Observation(*(stored[name] for name in names))
    except OSError:
        raise ValueError(
            f"{path} must hold observation {number} of {task}, but it cannot be read; set "
            "JAXSBI_DATA to the folder that holds sbibm/"
        ) from None


def _normal(key: Array, mean: Array, variance: float) -> Array:
    return mean + math.sqrt(variance) * jax.random.normal(key, mean.shape)


# θ ~ N(0, 0.1 I₁₀) or U[−1, 1]¹⁰; x ~ N(θ, 0.1 I₁₀)


def _gaussian_linear(name: str, prior: jaxsbi.Prior) -> Task:
    def log_likelihood(theta: Float[Array, " 10"], x: Float[Array, " 10"]) -> Float[Array, ""]:
        return jnp.sum(norm.logpdf(x, theta, math.sqrt(0.1)))

    return Task(name, prior, lambda key, theta: _normal(key, theta, 0.1), log_likelihood)


def gaussian_linear() -> Task:
    return _gaussian_linear(
        "gaussian_linear", jaxsbi.gaussian(np.zeros(10), sd=np.full(10, math.sqrt(0.1)))
    )


def gaussian_linear_uniform() -> Task:
    return _gaussian_linear("gaussian_linear_uniform", jaxsbi.box(-np.ones(10), np.ones(10)))


# θ ~ U[−10, 10]²; x ~ ½ N(θ, I) + ½ N(θ, 0.01 I)


def gaussian_mixture() -> Task:
    def simulate(key: Array, theta: Float[Array, " 2"]) -> Float[Array, " 2"]:
        key_component, key_noise = jax.random.split(key)
        sd = jnp.where(jax.random.bernoulli(key_component), 1.0, 0.1)
        return theta + sd * jax.random.normal(key_noise, (2,))

    def log_likelihood(theta: Float[Array, " 2"], x: Float[Array, " 2"]) -> Float[Array, ""]:
        wide, narrow = (jnp.sum(norm.logpdf(x, theta, sd)) for sd in (1.0, 0.1))
        return jnp.logaddexp(wide, narrow) - math.log(2)

    prior = jaxsbi.box([-10.0, -10.0], [10.0, 10.0])
    return Task("gaussian_mixture", prior, simulate, log_likelihood)


# θ ~ U[−1, 1]²; x = (r cos a + ¼, r sin a) + (−|θ₁ + θ₂|, θ₂ − θ₁)/√2


def two_moons() -> Task:
    def centre(theta: Float[Array, " 2"]) -> Float[Array, " 2"]:
        shift = jnp.stack([-jnp.abs(theta[0] + theta[1]), theta[1] - theta[0]])
        return shift / math.sqrt(2) + jnp.array([0.25, 0.0])

    def simulate(key: Array, theta: Float[Array, " 2"]) -> Float[Array, " 2"]:
        key_angle, key_radius = jax.random.split(key)
        angle = jax.random.uniform(key_angle, minval=-math.pi / 2, maxval=math.pi / 2)
        radius = 0.1 + 0.01 * jax.random.normal(key_radius)
        return centre(theta) + radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def log_likelihood(theta: Float[Array, " 2"], x: Float[Array, " 2"]) -> Float[Array, ""]:
        p = x - centre(theta)
        radius = jnp.sqrt(jnp.maximum(p @ p, 1e-12))
        density = norm.logpdf(radius, 0.1, 0.01) - jnp.log(math.pi * radius)
        return jnp.where(p[0] > 0, density, -jnp.inf)

    return Task("two_moons", jaxsbi.box([-1.0, -1.0], [1.0, 1.0]), simulate, log_likelihood)


# θ ~ U[−3, 3]⁵; four draws of N((θ₁, θ₂), S), S of sds θ₃², θ₄² and correlation tanh θ₅


def _slcp_factor(theta: Float[Array, " 5"]) -> tuple[Array, Array, Array, Array]:
    """Mean (2,) of a draw and the entries l₁₁, l₂₁, l₂₂ of the Cholesky factor of S + 10⁻⁶ I."""
    s1, s2, correlation = theta[2] ** 2, theta[3] ** 2, jnp.tanh(theta[4])
    l11 = jnp.sqrt(s1**2 + 1e-6)
    l21 = correlation * s1 * s2 / l11
    # S₂₂ − l₂₁², without the cancellation where the correlation nears ±1
    shrunk = s2**2 * (1 - (correlation * s1 / l11) ** 2) + 1e-6
    return theta[:2], l11, l21, jnp.sqrt(shrunk)


def _slcp_draws(key: Array, theta: Float[Array, " 5"]) -> Float[Array, " 8"]:
    mean, l11, l21, l22 = _slcp_factor(theta)
    first, second = jax.random.normal(key, (2, 4))
    return (mean + jnp.stack([l11 * first, l21 * first + l22 * second], axis=1)).ravel()


def _slcp_log_likelihood(theta: Float[Array, " 5"], x: Float[Array, " 8"]) -> Float[Array, ""]:
    mean, l11, l21, l22 = _slcp_factor(theta)
    deviation = x.reshape(4, 2) - mean
    first = deviation[:, 0] / l11
    second = (deviation[:, 1] - l21 * first) / l22
    return jnp.sum(norm.logpdf(first) + norm.logpdf(second)) - 4 * jnp.log(l11 * l22)


_SLCP_BOX = (np.full(5, -3.0), np.full(5, 3.0))


def slcp() -> Task:
    return Task("slcp", jaxsbi.box(*_SLCP_BOX), _slcp_draws, _slcp_log_likelihood)


# v = (slcp's eight values, 92 draws of a mixture of multivariate t), x_j = v[permutation_j]


def slcp_distractors() -> Task:
    with np.load(data_folder() / "sbibm" / "slcp_distractors_constants.npz") as stored:
        constants = {name: stored[name] for name in stored}
    permutation = constants.pop("permutation")
    inverse = np.argsort(permutation)
    floats = {name: np.asarray(a, np.float32) for name, a in constants.items()}

    def simulate(key: Array, theta: Float[Array, " 5"]) -> Float[Array, " 100"]:
        key_signal, key_component, key_chi, key_noise = jax.random.split(key, 4)
        k = jax.random.categorical(key_component, jnp.log(floats["weights"]))
        location, factor, dof = (jnp.asarray(floats[n])[k] for n in ("loc", "scale_tril", "df"))
        chi = 2 * jax.random.gamma(key_chi, dof / 2)
        noise = factor @ jax.random.normal(key_noise, location.shape)
        distractors = location + noise * jnp.sqrt(dof / chi)
        return jnp.concatenate([_slcp_draws(key_signal, theta), distractors])[permutation]

    def log_likelihood(theta: Float[Array, " 5"], x: Float[Array, " 100"]) -> Float[Array, ""]:
        return _slcp_log_likelihood(theta, x[inverse][:8])

    return Task("slcp_distractors", jaxsbi.box(*_SLCP_BOX), simulate, log_likelihood)


# y_t ~ Bernoulli(σ((A θ)_t)), 100 bins; x = Aᵀy, or y itself


def _glm_protocol() -> glm.Protocol:
    stimulus = np.random.RandomState(42).standard_normal(100).astype(np.float32)
    return glm.Protocol(stimulus)


def _glm_prior() -> jaxsbi.Prior:
    return jaxsbi.gaussian(glm.PRIOR_MEAN, precision=glm.PRIOR_PRECISION)


def bernoulli_glm() -> Task:
    protocol = _glm_protocol()
    return Task(
        "bernoulli_glm",
        _glm_prior(),
        lambda key, theta: glm.simulate(key, theta, protocol),
        lambda theta, x: glm.log_likelihood_of_features(theta, x, protocol),
    )


def bernoulli_glm_raw() -> Task:
    protocol = _glm_protocol()
    return Task(
        "bernoulli_glm_raw",
        _glm_prior(),
        lambda key, theta: glm.trace(key, theta, protocol).spikes,
        lambda theta, x: glm.log_likelihood(theta, x, protocol),
    )


# epidemics and predators: see _dynamics


def sir() -> Task:
    prior = jaxsbi.Prior(
        dist.LogNormal(jnp.log(jnp.array([0.4, 0.125])), jnp.array([0.5, 0.2])),
        names=("contact rate", "recovery rate"),
    )

    def simulate(key: Array, theta: Float[Array, " 2"]) -> Float[Array, " 10"]:
        # counted, draw by draw: `jax.random.binomial` takes a hundred times as long under vmap
        sampled = jax.random.uniform(key, (1000, 10)) < _dynamics.infected(theta)
        return jnp.sum(sampled, axis=0, dtype=float)

    def log_likelihood(theta: Float[Array, " 2"], x: Float[Array, " 10"]) -> Float[Array, ""]:
        share = jnp.clip(_dynamics.infected(theta), 1e-30, 1 - 1e-7)
        return jnp.sum(x * jnp.log(share) + (1000 - x) * jnp.log1p(-share))

    return Task("sir", prior, simulate, log_likelihood)


def lotka_volterra() -> Task:
    location = jnp.array([-0.125, -3.0, -0.125, -3.0])
    prior = jaxsbi.Prior(dist.LogNormal(location, jnp.full(4, 0.5)), names=("a", "b", "g", "d"))

    def simulate(key: Array, theta: Float[Array, " 4"]) -> Float[Array, " 20"]:
        return jnp.exp(_normal(key, _dynamics.log_populations(theta), 0.01))

    def log_likelihood(theta: Float[Array, " 4"], x: Float[Array, " 20"]) -> Float[Array, ""]:
        return jnp.sum(norm.logpdf(jnp.log(x), _dynamics.log_populations(theta), 0.1))

    return Task("lotka_volterra", prior, simulate, log_likelihood)


TASKS: dict[str, Callable[[], Task]] = {
    make.__name__: make
    for make in (
        gaussian_linear, gaussian_linear_uniform, slcp, slcp_distractors, bernoulli_glm,
        bernoulli_glm_raw, gaussian_mixture, two_moons, sir, lotka_volterra,
    )
}  # fmt: skip
