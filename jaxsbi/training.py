"""Training: settings, and the loop that runs a descent in compiled slices of about a second.

Progress, Ctrl-C and checkpoints live between slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, PyTree

from jaxsbi.arguments import check_count, check_real
from jaxsbi.checkpoints import Checkpoint
from jaxsbi.dataset import Simulations
from jaxsbi.descent import Descent, Schedule, Task, advance, is_finished
from jaxsbi.progress import Interrupt, Reporter, deferred_interrupt
from jaxsbi.trained import Trained, finished, resumed
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
        more, from the best weights, and the path ends with one that brings nothing better. So a
        smooth posterior is learned smoothly from few rows, and a sharp one sharply. Default: 10, 1,
        0.1, 0.01; none for an optimizer of your own.
    batch_size: rows per step.
    average: the weights that are validated and kept are a moving average over steps, with this
        decay per step; they are better, and better calibrated, than those of any one step.
    validation: share of the rows held out, fixed when a row is simulated.
    patience: epochs without a better validation loss after which the next decay of the path, or
        at its end the last phase begins.
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
            check_real(name, getattr(self, name), 0.0, 1.0)
        check_real("learning_rate", self.learning_rate, 0.0, np.inf)
        if not isinstance(self.optimizer, optax.GradientTransformation | None):
            raise ValueError(
                "optimizer must be an optax transformation such as optax.adam(1e-3), got "
                f"{self.optimizer!r}"
            )
        if self.weight_decay is None:
            default = DECAYS if self.optimizer is None else (0.0,)
            object.__setattr__(self, "weight_decay", default)
        object.__setattr__(self, "weight_decay", _path(self.weight_decay))
        if self.optimizer is None:
            object.__setattr__(self, "optimizer", adam(self.learning_rate))

    @property
    def shrinkage(self) -> np.ndarray:
        """Share of the weights lost in a step, for each decay of the path."""
        return self.learning_rate * np.asarray(self.weight_decay, np.float32)


def _path(decays: Any) -> tuple[float, ...]:
    try:
        path = np.atleast_1d(decays).astype(float)
    except (TypeError, ValueError):
        path = np.array([np.nan])
    if path.ndim != 1 or not path.size or not np.all((path >= 0) & np.isfinite(path)):
        raise ValueError(
            "weight_decay must be a number, or a path of them, finite and none of them negative, "
            f"got {decays!r}"
        )
    return tuple(path.tolist())


@cache
def adam(learning_rate: float) -> optax.GradientTransformation:
    """One object per setting, so that equal settings share a compilation."""
    return optax.chain(
        optax.zero_nans(),
        optax.clip_by_global_norm(5.0),
        optax.adam(learning_rate),
    )


class Course(NamedTuple):
    """Which part of the path of weight decays a training takes, by number, None: to the end; and
    how many rows an epoch passes over at most, None: all of them."""

    first_rung: int = 0
    last_rung: int | None = None
    epoch_rows: int | None = None


WHOLE = Course()


def start(params: PyTree[Array], training: Training, rung: int = 0) -> Descent:
    """The state before the first epoch, the weight decay at the given step of its path.

    Its numbers are strongly typed, as `advance` returns them: weak ones would compile it twice.
    """
    real = jnp.result_type(float)
    return Descent(
        params=params,
        average=params,
        optimizer=jax.jit(training.optimizer.init)(params),
        step=jnp.zeros((), jnp.int32),
        rung=jnp.asarray(rung, jnp.int32),
        best=params,
        best_rung=jnp.asarray(rung, jnp.int32),
        best_loss=jnp.array(jnp.inf, real),
        epoch=jnp.zeros((), jnp.int32),
        stalled=jnp.zeros((), jnp.int32),
        last_phase=jnp.array(training.max_epochs - training.anneal, jnp.int32),
        losses=jnp.full((training.max_epochs, 2), jnp.nan, real),
    )


def schedule_of(training: Training, course: Course = WHOLE) -> Schedule:
    """The settings as a slice reads them."""
    _, last, rows = course
    return Schedule(
        shrinkage=jnp.asarray(training.shrinkage),
        average=jnp.asarray(training.average),
        patience=jnp.asarray(training.patience),
        anneal=jnp.asarray(training.anneal),
        last_rung=jnp.asarray(len(training.weight_decay) - 1 if last is None else last),
        epoch_rows=jnp.asarray(np.iinfo(np.int32).max if rows is None else rows, jnp.int32),
    )


def train(
    key: PRNGKey,
    conditional: nnx.Module,
    loss: Loss,
    simulations: Simulations,
    weights: Float[Array, " capacity"],
    training: Training,
    reporter: Reporter,
    course: Course = WHOLE,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Minimise the mean loss over the training rows; the weights best on the held-out ones win.

    weights: how much each row counts, on both sides; 0 leaves it out.
    course: the part of the path of weight decays to take, and the length of an epoch.
    checkpoint: where the state is kept between slices, and from where the training goes on.

    Ctrl-C ends the training after the slice under way, with the best weights so far, and is
    raised where there are none yet. Raises Diverged if no epoch has a finite validation loss.
    """
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    state = start(params, training, course.first_rung)
    schedule = schedule_of(training, course)
    task = Task(
        graphdef, constants, loss, training.optimizer, training.batch_size, schedule, simulations,
        _normalised(weights),
    )  # fmt: skip

    def slice_of(state: Descent, epochs: int) -> Descent:
        return jax.block_until_ready(advance(key, task, state, jnp.asarray(epochs)))

    state, spent = resumed(checkpoint, state)
    epochs = 1
    with deferred_interrupt(checkpoint is not None) as interrupt, spent.clock():
        if not is_finished(state, schedule):
            slice_of(state, 0)
            while not is_finished(state, schedule) and not interrupt.requested:
                sliced = time.perf_counter()
                state = slice_of(state, epochs)
                per_epoch = (time.perf_counter() - sliced) / epochs
                epochs = int(np.clip(SLICE_SECONDS / per_epoch, 1, MAX_SLICE_EPOCHS))
                report(reporter, state, training, interrupt)
                if checkpoint is not None and checkpoint.due:
                    checkpoint.save(state, **spent.facts)
            if checkpoint is not None:
                checkpoint.save(state, **spent.facts)
    conditional = nnx.merge(graphdef, state.best, constants)
    return finished(conditional, state, spent, training.learning_rate, interrupt)


@jax.jit
def _normalised(weights: Array) -> Array:
    """Weights of mean 1 over the rows that count."""
    return weights * (jnp.sum(weights > 0) / jnp.sum(weights))


def report(reporter: Reporter, state: Descent, training: Training, interrupt: Interrupt) -> None:
    epoch, last = int(state.epoch), int(state.last_phase)
    ended = epoch >= last + training.anneal or interrupt.requested
    reporter.update(
        "train",
        1.0 if ended else epoch / (last + training.anneal),
        f"epoch {epoch} of at most {last + training.anneal}, validation loss "
        f"{float(state.losses[epoch - 1, 1]):.3f}, best {float(state.best_loss):.3f}"
        + (" (interrupted: the best weights are kept)" if interrupt.requested else ""),
    )
