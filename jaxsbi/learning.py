"""Learning: what one round makes of all rows simulated so far."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from jaxsbi import observations, streaming
from jaxsbi.algorithms import Algorithm
from jaxsbi.algorithms.algorithm import Memory
from jaxsbi.checkpoints import Checkpoint
from jaxsbi.dataset import Moments, Simulations, moments
from jaxsbi.ledger import Ledger, Round
from jaxsbi.parameters import Spread, spread
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter
from jaxsbi.streaming import Source
from jaxsbi.trained import RoundFailed, Trained
from jaxsbi.training import Course, Training, train
from jaxsbi.types import Data, Estimator, PRNGKey
from jaxsbi.validity import Judged, Validity, learn_validity

LEAST_BATCHES = 5
"""Steps of an epoch in later rounds at least, where there are rows for them."""


@dataclass(frozen=True)
class Settings:
    """What stays the same in all rounds of an inference.

    start: the estimator of the posterior that stands for a first round, where there is one.
    """

    algorithm: Algorithm
    estimator: Estimator
    training: Training
    prior: Prior
    x_o: Data | None
    start: Estimator | None
    rounds: int
    warm_start: bool
    avoid_failures: bool
    reporter: Reporter


class Drawn(NamedTuple):
    """What simulating one round gave, and what it took [s], compilation apart.

    acceptance: share of the proposal's candidates that lay in the set to which it is restricted.
    """

    rows: int
    valid: int
    acceptance: float
    seconds: float
    compile_seconds: float
    compilations: int


class Learned(NamedTuple):
    """What a finished round leaves: its posterior, the module trained, the algorithm's memory.

    conditional: None where a posterior stands for it whose module the algorithm does not train.
    rung: the step of the path of weight decays on which the training ended.
    validity: the learned model of failures, where one is asked for and there have been some.
    """

    posterior: Posterior
    conditional: nnx.Module | None
    memory: Memory
    rung: int
    validity: Validity | None


def begin(start: Posterior, settings: Settings) -> Learned:
    """An amortised posterior in place of what a first round leaves."""
    last_rung = len(settings.training.weight_decay) - 1
    conditional, memory = settings.algorithm.begin(
        start.conditional, settings.prior, settings.x_o, settings.rounds
    )
    posterior = replace(start, x_o=settings.x_o)
    return Learned(posterior, conditional, memory, last_rung, None)


def learn(
    key: PRNGKey,
    settings: Settings,
    buffer: Simulations,
    before: Learned | None,
    drawn: Drawn,
    keep: Callable[[str], Checkpoint] | None = None,
    source: Source | None = None,
) -> Learned:
    """One round's training, from the round before (None in the first).

    keep: where the checkpoints of the round's trainings lie, by what is trained.
    source: the store that `buffer` is a sample of, where its rows do not fit into memory.
    """
    algorithm, prior, first = settings.algorithm, settings.prior, before is None
    key_init, key_train, key_validity = jax.random.split(key, 3)
    memory = None if first else before.memory
    if first:
        weights = algorithm.first_weights(buffer)
    else:
        weights = _weights(algorithm, memory, prior, buffer)
    used = (weights > 0) & buffer.rows.valid
    _check_enough(buffer, used)
    masks = observations.patterns(buffer.rows.x, used) if source is None else source.masks
    unlearned = first or before.conditional is None
    scale = moments(buffer.rows.x, used) if unlearned else before.posterior.moments
    if settings.x_o is not None:
        _check_seen(settings.x_o, scale, masks, algorithm.trials)
    fresh = unlearned or not settings.warm_start
    if fresh:
        of_z = spread(buffer.rows.z, weights > 0) if algorithm.whitens else None
        conditional = _init(algorithm, settings.estimator, key_init, prior, scale, of_z)
    else:
        conditional = before.conditional
    if first:
        memory = algorithm.memory(conditional, prior, settings.x_o, settings.rounds)
    loss = algorithm.first_loss() if first else algorithm.loss(memory, prior)
    descend = train if source is None else partial(streaming.train, source)
    trained = descend(
        key_train, conditional, loss, buffer, weights, settings.training, settings.reporter,
        _course(settings, None if fresh else before, drawn),
        None if keep is None else keep("density"),
    )  # fmt: skip
    # after Ctrl-C no further training begins
    judged = (
        Judged(None, 0.0, True)
        if trained.interrupted
        else _judge(key_validity, settings, buffer, before, keep)
    )
    trained = trained._replace(interrupted=judged.interrupted)
    history = Ledger(algorithm.name, () if first else before.posterior.history.rounds)
    entry = _round(trained, drawn, np.asarray(weights), judged.lost, source)
    posterior = algorithm.posterior.of(
        algorithm.density(trained.conditional, memory),
        prior,
        settings.x_o,
        moments=scale,
        masks=masks,
        estimator=settings.estimator,
        algorithm=algorithm,
        start=settings.start,
        rounds=settings.rounds,
        amortised=not algorithm.sequential or first,
        history=history.with_round(entry),
    )
    remark = algorithm.remark(trained.conditional, memory, settings.x_o)
    if remark:
        warnings.warn(f"round {len(posterior.history)}: {remark}", stacklevel=3)
    return Learned(posterior, trained.conditional, memory, trained.rung, judged.model)


def _course(settings: Settings, before: Learned | None, drawn: Drawn) -> Course:
    """A warm start goes on from the weight decay that was best so far, one step at most at a time.

    Its epochs pass over as many rows as the round drew, of all rounds' rows, and over some batches
    at least: what is new is learned in the same number of steps, however many rounds came before.
    """
    if before is None:
        return Course()
    training = settings.training
    last = min(before.rung + 1, len(training.weight_decay) - 1)
    return Course(before.rung, last, max(drawn.rows, LEAST_BATCHES * training.batch_size))


def _judge(
    key: PRNGKey,
    settings: Settings,
    buffer: Simulations,
    before: Learned | None,
    keep: Callable[[str], Checkpoint] | None,
) -> Judged:
    """The validity model, where later rounds are to avoid failures and there have been some."""
    if not (settings.avoid_failures and bool(jnp.any(buffer.filled & ~buffer.rows.valid))):
        return Judged(None, 0.0, False)
    model = None if before is None else before.validity
    checkpoint = None if keep is None else keep("validity")
    return learn_validity(key, model, buffer, settings.reporter, checkpoint)


@partial(nnx.jit, static_argnums=(0, 1))
def _init(
    algorithm: Algorithm,
    estimator: Estimator,
    key: PRNGKey,
    prior: Prior,
    scale: Moments,
    of_z: Spread | None,
) -> nnx.Module:
    """The module with fresh weights, made by one program instead of one for each of its parts."""
    return algorithm.init(key, estimator, prior, scale, of_z)


@partial(jax.jit, static_argnums=0)
def _weights(algorithm: Algorithm, memory: Memory, prior: Prior, buffer: Simulations) -> Array:
    return algorithm.weights(memory, prior, buffer)


def _check_seen(x_o: Data, scale: Moments, masks: observations.Masks, trials: bool) -> None:
    try:
        observations.as_observation("x_o", x_o, scale.location, masks, trials)
    except ValueError as error:
        raise RoundFailed(str(error)) from None


def _check_enough(buffer: Simulations, used: Array) -> None:
    sides = (used & ~buffer.validation, used & buffer.validation)
    if not all(bool(jnp.any(side)) for side in sides):
        raise RoundFailed(
            f"simulations must leave at least one valid row to train on and one to validate on, "
            f"got {int(jnp.sum(used))} valid of {int(buffer.length)} (a row of nothing but NaN "
            "counts as failed); mend the simulator, or simulate more"
        )


def _round(
    trained: Trained, drawn: Drawn, weights: np.ndarray, lost: float, source: Source | None
) -> Round:
    effective = float(np.sum(weights) ** 2 / np.sum(weights**2))
    return Round(
        drawn=drawn.rows,
        valid=drawn.valid,
        used=int(np.sum(weights > 0)) if source is None else drawn.valid,
        effective=effective if source is None else float(drawn.valid),
        acceptance=drawn.acceptance,
        lost=lost,
        simulate_seconds=drawn.seconds,
        compile_seconds=drawn.compile_seconds + trained.compile_seconds,
        train_seconds=trained.seconds,
        compilations=drawn.compilations + trained.compilations,
        best_epoch=trained.best_epoch,
        best_loss=trained.best_loss,
        interrupted=trained.interrupted,
        training_losses=tuple(map(float, trained.training_losses)),
        validation_losses=tuple(map(float, trained.validation_losses)),
    )
