"""Validity: c(z), the probability that a simulation of z gives an outcome at all, learned."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxsbi.checkpoints import Checkpoint
from jaxsbi.dataset import Simulations
from jaxsbi.networks import MLP, Constant
from jaxsbi.progress import Reporter
from jaxsbi.training import Training, train
from jaxsbi.types import PRNGKey

KEPT = 0.99
"""Share of the held-out valid rows that a restricted proposal keeps."""
TRAINING = Training(weight_decay=(1.0, 0.1), max_epochs=200, patience=10)


class Validity(nnx.Module):
    """c(z) = 1/(1 + e^{−f(z)}), f a perceptron; one half everywhere before it is trained."""

    def __init__(self, key: PRNGKey, dim: int, hidden: tuple[int, ...] = (50, 50)) -> None:
        self.net = MLP(key, dim, hidden, 1)
        last = self.net.layers[-1].kernel
        last[...] = jnp.zeros_like(last[...])
        self.threshold = Constant(jnp.asarray(-jnp.inf, jnp.result_type(float)))

    def logit(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """f(z)."""
        return self.net(z)[0]

    def log_prob(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """log c(z)."""
        return jax.nn.log_sigmoid(self.logit(z))

    def holds(self, z: Float[Array, " d"]) -> Array:
        """Whether c(z) ≥ t, the threshold that keeps nearly all valid rows."""
        return self.logit(z) >= self.threshold[...]


class Judged(NamedTuple):
    """A trained validity model, or None, the share of held-out valid rows below its threshold, and
    whether Ctrl-C ended the training."""

    model: Validity | None
    lost: float
    interrupted: bool


def cross_entropy(
    key: PRNGKey, model: Validity, index: Int[Array, " batch"], simulations: Simulations
) -> Float[Array, " batch"]:
    """−log c(z) of a valid row, −log(1 − c(z)) of a failed one."""
    rows = simulations.take(index)
    logit = jax.vmap(model.logit)(rows.z)
    return -jax.nn.log_sigmoid(jnp.where(rows.valid, logit, -logit))


LOSS = jax.tree_util.Partial(cross_entropy)


def learn_validity(
    key: PRNGKey,
    model: Validity | None,
    simulations: Simulations,
    reporter: Reporter,
    checkpoint: Checkpoint | None = None,
) -> Judged:
    """c from every attempted row, valid or not, from the last round's weights on if there are any.

    The threshold is the largest that keeps at least `KEPT` of the held-out valid rows.
    """
    key_init, key_train = jax.random.split(key)
    if model is None:
        model = Validity(key_init, simulations.rows.z.shape[1])
    attempted = simulations.filled.astype(simulations.rows.z.dtype)
    trained = train(
        key_train, model, LOSS, simulations, attempted, TRAINING, reporter, checkpoint=checkpoint
    )
    model = trained.conditional
    held_out = np.asarray(simulations.filled & simulations.rows.valid & simulations.validation)
    logits = np.sort(np.asarray(_logits(model, simulations.rows.z))[held_out])
    # at least KEPT of the rows lie at or above it
    lost = int(np.floor((1 - KEPT) * len(logits)))
    threshold = logits[lost] if len(logits) else -np.inf
    model.threshold[...] = jnp.asarray(threshold, jnp.result_type(float))
    return Judged(model, lost / max(len(logits), 1), trained.interrupted)


@nnx.jit
def _logits(model: Validity, z: Float[Array, "n d"]) -> Float[Array, " n"]:
    return jax.vmap(model.logit)(z)
