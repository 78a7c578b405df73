"""What a training leaves, and what it took, over all processes that it ran in."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from jaxsbi.checkpoints import Checkpoint
from jaxsbi.compilation import CompileClock, compile_clock
from jaxsbi.descent import Descent
from jaxsbi.progress import Interrupt


class Trained(NamedTuple):
    """A finished training: the module with its best weights, and what it took.

    rung: the step of the path of weight decays that led to them.
    """

    conditional: nnx.Module
    training_losses: np.ndarray
    validation_losses: np.ndarray
    best_epoch: int
    rung: int
    seconds: float
    compile_seconds: float
    compilations: int
    interrupted: bool

    @property
    def best_loss(self) -> float:
        """The lowest validation loss, a mean per row."""
        return float(np.fmin.reduce(self.validation_losses, initial=np.inf))


class RoundFailed(ValueError):
    """A round came to nothing: in a later one the posterior of the round before stands."""


class Diverged(RoundFailed):
    """No epoch of a training had a finite validation loss."""


class Spent:
    """Wall time, time to compile and programs compiled, of this process and those before it."""

    def __init__(self, seconds: float = 0.0, compile_seconds: float = 0.0, compilations: int = 0):
        self.before = seconds, compile_seconds, compilations
        self._clock: CompileClock | None = None
        self._began = self._ended = 0.0

    @contextmanager
    def clock(self) -> Iterator[None]:
        self._began = time.perf_counter()
        with compile_clock() as self._clock:
            yield
        self._ended = time.perf_counter()

    @property
    def facts(self) -> dict[str, float | int]:
        """All three so far; seconds without compilation."""
        seconds = (self._ended or time.perf_counter()) - self._began - self._clock.seconds
        now = (seconds, self._clock.seconds, self._clock.programs)
        names = ("seconds", "compile_seconds", "compilations")
        return dict(zip(names, map(operator.add, self.before, now), strict=True))


def resumed(checkpoint: Checkpoint | None, state: PyTree) -> tuple[PyTree, Spent]:
    """The state at the last checkpoint and what was spent until then; else the given one."""
    found = None if checkpoint is None else checkpoint.restore(state)
    if found is None:
        return state, Spent()
    facts = found.facts
    return found.state, Spent(facts["seconds"], facts["compile_seconds"], facts["compilations"])


def finished(
    conditional: nnx.Module,
    state: Descent,
    spent: Spent,
    learning_rate: float,
    interrupt: Interrupt,
) -> Trained:
    """What a training leaves: `conditional` has its best weights. Raises Diverged if none has."""
    if not jnp.isfinite(state.best_loss):
        if interrupt.requested:
            raise KeyboardInterrupt
        raise Diverged(
            "training diverged: no epoch had a finite validation loss; lower "
            f"training.learning_rate (it is {learning_rate:g}), or look for huge or "
            "strange values in x"
        )
    losses = np.asarray(state.losses)[: int(state.epoch)]
    return Trained(
        conditional=conditional,
        training_losses=losses[:, 0],
        validation_losses=losses[:, 1],
        best_epoch=int(np.nanargmin(losses[:, 1])),
        rung=int(state.best_rung),
        interrupted=interrupt.requested,
        **spent.facts,
    )
