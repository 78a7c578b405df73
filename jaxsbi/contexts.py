"""Contexts: what a conditional density sees of x, the same for all z."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi.dataset import Moments
from jaxsbi.networks import Embedding, NormalScores, Standardise
from jaxsbi.types import Data, PRNGKey


class Contextual(nnx.Module):
    """x ↦ context (c,): standardised values, then embedded.

    Without an embedding the context is every value, its normal score, and whether it is undefined.
    """

    def __init__(self, key: PRNGKey, moments: Moments, embedding: Embedding | None) -> None:
        self.standardise = Standardise(moments)
        if embedding is None:
            self.scores, self.embedding = NormalScores(moments), None
        else:
            example = self.standardise(moments.location)
            self.scores, self.embedding = None, embedding(nnx.Rngs(key), example)
        context = jax.eval_shape(self, moments.location)
        if not isinstance(context, jax.ShapeDtypeStruct) or context.ndim != 1:
            raise ValueError(
                "embedding must build a module that maps (values, defined) of one x to one vector "
                f"(c,), got {context}; flatten the module's output"
            )
        self.size = context.shape[0]

    def __call__(self, x: Data) -> Float[Array, " c"]:
        values, defined = self.standardise(x)
        if self.embedding is not None:
            return self.embedding(values, defined)
        leaves = jax.tree.leaves((values, self.scores(x), jax.tree.map(jnp.logical_not, defined)))
        return jnp.concatenate([jnp.ravel(leaf).astype(float) for leaf in leaves])
