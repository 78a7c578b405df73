"""Descent: epochs of minibatches and their validation, one pure function of its state.

The state lives on the device; a slice advances it by K epochs, K traced, so that one compilation
serves a whole training and all later rounds.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

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


@partial(jax.jit, static_argnames=("graphdef", "optimizer", "batch_size"))
def advance(
    key: PRNGKey,
    graphdef: nnx.GraphDef,
    constants: PyTree[Array],
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    state: Descent,
    simulations: Simulations,
    weights: Float[Array, " capacity"],
    schedule: Schedule,
    epochs: Int[Array, ""],
) -> Descent:
    """Up to `epochs` further epochs: a pure function of its arguments.

    weights: how much each row counts, 1 on average; 0 leaves it out.

    Epoch e shuffles with `fold_in(key, e)`, so that slices of any length give the same weights.
    """
    batch_size = min(batch_size, simulations.capacity)
    train = (weights > 0) & ~simulations.validation
    held_out = (weights > 0) & simulations.validation
    n_train, n_held_out = (jnp.sum(rows, dtype=jnp.int32) for rows in (train, held_out))
    batches = jnp.maximum(jnp.minimum(n_train, schedule.epoch_rows) // batch_size, 1)
    passes = -(-LEAST_STEPS // jnp.maximum(n_train // batch_size, 1))
    held_out_order = jnp.argsort(~held_out, stable=True)

    def mean_loss(loss: Loss, params: PyTree, key: PRNGKey, index: Array, weight: Array) -> Array:
        conditional = nnx.merge(graphdef, params, constants)
        per_row = jnp.where(weight > 0, loss(key, conditional, index, simulations), 0.0)
        return jnp.sum(per_row * weights[index]) / jnp.maximum(jnp.sum(weight), 1)

    def batch_of(order: Array, batch: Array, length: Array) -> tuple[Array, Array]:
        position = batch * batch_size + jnp.arange(batch_size)
        weight = (position < length).astype(state.losses.dtype)
        return order[jnp.minimum(position, length - 1)], weight

    def train_epoch(key: PRNGKey, state: Descent) -> tuple[tuple[PyTree, ...], Array]:
        into_last = jnp.maximum(state.epoch - state.last_phase, 0)
        step_size = 1 - into_last / schedule.anneal

        def one_pass(number: Array, carry: tuple) -> tuple:
            key_order, key_loss = jax.random.split(jax.random.fold_in(key, number))
            lottery = jax.random.uniform(key_order, train.shape)
            order = jnp.argsort(jnp.where(train, lottery, 2.0))

            def step(b: Array, carry: tuple) -> tuple:
                (params, average, opt), total = carry
                index, weight = batch_of(order, b, n_train)
                value, grads = jax.value_and_grad(partial(mean_loss, memberwise(loss)))(
                    params, jax.random.fold_in(key_loss, b), index, weight
                )
                updates, opt = optimizer.update(grads, opt, params)
                kept = 1 - step_size * schedule.shrinkage[state.rung]
                params = jax.tree.map(lambda p, u: kept * p + step_size * u, params, updates)
                # a young average forgets its start
                count = state.step + number * batches + b
                forget = 1 - jnp.minimum(schedule.average, (1 + count) / (10 + count))
                average = jax.tree.map(lambda a, p: a + forget * (p - a), average, params)
                return (params, average, opt), total + value

            return jax.lax.fori_loop(0, batches, step, carry)

        zero = jnp.zeros((), state.losses.dtype)
        start = (state.params, state.average, state.optimizer)
        weights, total = jax.lax.fori_loop(0, passes, one_pass, (start, zero))
        return weights, total / (passes * batches)

    def validate(key: PRNGKey, params: PyTree) -> Array:
        def add(b: Array, total: Array) -> Array:
            index, weight = batch_of(held_out_order, b, n_held_out)
            value = mean_loss(loss, params, jax.random.fold_in(key, b), index, weight)
            return total + value * jnp.sum(weight)

        whole = -(-n_held_out // batch_size)
        total = jax.lax.fori_loop(0, whole, add, jnp.zeros((), state.losses.dtype))
        return total / n_held_out

    def epoch(state: Descent) -> Descent:
        weights, train_loss = train_epoch(jax.random.fold_in(key, state.epoch), state)
        params, average, opt = weights
        # the same contrasts in every epoch, so that validation losses can be compared
        held_out_loss = validate(key, average)
        improved = held_out_loss < state.best_loss
        best = _choose(improved, average, state.best)
        stalled = jnp.where(improved, 0, state.stalled + 1)
        best_rung = jnp.where(improved, state.rung, state.best_rung)
        stuck = (stalled >= schedule.patience) & (state.epoch + 1 < state.last_phase)
        ends = stuck & (state.rung >= schedule.last_rung)
        rung = jnp.where(ends, best_rung, state.rung + stuck)
        params, average = _choose(stuck, (best, best), (params, average))
        return Descent(
            params=params,
            average=average,
            optimizer=opt,
            step=state.step + passes * batches,
            rung=rung,
            best=best,
            best_rung=best_rung,
            best_loss=jnp.where(improved, held_out_loss, state.best_loss),
            epoch=state.epoch + 1,
            stalled=jnp.where(stuck, 0, stalled),
            last_phase=jnp.where(ends, state.epoch + 1, state.last_phase),
            losses=state.losses.at[state.epoch].set(jnp.stack([train_loss, held_out_loss])),
        )

    stop = state.epoch + epochs
    return jax.lax.while_loop(lambda s: (s.epoch < stop) & ~is_finished(s, schedule), epoch, state)


def _choose(take_first: Array, first: PyTree, second: PyTree) -> PyTree:
    return jax.tree.map(partial(jnp.where, take_first), first, second)
