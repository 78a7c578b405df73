"""Networks of images (h, w, c) ↦ vector: convolutions, then every pixel, or places of attention."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.networks import MLP, Constant, Dense
from jaxsbi.types import PRNGKey


class Convolutions(nnx.Module):
    """Pixels averaged `shrink` by `shrink`; per layer a convolution, σ, a mean over `pool` pixels.

    Then `Everywhere`, or `Places` if there are heads.
    """

    def __init__(
        self,
        key: PRNGKey,
        shape: tuple[int, ...],
        channels: tuple[int, ...],
        width: int,
        features: int,
        shrink: int,
        pool: tuple[int, ...],
        heads: int,
    ) -> None:
        self.shrink, self.pool = shrink, pool
        *keys, last = jax.random.split(key, len(channels) + 1)
        sizes = [shape[-1], *channels]
        self.kernels = nnx.List(
            [
                nnx.Param(jax.random.normal(k, (width, width, i, o)) / (width * np.sqrt(i)))
                for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)
            ]
        )
        self.biases = nnx.List([nnx.Param(jnp.zeros(size)) for size in channels])
        left = jax.eval_shape(self._pixels, jax.ShapeDtypeStruct(shape, jnp.float32)).shape
        whole = Places(last, left, heads, features) if heads else Everywhere(last, left, features)
        self.whole = whole

    def __call__(self, image: Float[Array, "h w c"]) -> Float[Array, " f"]:
        return self.whole(self._pixels(image))

    def _pixels(self, image: Float[Array, "h w c"]) -> Float[Array, "r s o"]:
        h = _shrunk(image, self.shrink)
        for kernel, bias, pool in zip(self.kernels, self.biases, self.pool, strict=True):
            h = _shrunk(nnx.silu(_convolved(h, kernel[...]) + bias[...]), pool)
        return h


class Everywhere(nnx.Module):
    """σ of a linear map of every pixel: what is learned in one place is not known in another."""

    def __init__(self, key: PRNGKey, shape: tuple[int, ...], features: int) -> None:
        self.out = Dense(key, int(np.prod(shape)), features)

    def __call__(self, pixels: Float[Array, "r s o"]) -> Float[Array, " f"]:
        return nnx.silu(self.out(pixels.ravel()))


class Places(nnx.Module):
    """Per head k a_k ∝ e^{s_k} over pixels, s_k linear in a pixel's channels h; σ of a perceptron
    of the mean place Σ a_k (y, x), the mean channels Σ a_k h and log mean e^{s_k}.

    What is learned in one place is known in all. Levine et al. 2016, arXiv:1504.00702, for places.
    """

    def __init__(self, key: PRNGKey, shape: tuple[int, ...], heads: int, features: int) -> None:
        rows, columns, channels = shape
        key_score, key_out = jax.random.split(key)
        self.score = Dense(key_score, channels, heads)
        y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (rows, columns)), indexing="ij")
        self.at = Constant(jnp.asarray(np.stack([y.ravel(), x.ravel()], axis=1), float))
        self.out = MLP(key_out, heads * (channels + 3), (features, features))

    def __call__(self, pixels: Float[Array, "r s o"]) -> Float[Array, " f"]:
        pixels = pixels.reshape(-1, pixels.shape[-1])
        score = self.score(pixels)
        seen = jnp.concatenate([self.at[...], pixels], axis=1)
        means = jax.nn.softmax(score, axis=0).T @ seen
        highest = jax.nn.logsumexp(score, axis=0) - np.log(len(pixels))
        return self.out(jnp.concatenate([means.ravel(), highest]))


def _shrunk(image: Float[Array, "h w c"], side: int) -> Float[Array, "r s c"]:
    """Mean over side × side pixels; an incomplete one at the edge counts zeros."""
    pad = [(0, -size % side) for size in image.shape[:2]]
    h = jnp.pad(image, (*pad, (0, 0)))
    rows, columns, channels = h.shape
    return h.reshape(rows // side, side, columns // side, side, channels).mean((1, 3))


def _convolved(
    image: Float[Array, "h w i"], kernel: Float[Array, "k k i o"]
) -> Float[Array, "h w o"]:
    """Σ_ab image[y + a, x + b] kernel[a, b], centred, zeros beyond the edge.

    As one matrix product of shifted images: XLA's own convolution is ten times slower on CPUs
    inside a loop, and there training happens.
    """
    rows, columns, _ = image.shape
    width = len(kernel)
    before = (width - 1) // 2
    padded = jnp.pad(image, (*[(before, width - 1 - before)] * 2, (0, 0)))
    shifts = np.ndindex(width, width)
    shifted = [padded[a : a + rows, b : b + columns] for a, b in shifts]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
