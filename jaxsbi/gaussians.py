"""Mixtures of Gaussians as values: densities, draws, moments, and exact products with each other.

Every mixture is Σ_k w_k N(z; m_k, P_k⁻¹), with w = softmax(logits) and P_k = L_k L_kᵀ.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from jaxsbi import triangular
from jaxsbi.types import PRNGKey


class Gaussians(NamedTuple):
    """A mixture over z (d,): logits, means, and lower Cholesky factors of the precisions."""

    logits: Float[Array, " K"]
    means: Float[Array, "K d"]
    factors: Float[Array, "K d d"]

    @property
    def precisions(self) -> Float[Array, "K d d"]:
        return jnp.einsum("kij,klj->kil", self.factors, self.factors)

    def log_prob(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """log Σ_k w_k N(z; m_k, P_k⁻¹)."""
        whitened = jnp.einsum("kji,kj->ki", self.factors, z - self.means)
        densities = _half_log_det(self.factors) - 0.5 * jnp.sum(whitened**2, axis=1)
        weights = jax.nn.log_softmax(self.logits)
        return jax.nn.logsumexp(weights + densities) - 0.5 * z.shape[0] * math.log(2 * math.pi)

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        """z ~ Σ_k w_k N(m_k, P_k⁻¹)."""
        key_component, key_noise = jax.random.split(key)
        k = jax.random.categorical(key_component, self.logits)
        noise = jax.random.normal(key_noise, self.means.shape[1:], self.means.dtype)
        return self.means[k] + triangular.solve(self.factors[k], noise, transposed=True)

    def moments(self) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """Mean and covariance of the mixture."""
        weights = jax.nn.softmax(self.logits)
        mean = weights @ self.means
        inverses = jax.vmap(lambda f: jax.scipy.linalg.cho_solve((f, True), jnp.eye(len(f))))
        apart = self.means - mean
        spread = jnp.einsum("ki,kj->kij", apart, apart)
        return mean, jnp.einsum("k,kij->ij", weights, inverses(self.factors) + spread)


def standard(components: int, dim: int) -> Gaussians:
    """N(0, I), as a mixture of equal components."""
    factors = jnp.broadcast_to(jnp.eye(dim), (components, dim, dim))
    return Gaussians(jnp.zeros(components), jnp.zeros((components, dim)), factors)


def no_wider_than_standard(mixture: Gaussians) -> Gaussians:
    """The mixture with every variance cut to at most 1, along the axes of each component."""
    values, vectors = jnp.linalg.eigh(mixture.precisions)
    precisions = jnp.einsum("kij,kj,klj->kil", vectors, jnp.maximum(values, 1.0), vectors)
    return mixture._replace(factors=jnp.linalg.cholesky(precisions))


def log_overlap(first: Gaussians, second: Gaussians) -> Float[Array, ""]:
    """log ∫ q(z) g(z) / N(z; 0, I) dz, exact where P_k + Q_j − I is positive definite for all k, j.

    With δ = m − n, S = P + Q − I and s = m − Q δ, a pair of components contributes
    |P|^½ |Q|^½ |S|^{−½} exp(½ (|m|² − δᵀQδ + sᵀS⁻¹s)): no term holds P, which may be huge.
    """
    identity = jnp.eye(first.means.shape[1])
    sums = first.precisions[:, None] + second.precisions[None] - identity
    factors = jnp.linalg.cholesky(sums)
    apart = first.means[:, None] - second.means[None]
    pulled = jnp.einsum("jab,kjb->kja", second.precisions, apart)
    slope = first.means[:, None] - pulled
    whitened = solve_triangular(factors, slope[..., None], lower=True)[..., 0]
    exponent = (
        jnp.sum(first.means**2, axis=1)[:, None]
        - jnp.sum(apart * pulled, axis=2)
        + jnp.sum(whitened**2, axis=2)
    )
    volume = _half_log_det(first.factors)[:, None] + _half_log_det(second.factors)[None]
    weights = jax.nn.log_softmax(first.logits)[:, None] + jax.nn.log_softmax(second.logits)[None]
    return jax.nn.logsumexp(weights + volume - _half_log_det(factors) + 0.5 * exponent)


def quotient(mixture: Gaussians, gaussian: Gaussians) -> tuple[Gaussians, Bool[Array, " K"]]:
    """q(z) N(z; 0, I) / g(z), normalised, g one Gaussian; and which components are indefinite.

    P' = P − Q + I. Where it is not positive definite the quotient is no density: the component's
    offending axes get the prior's precision, 1, instead.
    """
    identity, gap = jnp.eye(mixture.means.shape[1]), 1e-4
    precision = gaussian.precisions[0]
    values, vectors = jnp.linalg.eigh(mixture.precisions - precision + identity)
    lost = values < gap
    values = jnp.where(lost, 1.0, values)
    apart = mixture.means - gaussian.means[0]
    # relative to m: z = m + u has the slope Q (m − n) − m in u
    slope = apart @ precision - mixture.means
    shift = jnp.einsum("kij,kj,klj,kl->ki", vectors, 1 / values, vectors, slope)
    half_log_det = 0.5 * jnp.sum(jnp.log(values), axis=1)
    gain = 0.5 * (
        jnp.sum(apart @ precision * apart, axis=1)
        - jnp.sum(mixture.means**2, axis=1)
        + jnp.sum(slope * shift, axis=1)
    )
    logits = jax.nn.log_softmax(mixture.logits) + gain
    logits += _half_log_det(mixture.factors) - half_log_det
    precisions = jnp.einsum("kij,kj,klj->kil", vectors, values, vectors)
    corrected = Gaussians(logits, mixture.means + shift, jnp.linalg.cholesky(precisions))
    return corrected, jnp.any(lost, axis=1)


def _half_log_det(factors: Float[Array, "*k d d"]) -> Float[Array, "*k"]:
    return jnp.sum(jnp.log(jnp.diagonal(factors, axis1=-2, axis2=-1)), axis=-1)
