"""The driver: rounds of simulate → train → propose, and fits to simulations that exist already."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PyTree

from jaxsbi import observations, simulation
from jaxsbi.algorithms import Algorithm, npe
from jaxsbi.arguments import check_count, check_key
from jaxsbi.compilation import compile_clock
from jaxsbi.dataset import Moments, Rows, Simulations, append, empty, is_valid, moments
from jaxsbi.estimators import nsf
from jaxsbi.ledger import Ledger, Round
from jaxsbi.posteriors import DirectPosterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet
from jaxsbi.simulation import check_prior
from jaxsbi.training import Trained, Training, train
from jaxsbi.types import Data, Estimator, PRNGKey, Simulator


class Drawn(NamedTuple):
    """What simulating one round gave, and what it took [s], compilation apart."""

    rows: int
    valid: int
    seconds: float
    compile_seconds: float
    compilations: int


def infer(
    key: PRNGKey,
    simulate: Simulator,
    prior: Prior,
    x_o: Data | None = None,
    *,
    algorithm: Algorithm | None = None,
    rounds: int = 1,
    simulations: int | list[int] = 10_000,
    estimator: Estimator | None = None,
    training: Training | None = None,
    batch: int | None = None,
    progress: bool = True,
) -> DirectPosterior:
    """The posterior p(θ | x_o) of a simulator, from simulations alone.

    x_o: the observation, shaped like one simulated x; may be left out for amortised algorithms.
    simulations: how many, per round; an int, or one per round.
    batch: rows simulated in one compiled call (speed and memory only).
    Ctrl-C ends the training under way with its best weights, and a later round with the posterior
    of the last finished one. Raises ValueError for bad input, and when all simulations fail.
    """
    algorithm = npe() if algorithm is None else algorithm
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    _check_kinds(prior, algorithm, estimator, training)
    check_key(key)
    budget = _budget(rounds, simulations)
    struct = simulation.outcome(simulate, prior.dim)
    if x_o is not None:
        x_o = _single(x_o, struct)
    elif algorithm.sequential:
        raise ValueError(
            f"x_o must be given: {algorithm.name} refines its posterior for one observation; "
            "leave it out with jaxsbi.npe() only"
        )
    buffer = empty(sum(budget), prior.dim, struct)
    ledger, posterior, conditional = Ledger(algorithm.name), None, None
    key_rows, key_rounds = jax.random.split(key)
    with Reporter() if progress else quiet() as reporter:
        for r, n in enumerate(budget):
            try:
                began = time.perf_counter()
                if r == 0:
                    draw = simulation.prior_draw(prior)
                else:
                    draw = algorithm.propose(conditional, prior, x_o)
                first_row = int(buffer.length)
                with compile_clock() as clock:
                    theta, x = simulation.run(
                        key_rows, simulate, draw, first_row, n, batch, reporter
                    )
                seconds = time.perf_counter() - began - clock.seconds
                rows = _rows(prior, theta, x, r)
                valid = int(jnp.sum(rows.valid))
                drawn = Drawn(n, valid, seconds, clock.seconds, clock.programs)
                buffer = append(buffer, rows, training.validation)
                record = None if posterior is None else posterior.moments
                posterior, conditional = _learn(
                    jax.random.fold_in(key_rounds, r), algorithm, estimator, training, prior, x_o,
                    buffer, record, conditional, ledger, drawn, reporter,
                )  # fmt: skip
                ledger = posterior.history
            except KeyboardInterrupt:
                if posterior is None:
                    raise
                reporter.update("round", 1.0, f"interrupted: the posterior of round {r} is kept")
                break
            if ledger[-1].interrupted:
                break
    return posterior


def fit(
    key: PRNGKey,
    theta: Array,
    x: PyTree[Array],
    prior: Prior,
    *,
    x_o: Data | None = None,
    estimator: Estimator | None = None,
    training: Training | None = None,
    progress: bool = True,
) -> DirectPosterior:
    """The amortised posterior from simulations that exist already: θ (n, d) ~ prior and x (n, …).

    The rows must come from the prior: rows of another proposal would be taken for its own. Rows of
    nothing but NaN count as failed simulations and are dropped; a NaN in a row marks an undefined
    feature. Raises ValueError for rows that do not fit each other or the prior.
    """
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    algorithm = npe()
    _check_kinds(prior, algorithm, estimator, training)
    check_key(key)
    theta, x = observations.as_joint_rows(theta, x, prior)
    n = theta.shape[0]
    key_order, key_train = jax.random.split(key)
    order = jax.random.permutation(key_order, n)
    theta, x = jax.tree.map(lambda leaf: leaf[order], (theta, x))
    struct = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    if x_o is not None:
        x_o = _single(x_o, struct)
    rows = _rows(prior, theta, x, 0)
    buffer = append(empty(n, prior.dim, struct), rows, training.validation)
    drawn = Drawn(n, int(jnp.sum(rows.valid)), 0.0, 0.0, 0)
    with Reporter() if progress else quiet() as reporter:
        posterior, _ = _learn(
            key_train, algorithm, estimator, training, prior, x_o, buffer, None, None,
            Ledger("npe"), drawn, reporter,
        )  # fmt: skip
    return posterior


def _learn(
    key: PRNGKey,
    algorithm: Algorithm,
    estimator: Estimator,
    training: Training,
    prior: Prior,
    x_o: Data | None,
    buffer: Simulations,
    scale: Moments | None,
    conditional: nnx.Module | None,
    ledger: Ledger,
    drawn: Drawn,
    reporter: Reporter,
) -> tuple[DirectPosterior, nnx.Module]:
    """One round's training: the posterior, its ledger one round longer, and its density."""
    used = buffer.filled & buffer.rows.valid
    enough = int(jnp.sum(buffer.training_rows)) and int(jnp.sum(buffer.validation_rows))
    if not enough:
        raise ValueError(
            f"simulations must leave at least one valid row to train on and one to validate on, "
            f"got {int(jnp.sum(used))} valid of {int(buffer.length)} (a row of nothing but NaN "
            "counts as failed); mend the simulator, or simulate more"
        )
    masks = observations.patterns(buffer.rows.x, used)
    scale = moments(buffer.rows.x, used) if scale is None else scale
    if x_o is not None:
        observations.as_observation("x_o", x_o, scale.location, masks)
    key_init, key_train = jax.random.split(key)
    first = conditional is None
    if first:
        conditional = algorithm.init(key_init, estimator, prior.dim, scale)
    loss = algorithm.first_loss if first else algorithm.loss
    trained = train(key_train, conditional, loss, buffer, training, reporter)
    history = ledger.with_round(_round(trained, drawn, int(jnp.sum(used))))
    posterior = algorithm.posterior(
        trained.conditional,
        prior,
        x_o,
        moments=scale,
        masks=masks,
        estimator=estimator,
        amortised=not algorithm.sequential or first,
        history=history,
    )
    return posterior, trained.conditional


def _round(trained: Trained, drawn: Drawn, used: int) -> Round:
    return Round(
        drawn=drawn.rows,
        valid=drawn.valid,
        used=used,
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


def _rows(prior: Prior, theta: Array, x: PyTree[Array], number: int) -> Rows:
    n = theta.shape[0]
    return Rows(
        z=prior.to_z(theta),
        x=x,
        valid=is_valid(x),
        round=jnp.full(n, number, jnp.int32),
        log_proposal=jnp.zeros(n),
    )


def _single(x_o: Any, like: PyTree) -> Data:
    x_o, batched = observations.as_observation("x_o", x_o, like)
    if batched:
        raise ValueError(
            f"x_o must be one observation, got a batch of {jax.tree.leaves(x_o)[0].shape[0]}; "
            "infer without x_o and hand the batch to posterior.sample(key, n, x=batch)"
        )
    return x_o


def _budget(rounds: int, simulations: Any) -> list[int]:
    rounds = check_count("rounds", rounds)
    each = list(simulations) if isinstance(simulations, list | tuple) else [simulations] * rounds
    if len(each) != rounds:
        raise ValueError(
            f"simulations must be an int, or one per round of {rounds}, got {len(each)}"
        )
    return [check_count("simulations", n) for n in each]


def _check_kinds(prior: Any, algorithm: Any, estimator: Any, training: Any) -> None:
    check_prior(prior)
    if not isinstance(algorithm, Algorithm):
        raise ValueError(f"algorithm must be a value such as jaxsbi.npe(), got {algorithm!r}")
    if not hasattr(estimator, "init") or isinstance(estimator, type):
        raise ValueError(f"estimator must be a value such as jaxsbi.nsf(), got {estimator!r}")
    if not isinstance(training, Training):
        raise ValueError(f"training must be a jaxsbi.Training, got {training!r}")
