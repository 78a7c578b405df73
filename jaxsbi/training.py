"""Training: minibatch descent as one pure function, run in compiled slices of about a second.

The state lives on the device; a slice advances it by K epochs, K traced, so that one compilation
serves a whole training and all later rounds. Progress and Ctrl-C live between slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from jaxsbi.compilation import compile_clock
from jaxsbi.dataset import Simulations
from jaxsbi.progress import Interrupt, Reporter, deferred_interrupt
from jaxsbi.simulation import check_count
from jaxsbi.types import Loss, PRNGKey

SLICE_SECONDS = 1.0
MAX_SLICE_EPOCHS = 200


@dataclass(frozen=True)
class Training:
    """How a density is trained; the defaults serve every problem of the library.

    optimizer: any optax transformation; default Adam at `learning_rate` with `weight_decay`,
        gradients clipped.
    batch_size: rows per step.
    average: the weights that are validated and kept are a moving average over steps, with this
        decay per step; they are better, and better calibrated, than those of any one step.
    validation: share of the rows held out, fixed when a row is simulated.
    patience: epochs without a better validation loss after which the last phase begins.
    anneal: epochs of the last phase: from the best weights, the step size falls linearly to 0.
    max_epochs: the training ends here at the latest, the last phase included.
    """

    optimizer: optax.GradientTransformation | None = None
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    batch_size: int = 200
    average: float = 0.99
    validation: float = 0.1
    patience: int = 15
    anneal: int = 20
    max_epochs: int = 200

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
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay!r}")
        if self.optimizer is None:
            object.__setattr__(self, "optimizer", _adam(self.learning_rate, self.weight_decay))


@cache
def _adam(learning_rate: float, weight_decay: float) -> optax.GradientTransformation:
    """One object per setting, so that equal settings share a compilation."""
    return optax.chain(
        optax.zero_nans(),
        optax.clip_by_global_norm(5.0),
        optax.adamw(learning_rate, weight_decay=weight_decay),
    )


class Descent(NamedTuple):
    """The state of a training: everything a slice reads and writes, all of it on the device."""

    params: PyTree[Array]
    average: PyTree[Array]
    optimizer: PyTree[Array]
    step: Int[Array, ""]
    best: PyTree[Array]
    best_loss: Float[Array, ""]
    epoch: Int[Array, ""]
    stalled: Int[Array, ""]
    last_phase: Int[Array, ""]
    losses: Float[Array, "max_epochs 2"]


class Schedule(NamedTuple):
    """The traced settings of a slice."""

    average: Float[Array, ""]
    patience: Int[Array, ""]
    anneal: Int[Array, ""]
    max_epochs: Int[Array, ""]


class Trained(NamedTuple):
    """A finished training: the module with its best weights, and what it took."""

    conditional: nnx.Module
    training_losses: np.ndarray
    validation_losses: np.ndarray
    best_epoch: int
    seconds: float
    compile_seconds: float
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
        best=params,
        best_loss=jnp.array(jnp.inf),
        epoch=jnp.zeros((), jnp.int32),
        stalled=jnp.zeros((), jnp.int32),
        last_phase=jnp.array(training.max_epochs - training.anneal, jnp.int32),
        losses=jnp.full((training.max_epochs, 2), jnp.nan),
    )


def is_finished(state: Descent, schedule: Schedule) -> Array:
    """Whether the last phase is over."""
    return state.epoch >= state.last_phase + schedule.anneal


@partial(jax.jit, static_argnames=("graphdef", "loss", "optimizer", "batch_size"))
def advance(
    key: PRNGKey,
    graphdef: nnx.GraphDef,
    constants: PyTree[Array],
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    state: Descent,
    simulations: Simulations,
    schedule: Schedule,
    epochs: Int[Array, ""],
) -> Descent:
    """Up to `epochs` further epochs: a pure function of its arguments.

    Epoch e shuffles with `fold_in(key, e)`, so that slices of any length give the same weights.
    """
    batch_size = min(batch_size, simulations.capacity)
    train, held_out = simulations.training_rows, simulations.validation_rows
    n_train, n_held_out = jnp.sum(train), jnp.sum(held_out)
    held_out_order = jnp.argsort(~held_out, stable=True)

    def mean_loss(params: PyTree, key: PRNGKey, index: Array, weight: Array) -> Array:
        conditional = nnx.merge(graphdef, params, constants)
        rows = jax.tree.map(lambda leaf: leaf[index], simulations.rows)
        per_row = jnp.where(weight > 0, loss(key, conditional, rows, simulations), 0.0)
        return jnp.sum(per_row * weight) / jnp.maximum(jnp.sum(weight), 1)

    def batch_of(order: Array, batch: Array, length: Array) -> tuple[Array, Array]:
        position = batch * batch_size + jnp.arange(batch_size)
        weight = (position < length).astype(state.losses.dtype)
        return order[jnp.minimum(position, length - 1)], weight

    def train_epoch(key: PRNGKey, state: Descent) -> tuple[tuple[PyTree, ...], Array]:
        key_order, key_loss = jax.random.split(key)
        lottery = jax.random.uniform(key_order, train.shape)
        order = jnp.argsort(jnp.where(train, lottery, 2.0))
        batches = jnp.maximum(n_train // batch_size, 1)
        into_last = jnp.maximum(state.epoch - state.last_phase, 0)
        step_size = 1 - into_last / schedule.anneal

        def step(b: Array, carry: tuple) -> tuple:
            (params, average, opt), total = carry
            index, weight = batch_of(order, b, n_train)
            value, grads = jax.value_and_grad(mean_loss)(
                params, jax.random.fold_in(key_loss, b), index, weight
            )
            updates, opt = optimizer.update(grads, opt, params)
            updates = jax.tree.map(lambda u: u * step_size, updates)
            params = optax.apply_updates(params, updates)
            # a young average forgets its start
            count = state.step + b
            forget = 1 - jnp.minimum(schedule.average, (1 + count) / (10 + count))
            average = jax.tree.map(lambda a, p: a + forget * (p - a), average, params)
            return (params, average, opt), total + value

        zero = jnp.zeros((), state.losses.dtype)
        start = (state.params, state.average, state.optimizer)
        weights, total = jax.lax.fori_loop(0, batches, step, (start, zero))
        return weights, total / batches

    def validate(key: PRNGKey, params: PyTree) -> Array:
        batches = -(-n_held_out // batch_size)

        def add(b: Array, total: Array) -> Array:
            index, weight = batch_of(held_out_order, b, n_held_out)
            value = mean_loss(params, jax.random.fold_in(key, b), index, weight)
            return total + value * jnp.sum(weight)

        total = jax.lax.fori_loop(0, batches, add, jnp.zeros((), state.losses.dtype))
        return total / n_held_out

    def epoch(state: Descent) -> Descent:
        weights, train_loss = train_epoch(jax.random.fold_in(key, state.epoch), state)
        params, average, opt = weights
        # the same contrasts in every epoch, so that validation losses can be compared
        held_out_loss = validate(key, average)
        improved = held_out_loss < state.best_loss
        best = _choose(improved, average, state.best)
        stalled = jnp.where(improved, 0, state.stalled + 1)
        ends = (stalled >= schedule.patience) & (state.epoch + 1 < state.last_phase)
        params, average = _choose(ends, (best, best), (params, average))
        return Descent(
            params=params,
            average=average,
            optimizer=opt,
            step=state.step + jnp.maximum(n_train // batch_size, 1),
            best=best,
            best_loss=jnp.where(improved, held_out_loss, state.best_loss),
            epoch=state.epoch + 1,
            stalled=stalled,
            last_phase=jnp.where(ends, state.epoch + 1, state.last_phase),
            losses=state.losses.at[state.epoch].set(jnp.stack([train_loss, held_out_loss])),
        )

    stop = state.epoch + epochs
    return jax.lax.while_loop(lambda s: (s.epoch < stop) & ~is_finished(s, schedule), epoch, state)


def _choose(take_first: Array, first: PyTree, second: PyTree) -> PyTree:
    return jax.tree.map(partial(jnp.where, take_first), first, second)


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
