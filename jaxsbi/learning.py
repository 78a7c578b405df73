"""Learning: what one round makes of the rows simulated so far, and the next round's proposal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree

from jaxsbi import observations
from jaxsbi.algorithms import Algorithm
from jaxsbi.algorithms.algorithm import Memory
from jaxsbi.algorithms.proposals import Proposal
from jaxsbi.dataset import Moments, Rows, Simulations, is_valid, moments
from jaxsbi.ledger import Ledger, Round
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter
from jaxsbi.training import Trained, Training, train
from jaxsbi.types import Data, Estimator, PRNGKey


@dataclass(frozen=True)
class Settings:
    """What stays the same in all rounds of an inference."""

    algorithm: Algorithm
    estimator: Estimator
    training: Training
    prior: Prior
    x_o: Data | None
    rounds: int
    warm_start: bool
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
    """What a finished round leaves: its posterior, the module trained, the algorithm's memory."""

    posterior: Posterior
    conditional: nnx.Module
    memory: Memory


def learn(
    key: PRNGKey,
    settings: Settings,
    buffer: Simulations,
    before: Learned | None,
    drawn: Drawn,
) -> Learned:
    """One round's training, from the round before (None in the first)."""
    algorithm, prior, first = settings.algorithm, settings.prior, before is None
    key_init, key_train = jax.random.split(key)
    memory = None if first else before.memory
    # before there is a memory all valid rows count: they come from the prior
    weights = _weights(algorithm if not first else Algorithm(), memory, prior, buffer)
    used = weights > 0
    _check_enough(buffer, used)
    masks = observations.patterns(buffer.rows.x, used)
    scale = moments(buffer.rows.x, used) if first else before.posterior.moments
    if settings.x_o is not None:
        observations.as_observation("x_o", settings.x_o, scale.location, masks)
    if first or not settings.warm_start:
        conditional = _init(key_init, settings, scale)
    else:
        conditional = before.conditional
    if first:
        memory = algorithm.memory(conditional, prior, settings.rounds)
    loss = algorithm.first_loss() if first else algorithm.loss(memory)
    trained = train(
        key_train, conditional, loss, buffer, weights, settings.training, settings.reporter
    )
    history = Ledger(algorithm.name) if first else before.posterior.history
    posterior = algorithm.posterior.of(
        algorithm.density(trained.conditional, memory),
        prior,
        settings.x_o,
        moments=scale,
        masks=masks,
        estimator=settings.estimator,
        algorithm=algorithm,
        rounds=settings.rounds,
        amortised=not algorithm.sequential or first,
        history=history.with_round(_round(trained, drawn, np.asarray(weights))),
    )
    return Learned(posterior, trained.conditional, memory)


def _init(key: PRNGKey, settings: Settings, scale: Moments) -> nnx.Module:
    """The module with fresh weights, made by one program instead of one for each of its parts."""

    def init(key: PRNGKey, prior: Prior, scale: Moments) -> nnx.Module:
        return settings.algorithm.init(key, settings.estimator, prior, scale)

    return nnx.jit(init)(key, settings.prior, scale)


def propose(key: PRNGKey, settings: Settings, learned: Learned) -> tuple[Learned, Proposal]:
    """The next round's proposal, and the memory of it."""
    graphdef, params, constants = nnx.split(learned.conditional, nnx.Param, ...)
    memory, proposal = _propose(
        settings.algorithm, graphdef, key, params, constants, learned.memory, settings.prior,
        settings.x_o,
    )  # fmt: skip
    return learned._replace(memory=memory), proposal


@partial(jax.jit, static_argnums=(0, 1))
def _propose(algorithm, graphdef, key, params, constants, memory, prior, x_o):
    conditional = nnx.merge(graphdef, params, constants)
    return algorithm.propose(key, conditional, memory, prior, x_o)


@partial(jax.jit, static_argnums=0)
def _weights(algorithm: Algorithm, memory: Memory, prior: Prior, buffer: Simulations) -> Array:
    return algorithm.weights(memory, prior, buffer)


@jax.jit
def new_rows(prior: Prior, theta: Array, x: PyTree[Array], number: Array) -> Rows:
    """Simulated rows of round `number`, as the buffer keeps them."""
    n = theta.shape[0]
    return Rows(
        z=prior.to_z(theta),
        x=x,
        valid=is_valid(x),
        round=jnp.full(n, number, jnp.int32),
        log_proposal=jnp.zeros(n),
    )


def balanced(
    buffer: Simulations, proposals: list[tuple[Proposal, Array]], rows: list[int]
) -> Simulations:
    """log_proposal = log Σ_r (n_r/n) p̃_r(z)/p(z) of every row: the balance heuristic.

    The prior's round bounds it from below, so that no weight p/p̃ exceeds n over its rows.
    proposals: each with its acceptance; rows: how many each round drew, the prior's first.
    Veach & Guibas 1995 (SIGGRAPH).
    """
    ratios = [jnp.zeros(buffer.capacity)]
    ratios += [_log_ratio(proposal, buffer.rows.z) - jnp.log(a) for proposal, a in proposals]
    shares = jnp.asarray(rows) / sum(rows)
    mixture = jax.nn.logsumexp(jnp.stack(ratios), axis=0, b=shares[:, None])
    return buffer._replace(rows=buffer.rows._replace(log_proposal=mixture))


@jax.jit
def _log_ratio(proposal: Proposal, z: Array) -> Array:
    def one(z: Array) -> Array:
        return jnp.where(proposal.accept(z), proposal.log_ratio(z), -jnp.inf)

    return jax.vmap(one)(z)


def _check_enough(buffer: Simulations, used: Array) -> None:
    sides = (used & ~buffer.validation, used & buffer.validation)
    if not all(bool(jnp.any(side)) for side in sides):
        raise ValueError(
            f"simulations must leave at least one valid row to train on and one to validate on, "
            f"got {int(jnp.sum(used))} valid of {int(buffer.length)} (a row of nothing but NaN "
            "counts as failed); mend the simulator, or simulate more"
        )


def _round(trained: Trained, drawn: Drawn, weights: np.ndarray) -> Round:
    return Round(
        drawn=drawn.rows,
        valid=drawn.valid,
        used=int(np.sum(weights > 0)),
        effective=float(np.sum(weights) ** 2 / np.sum(weights**2)),
        acceptance=drawn.acceptance,
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
