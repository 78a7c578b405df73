"""Descent: epochs of minibatches and their validation, pure functions of their state.

The state lives on the device; a slice advances it by K epochs, K traced, so that one compilation
serves a whole training and all later rounds. Where the rows do not fit into memory an epoch is made
of passes over parts of them, and closed after the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxsbi.dataset import Simulations
from jaxsbi.ensembles import memberwise
from jaxsbi.types import Loss, PRNGKey

LEAST_STEPS = 20
"""An epoch is one pass over the training rows, or several where they make fewer steps."""


class Descent(NamedTuple):
    """The state of a training: everything a slice reads and writes, all of it on the device."""

    params: PyTree[Array]
    average: PyTree[Array]
    optimizer: PyTree[Array]
    step: Int[Array, ""]
    rung: Int[Array, ""]
    best: PyTree[Array]
    best_loss: Float[Array, ""]
    best_rung: Int[Array, ""]
    epoch: Int[Array, ""]
    stalled: Int[Array, ""]
    last_phase: Int[Array, ""]
    losses: Float[Array, "max_epochs 2"]


class Schedule(NamedTuple):
    """The traced settings of a slice.

    shrinkage: share of the weights lost per step, by rung; last_rung: the last one to be tried.
    epoch_rows: an epoch passes over so many rows at most, picked anew from all of them.
    """

    shrinkage: Float[Array, " rungs"]
    average: Float[Array, ""]
    patience: Int[Array, ""]
    anneal: Int[Array, ""]
    last_rung: Int[Array, ""]
    epoch_rows: Int[Array, ""]


def is_finished(state: Descent, schedule: Schedule) -> Array:
    """Whether the last phase is over."""
    return state.epoch >= state.last_phase + schedule.anneal


class Steps(NamedTuple):
    """An epoch under way: weights, their moving average, the optimizer; all losses, all steps."""

    params: PyTree[Array]
    average: PyTree[Array]
    optimizer: PyTree[Array]
    total: Float[Array, ""]
    number: Int[Array, ""]


def first_steps(state: Descent) -> Steps:
    """The epoch that follows, before its first step."""
    zero = jnp.zeros((), state.losses.dtype)
    return Steps(state.params, state.average, state.optimizer, zero, jnp.zeros_like(state.step))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("constants", "loss", "schedule", "simulations", "weights"),
    meta_fields=("graphdef", "optimizer", "batch_size"),
)
@dataclass(frozen=True)
class Task:
    """What all steps of a training share; a pytree whose module, optimizer and sizes are static.

    weights: how much each row counts, 1 on average; 0 leaves it out.
    """

    graphdef: nnx.GraphDef
    constants: PyTree[Array]
    loss: Loss
    optimizer: optax.GradientTransformation
    batch_size: int
    schedule: Schedule
    simulations: Simulations
    weights: Float[Array, " capacity"]

    @property
    def size(self) -> int:
        """Rows of a step."""
        return min(self.batch_size, self.simulations.capacity)

    @property
    def trains(self) -> Bool[Array, " capacity"]:
        return (self.weights > 0) & ~self.simulations.validation

    @property
    def validates(self) -> Bool[Array, " capacity"]:
        return (self.weights > 0) & self.simulations.validation

    def mean_loss(
        self, loss: Loss, params: PyTree, key: PRNGKey, index: Array, weight: Array
    ) -> Array:
        conditional = nnx.merge(self.graphdef, params, self.constants)
        per_row = jnp.where(weight > 0, loss(key, conditional, index, self.simulations), 0.0)
        return jnp.sum(per_row * self.weights[index]) / jnp.maximum(jnp.sum(weight), 1)

    def batch_of(self, order: Array, batch: Array, length: Array) -> tuple[Array, Array]:
        position = batch * self.size + jnp.arange(self.size)
        weight = (position < length).astype(self.weights.dtype)
        return order[jnp.minimum(position, length - 1)], weight

    def one_pass(self, key: PRNGKey, steps: Steps, state: Descent, batches: Array) -> Steps:
        """`batches` steps more on the rows to train on, in random order."""
        into_last = jnp.maximum(state.epoch - state.last_phase, 0)
        step_size = 1 - into_last / self.schedule.anneal
        train = self.trains
        n_train = jnp.sum(train, dtype=jnp.int32)
        key_order, key_loss = jax.random.split(key)
        lottery = jax.random.uniform(key_order, train.shape)
        order = jnp.argsort(jnp.where(train, lottery, 2.0))

        def step(b: Array, steps: Steps) -> Steps:
            index, weight = self.batch_of(order, b, n_train)
            value, grads = jax.value_and_grad(partial(self.mean_loss, memberwise(self.loss)))(
                steps.params, jax.random.fold_in(key_loss, b), index, weight
            )
            updates, opt = self.optimizer.update(grads, steps.optimizer, steps.params)
            kept = 1 - step_size * self.schedule.shrinkage[state.rung]
            params = jax.tree.map(lambda p, u: kept * p + step_size * u, steps.params, updates)
            # a young average forgets its start
            count = state.step + steps.number
            forget = 1 - jnp.minimum(self.schedule.average, (1 + count) / (10 + count))
            average = jax.tree.map(lambda a, p: a + forget * (p - a), steps.average, params)
            return Steps(params, average, opt, steps.total + value, steps.number + 1)

        return jax.lax.fori_loop(0, batches, step, steps)

    def validate(self, key: PRNGKey, params: PyTree, order: Array) -> Array:
        """The mean loss of the rows held out, which come first in `order`."""
        length = jnp.sum(self.validates, dtype=jnp.int32)

        def add(b: Array, total: Array) -> Array:
            index, weight = self.batch_of(order, b, length)
            value = self.mean_loss(self.loss, params, jax.random.fold_in(key, b), index, weight)
            return total + value * jnp.sum(weight)

        whole = -(-length // self.size)
        total = jax.lax.fori_loop(0, whole, add, jnp.zeros((), self.weights.dtype))
        return total / length

    def closed(self, state: Descent, steps: Steps, held_out_loss: Array) -> Descent:
        """The state after an epoch: whether it was the best, and how the next one goes on."""
        improved = held_out_loss < state.best_loss
        best = _choose(improved, steps.average, state.best)
        stalled = jnp.where(improved, 0, state.stalled + 1)
        best_rung = jnp.where(improved, state.rung, state.best_rung)
        stuck = (stalled >= self.schedule.patience) & (state.epoch + 1 < state.last_phase)
        # a decay that brought nothing better ends the path: weaker ones would not either
        ends = stuck & ((state.rung >= self.schedule.last_rung) | (best_rung < state.rung))
        rung = jnp.where(ends, best_rung, state.rung + stuck)
        params, average = _choose(stuck, (best, best), (steps.params, steps.average))
        losses = jnp.stack([steps.total / steps.number, held_out_loss])
        return Descent(
            params=params,
            average=average,
            optimizer=steps.optimizer,
            step=state.step + steps.number,
            rung=rung,
            best=best,
            best_rung=best_rung,
            best_loss=jnp.where(improved, held_out_loss, state.best_loss),
            epoch=state.epoch + 1,
            stalled=jnp.where(stuck, 0, stalled),
            last_phase=jnp.where(ends, state.epoch + 1, state.last_phase),
            losses=state.losses.at[state.epoch].set(losses),
        )


@jax.jit
def advance(key: PRNGKey, task: Task, state: Descent, epochs: Int[Array, ""]) -> Descent:
    """Up to `epochs` further epochs: a pure function of its arguments.

    Epoch e shuffles with `fold_in(key, e)`, so that slices of any length give the same weights.
    """
    n_train, schedule = jnp.sum(task.trains, dtype=jnp.int32), task.schedule
    batches = jnp.maximum(jnp.minimum(n_train, schedule.epoch_rows) // task.size, 1)
    passes = -(-LEAST_STEPS // jnp.maximum(n_train // task.size, 1))
    held_out = jnp.argsort(~task.validates, stable=True)

    def epoch(state: Descent) -> Descent:
        key_epoch = jax.random.fold_in(key, state.epoch)

        def one_pass(number: Array, steps: Steps) -> Steps:
            return task.one_pass(jax.random.fold_in(key_epoch, number), steps, state, batches)

        steps = jax.lax.fori_loop(0, passes, one_pass, first_steps(state))
        # the same contrasts in every epoch, so that validation losses can be compared
        return task.closed(state, steps, task.validate(key, steps.average, held_out))

    stop = state.epoch + epochs
    return jax.lax.while_loop(lambda s: (s.epoch < stop) & ~is_finished(s, schedule), epoch, state)


@jax.jit
def pass_over(key: PRNGKey, task: Task, state: Descent, steps: Steps) -> Steps:
    """One pass of an epoch over a part of the rows, those of the task that train."""
    batches = jnp.maximum(jnp.sum(task.trains, dtype=jnp.int32) // task.size, 1)
    return task.one_pass(key, steps, state, batches)


@jax.jit
def close_epoch(key: PRNGKey, task: Task, state: Descent, steps: Steps) -> Descent:
    """The end of an epoch of passes: its weights validated on the rows held out."""
    held_out = jnp.argsort(~task.validates, stable=True)
    return task.closed(state, steps, task.validate(key, steps.average, held_out))


def _choose(take_first: Array, first: PyTree, second: PyTree) -> PyTree:
    return jax.tree.map(partial(jnp.where, take_first), first, second)
