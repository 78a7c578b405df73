"""Training: settings, and the loop that runs a descent in compiled slices of about a second.

Progress and Ctrl-C live between slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, PyTree

from jaxsbi.arguments import check_count
from jaxsbi.compilation import compile_clock
from jaxsbi.dataset import Simulations
from jaxsbi.descent import Descent, Schedule, advance, is_finished
from jaxsbi.progress import Interrupt, Reporter, deferred_interrupt
from jaxsbi.types import Loss, PRNGKey

SLICE_SECONDS = 1.0
MAX_SLICE_EPOCHS = 200
DECAYS = (10.0, 1.0, 0.1, 0.01)


@dataclass(frozen=True)
class Training:
    """How a density is trained; the defaults serve every problem of the library.

    An epoch is one pass over the training rows, or as many as it takes to make 20 steps, so that
    averages settle and patience means the same where rows are few.

    optimizer: any optax transformation; default Adam at `learning_rate`, gradients clipped.
    weight_decay: share of the weights, times the learning rate, that they lose in each step. One
        number, or a path of them, strong to weak: the next begins where no epoch gets better any
        more, from the best weights. So a smooth posterior is learned smoothly from few rows, and
        a sharp one sharply. Default: 10, 1, 0.1, 0.01; none for an optimizer of your own.
    batch_size: rows per step.
    average: the weights that are validated and kept are a moving average over steps, with this
        decay per step; they are better, and better calibrated, than those of any one step.
    validation: share of the rows held out, fixed when a row is simulated.
    patience: epochs without a better validation loss after which the next decay of the path, and
        in the end the last phase begins.
    anneal: epochs of the last phase: from the best weights, under the decay that led to them, the
        step size falls linearly to 0.
    max_epochs: the training ends here at the latest, the last phase included.
    """

    optimizer: optax.GradientTransformation | None = None
    learning_rate: float = 5e-3
    weight_decay: float | tuple[float, ...] | None = None
    batch_size: int = 200
    average: float = 0.99
    validation: float = 0.1
    patience: int = 15
    anneal: int = 20
    max_epochs: int = 400

    def __post_init__(self) -> None:
        for name in ("batch_size", "patience", "anneal", "max_epochs"):
            check_count(name, getattr(self, name))
        if self.anneal > self.max_epochs:
            raise ValueError(
                f"anneal must be at most max_epochs, got {self.anneal} and {self.max_epochs}"
            )
        for name in ("validation", "average"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {share!r}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate!r}")
        if self.weight_decay is None:
            default = DECAYS if self.optimizer is None else (0.0,)
            object.__setattr__(self, "weight_decay", default)
        decays = np.atleast_1d(self.weight_decay)
        if decays.ndim != 1 or not decays.size or not np.all(decays >= 0):
            raise ValueError(
                "weight_decay must be a number, or a path of them, none of them negative, got "
                f"{self.weight_decay!r}"
            )
        object.__setattr__(self, "weight_decay", tuple(decays.tolist()))
        if self.optimizer is None:
            object.__setattr__(self, "optimizer", _adam(self.learning_rate))

    @property
    def shrinkage(self) -> np.ndarray:
        """Share of the weights lost in a step, for each decay of the path."""
        return self.learning_rate * np.asarray(self.weight_decay, np.float32)


@cache
def _adam(learning_rate: float) -> optax.GradientTransformation:
    """One object per setting, so that equal settings share a compilation."""
    return optax.chain(
        optax.zero_nans(),
        optax.clip_by_global_norm(5.0),
        optax.adam(learning_rate),
    )


class Trained(NamedTuple):
    """A finished training: the module with its best weights, and what it took."""

    conditional: nnx.Module
    training_losses: np.ndarray
    validation_losses: np.ndarray
    best_epoch: int
    seconds: float
    compile_seconds: float
    compilations: int
    interrupted: bool

    @property
    def best_loss(self) -> float:
        """The lowest validation loss [nats per row, in z]."""
        return float(np.min(self.validation_losses, initial=np.inf))


def start(params: PyTree[Array], training: Training) -> Descent:
    """The state before the first epoch."""
    return Descent(
        params=params,
        average=params,
        optimizer=training.optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        rung=jnp.zeros((), jnp.int32),
        best=params,
        best_rung=jnp.zeros((), jnp.int32),
        best_loss=jnp.array(jnp.inf),
        epoch=jnp.zeros((), jnp.int32),
        stalled=jnp.zeros((), jnp.int32),
        last_phase=jnp.array(training.max_epochs - training.anneal, jnp.int32),
        losses=jnp.full((training.max_epochs, 2), jnp.nan),
    )


def train(
    key: PRNGKey,
    conditional: nnx.Module,
    loss: Loss,
    simulations: Simulations,
    training: Training,
    reporter: Reporter,
) -> Trained:
    """Minimise the mean loss over the training rows; the weights best on the held-out ones win.

    Ctrl-C ends the training after the slice under way, with the best weights so far.
    """
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    state = start(params, training)
    schedule = Schedule(*(jnp.asarray(getattr(training, name)) for name in Schedule._fields))

    def slice_of(state: Descent, epochs: int) -> Descent:
        state = advance(
            key, graphdef, constants, loss, training.optimizer,
            training.batch_size, state, simulations, schedule, jnp.asarray(epochs),
        )  # fmt: skip
        return jax.block_until_ready(state)

    began = time.perf_counter()
    epochs = 1
    with deferred_interrupt() as interrupt, compile_clock() as clock:
        slice_of(state, 0)
        while not is_finished(state, schedule) and not interrupt.requested:
            sliced = time.perf_counter()
            state = slice_of(state, epochs)
            per_epoch = (time.perf_counter() - sliced) / epochs
            epochs = int(np.clip(SLICE_SECONDS / per_epoch, 1, MAX_SLICE_EPOCHS))
            _report(reporter, state, training, interrupt)
        seconds = time.perf_counter() - began - clock.seconds
    losses = np.asarray(state.losses)[: int(state.epoch)]
    return Trained(
        conditional=nnx.merge(graphdef, state.best, constants),
        training_losses=losses[:, 0],
        validation_losses=losses[:, 1],
        best_epoch=int(np.argmin(losses[:, 1])) if len(losses) else 0,
        seconds=seconds,
        compile_seconds=clock.seconds,
        compilations=clock.programs,
        interrupted=interrupt.requested,
    )


def _report(reporter: Reporter, state: Descent, training: Training, interrupt: Interrupt) -> None:
    epoch, last = int(state.epoch), int(state.last_phase)
    ended = epoch >= last + training.anneal or interrupt.requested
    reporter.update(
        "train",
        1.0 if ended else epoch / (last + training.anneal),
        f"epoch {epoch} of at most {last + training.anneal}, validation loss "
        f"{float(state.losses[epoch - 1, 1]):.3f}, best {float(state.best_loss):.3f}"
        + (" (interrupted: the best weights are kept)" if interrupt.requested else ""),
    )
