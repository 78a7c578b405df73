"""Mixtures of Gaussians as conditional densities, their components open to exact corrections."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.gaussians import Gaussians
from jaxsbi.networks import MLP, Dense, bounded
from jaxsbi.types import Data, PRNGKey


class Mixture(nnx.Module):
    """q(z | x) = Σ_k softmax(l)_k N(z; m_k, (L_k L_kᵀ)⁻¹), all of it functions of x."""

    def __init__(
        self,
        key: PRNGKey,
        dim: int,
        context: nnx.Module,
        components: int,
        hidden: tuple[int, ...],
    ) -> None:
        self.dim, self.components_number, self.context = dim, components, context
        net, *heads, spread = jax.random.split(key, 6)
        self.net = MLP(net, context.size, hidden)
        sizes = (1, dim, dim, dim * dim)
        self.heads = nnx.List(
            [
                Dense(k, hidden[-1], components * size, zero=True)
                for k, size in zip(heads, sizes, strict=True)
            ]
        )
        # Equal components would get equal gradients for ever: their means start apart, a little.
        if components > 1:
            self.heads[1].bias[...] = 0.1 * jax.random.normal(spread, (components * dim,))

    def components(self, x: Data) -> Gaussians:
        """The mixture given x.

        L = N diag(e^α), N unit lower triangular: −N_ji is the regression of δ_i on δ_j, j > i.
        """
        h = self.net(self.context(x))
        logits, means, log_diagonals, below = (head(h) for head in self.heads)
        shape = (self.components_number, self.dim)
        scales = jnp.exp(-bounded(log_diagonals, 8.0)).reshape(shape)
        unit = jnp.tril(below.reshape(*shape, self.dim), -1) + jnp.eye(self.dim, dtype=h.dtype)
        return Gaussians(logits, means.reshape(shape), unit * scales[:, None, :])

    def log_prob(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x)."""
        return self.components(x).log_prob(z)

    def sample(self, key: PRNGKey, x: Data) -> Float[Array, " d"]:
        """z ~ q(· | x)."""
        return self.components(x).sample(key)
