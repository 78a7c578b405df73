"""Streaming: training on a store that does not fit into memory.

An epoch passes over all training rows in windows of some chunks. Which chunks make up a window is
drawn anew for every epoch, and within a window rows are shuffled; while one window trains, a thread
reads and checks the next. What is held out, and what features' moments come from, is a sample
that stays in memory. Memory therefore does not depend on the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from jaxsbi.checkpoints import Checkpoint
from jaxsbi.dataset import Rows, Simulations, is_held_out, is_valid
from jaxsbi.descent import Task, close_epoch, first_steps, is_finished, pass_over
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, deferred_interrupt
from jaxsbi.stores import Store
from jaxsbi.trained import Trained, finished, resumed
from jaxsbi.training import WHOLE, Course, Training, report, schedule_of, start
from jaxsbi.types import Loss, PRNGKey

WINDOW = 65_536
"""Rows of a window, roughly: whole chunks."""
SAMPLE = 262_144
"""Rows kept in memory, evenly over the store; those held out are among them."""
HELD_OUT = 65_536


@dataclass(frozen=True)
class Source:
    """A store to train on, a sample of its rows, and what was found in all of them.

    weigh: how much each row of a window counts. valid: rows of all that are.
    """

    store: Store
    prior: Prior
    sample: Simulations
    masks: np.ndarray
    rows: int
    valid: int
    held_out: float
    weigh: Callable[[Simulations], Float[Array, " capacity"]]

    @property
    def chunks(self) -> int:
        """Chunks of a window."""
        return max(WINDOW // self.store.chunk, 1)


def survey(
    store: Store,
    prior: Prior,
    validation: float,
    weigh: Callable[[Simulations], Float[Array, " capacity"]],
    reporter: Reporter,
) -> Source:
    """One pass over a store: every chunk checked, and the sample taken."""
    rows, share = len(store), min(validation, HELD_OUT / max(len(store), 1))
    kept = max(share, min(1.0, SAMPLE / max(rows, 1)))
    parts, valid = [], 0
    for first, theta, x in _chunks(store, range(0, rows, store.chunk), rows):
        numbers = np.arange(first, first + len(theta))
        taken = np.asarray(is_held_out(numbers, kept))
        valid += int(np.sum(is_valid(x)))
        parts.append((numbers[taken], theta[taken], jax.tree.map(lambda a, t=taken: a[t], x)))
        reporter.update("survey", (first + len(theta)) / rows, f"{first + len(theta):,} rows")
    numbers, theta, x = jax.tree.map(lambda *each: np.concatenate(each), *parts)
    sample = _filled(len(theta), prior, theta, x, is_held_out(numbers, share))
    return Source(store, prior, sample, store.patterns(), rows, valid, share, weigh)


def train(
    source: Source,
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
    """As `training.train`, on all rows of a source; `simulations` is its sample.

    What window w of epoch e holds depends on (key, e, w) only, and the state between two windows
    is kept, so that a training that was killed ends in the same weights.
    """
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    schedule = schedule_of(training, course)
    state = start(params, training, course.first_rung)
    sample = Task(
        graphdef, constants, loss, training.optimizer, training.batch_size, schedule, simulations,
        weights,
    )  # fmt: skip
    at = (state, first_steps(state), jnp.zeros((), jnp.int32))
    (state, steps, window), spent = resumed(checkpoint, at)

    with deferred_interrupt(checkpoint is not None) as interrupt, spent.clock():
        while not is_finished(state, schedule) and not interrupt.requested:
            key_order, key_pass = jax.random.split(jax.random.fold_in(key, state.epoch))
            order = _windows(key_order, source)
            for rows in _ahead(partial(_read, source), order[int(window) :]):
                task = replace(sample, simulations=rows, weights=source.weigh(rows))
                steps = pass_over(jax.random.fold_in(key_pass, window), task, state, steps)
                window = jax.block_until_ready(window + 1)
                _report_window(reporter, state, training, int(window), len(order))
                if interrupt.requested:
                    break
                if checkpoint is not None and checkpoint.due:
                    checkpoint.save((state, steps, window), **spent.facts)
            if int(window) == len(order):
                state = close_epoch(key, sample, state, steps)
                steps, window = first_steps(state), jnp.zeros((), jnp.int32)
                report(reporter, state, training, interrupt)
        if checkpoint is not None:
            checkpoint.save((state, steps, window), **spent.facts)
    conditional = nnx.merge(graphdef, state.best, constants)
    return finished(conditional, state, spent, training.learning_rate, interrupt)


def _windows(key: PRNGKey, source: Source) -> list[np.ndarray]:
    """The chunks of each window of an epoch, in random order."""
    order = np.asarray(jax.random.permutation(key, -(-source.rows // source.store.chunk)))
    return [order[i : i + source.chunks] for i in range(0, len(order), source.chunks)]


def _read(source: Source, chunks: np.ndarray) -> Simulations:
    """A window, of the same capacity always."""
    capacity = source.chunks * source.store.chunk
    firsts = [int(chunk) * source.store.chunk for chunk in chunks]
    found = list(_chunks(source.store, firsts, source.rows))
    theta = np.concatenate([theta for _, theta, _ in found])
    x = jax.tree.map(lambda *each: np.concatenate(each), *[x for *_, x in found])
    numbers = np.concatenate([np.arange(first, first + len(theta)) for first, theta, _ in found])
    return _filled(capacity, source.prior, theta, x, is_held_out(numbers, source.held_out))


def _chunks(store: Store, firsts: Any, rows: int) -> Iterator[tuple[int, np.ndarray, PyTree]]:
    for first in firsts:
        yield first, *store.read(first, min(first + store.chunk, rows))


def _ahead(task: Callable[[Any], Any], arguments: list[Any]) -> Iterator[Any]:
    """task of each argument, in order, the next one done in a thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        pending = None
        for argument in arguments:
            coming = pool.submit(task, argument)
            if pending is not None:
                yield pending.result()
            pending = coming
        if pending is not None:
            yield pending.result()


def _filled(
    capacity: int, prior: Prior, theta: np.ndarray, x: PyTree, held_out: np.ndarray
) -> Simulations:
    """A buffer with rows of the prior at its start, filled up with rows that count for nothing."""
    n = len(theta)

    def padded(rows: np.ndarray, fill: float) -> np.ndarray:
        full = np.full((capacity, *rows.shape[1:]), fill, rows.dtype)
        full[:n] = rows
        return full

    theta = np.concatenate([theta, np.broadcast_to(theta[:1], (capacity - n, theta.shape[1]))])
    x = jax.tree.map(lambda a: padded(a, np.nan), x)
    return _as_simulations(prior, theta, x, padded(held_out, False), jnp.asarray(n, jnp.int32))


@jax.jit
def _as_simulations(
    prior: Prior, theta: Array, x: PyTree[Array], held_out: Array, length: Array
) -> Simulations:
    capacity = theta.shape[0]
    rows = Rows(
        z=prior.to_z(theta),
        x=x,
        valid=is_valid(x),
        round=jnp.zeros(capacity, jnp.int32),
        log_proposal=jnp.zeros(capacity),
    )
    return Simulations(rows, held_out, length)


def _report_window(
    reporter: Reporter, state: Any, training: Training, window: int, windows: int
) -> None:
    last = int(state.last_phase) + training.anneal
    reporter.update(
        "train",
        min((int(state.epoch) + window / windows) / last, 0.999),
        f"epoch {int(state.epoch) + 1} of at most {last}, window {window} of {windows}, best "
        f"validation loss {float(state.best_loss):.3f}",
    )
