"""The driver: rounds of simulate → train → propose, and fits to simulations that exist already."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxsbi import observations, simulation
from jaxsbi.algorithms import Algorithm, npe
from jaxsbi.algorithms.npe import NPE
from jaxsbi.arguments import check_count, check_estimator, check_key
from jaxsbi.collecting import Collected, collect, new_rows
from jaxsbi.dataset import append, empty
from jaxsbi.estimators import nsf
from jaxsbi.learning import Drawn, Learned, Settings, begin, learn
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet
from jaxsbi.records import check_fingerprint, prior_fingerprint
from jaxsbi.simulation import check_prior
from jaxsbi.training import Diverged, Training
from jaxsbi.types import Data, Estimator, PRNGKey, Simulator


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
    start: Posterior | None = None,
    training: Training | None = None,
    warm_start: bool = True,
    avoid_failures: bool = False,
    batch: int | None = None,
    progress: bool = True,
) -> Posterior:
    """The posterior p(θ | x_o) of a simulator, from simulations alone.

    simulate: a function of (key, θ); what else it reads, such as attributes of an object, is read
        once, in the first call with it.
    x_o: the observation, shaped like one simulated x; may be left out for amortised algorithms,
        and for others of one round, which draws from the prior.
    simulations: how many, per round; an int, or one per round. All rounds' rows are kept.
    start: an amortised posterior under this prior, by `npe`, which `tsnpe`, `nle` or `nre` refine
        for one x_o: it stands for a first round, whose simulations are not asked for again. The
        last two learn a likelihood, by default with start's estimator, from draws of start and then
        of the posterior, and take it for 0 where start leaves 10⁻⁴ of its mass.
    warm_start: whether a later round's training begins with the weights of the round before.
    avoid_failures: whether later rounds leave out the θ whose simulation a learned model expects to
        fail; it keeps 99 % of the valid ones, and the ledger has the share that was lost.
    batch: rows simulated in one compiled call (speed and memory only).
    Ctrl-C ends the training under way with its best weights, and a later round with the posterior
    of the last finished one; so does, with a warning, a later round whose simulations all fail or
    whose training diverges.
    Raises ValueError for bad input, and when all simulations of the first round fail.
    """
    algorithm = npe() if algorithm is None else algorithm
    if start is not None:
        _check_start(start, prior, algorithm, estimator)
        estimator = start.estimator if estimator is None else estimator
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    _check_kinds(prior, algorithm, estimator, training)
    check_key(key)
    budget = _budget(rounds, simulations)
    struct = simulation.outcome(simulate, prior.dim)
    if start is not None:
        _check_same_outcome(simulate, struct, start)
    if x_o is not None:
        x_o = _single(x_o, struct, algorithm.trials)
    elif algorithm.sequential and (rounds > 1 or start is not None):
        raise ValueError(
            f"x_o must be given: {algorithm.name} refines its posterior for one observation; "
            "leave it out for one round, or with jaxsbi.npe() only"
        )
    collected = Collected(empty(sum(budget), prior.dim, struct))
    learned: Learned | None = None
    before = 0 if start is None else 1
    key_rows, key_rounds = jax.random.split(key)
    with Reporter() if progress else quiet() as reporter:
        settings = Settings(
            algorithm, estimator, training, prior, x_o, None if start is None else start.estimator,
            before + rounds, warm_start, avoid_failures, reporter,
        )  # fmt: skip
        if start is not None:
            learned, collected = begin(start, settings), collected._replace(rows=(0,))
        for r, n in enumerate(budget, before):
            key_collect, key_learn = jax.random.split(jax.random.fold_in(key_rounds, r))
            try:
                learned, collected, drawn = collect(
                    key_collect, key_rows, settings, simulate, batch, n, learned, collected
                )
                if learned is not None and not drawn.valid:
                    failed = f"all of its {drawn.rows:,} simulations failed"
                    _warn_of_the_end(r, failed if drawn.rows else "no draw was accepted")
                    break
                learned = learn(key_learn, settings, collected.buffer, learned, drawn)
                reporter.row(learned.posterior.history[-1].cells(r + 1))
            except KeyboardInterrupt:
                if learned is None:
                    raise
                reporter.update("round", 1.0, f"interrupted: the posterior of round {r} is kept")
                break
            except Diverged as error:
                if learned is None:
                    raise
                _warn_of_the_end(r, str(error))
                break
            if learned.posterior.history[-1].interrupted:
                break
    return learned.posterior


def fit(
    key: PRNGKey,
    theta: Array,
    x: PyTree[Array],
    prior: Prior,
    *,
    x_o: Data | None = None,
    algorithm: Algorithm | None = None,
    estimator: Estimator | None = None,
    training: Training | None = None,
    progress: bool = True,
) -> Posterior:
    """The amortised posterior from simulations that exist already: θ (n, d) ~ prior and x (n, …).

    The rows must come from the prior: rows of another proposal would be taken for its own. Rows of
    nothing but NaN count as failed simulations and are dropped; a NaN in a row marks an undefined
    feature. Raises ValueError for rows that do not fit each other or the prior.
    """
    algorithm = npe() if algorithm is None else algorithm
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    _check_kinds(prior, algorithm, estimator, training)
    check_key(key)
    theta, x = observations.as_joint_rows(theta, x, prior)
    n = theta.shape[0]
    key_order, key_train = jax.random.split(key)
    order = jax.random.permutation(key_order, n)
    theta, x = jax.tree.map(lambda leaf: leaf[order], (theta, x))
    struct = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
    if x_o is not None:
        x_o = _single(x_o, struct, algorithm.trials)
    rows = new_rows(prior, theta, x, jnp.asarray(0))
    buffer = append(empty(n, prior.dim, struct), rows, training.validation)
    drawn = Drawn(n, int(jnp.sum(rows.valid)), 1.0, 0.0, 0.0, 0)
    with Reporter() if progress else quiet() as reporter:
        settings = Settings(
            algorithm, estimator, training, prior, x_o, None, 1, True, False, reporter
        )
        return learn(key_train, settings, buffer, None, drawn).posterior


def _warn_of_the_end(number: int, why: str) -> None:
    warnings.warn(
        f"round {number + 1} was given up: {why}; the posterior of round {number} is returned",
        stacklevel=3,
    )


def _check_start(start: Any, prior: Prior, algorithm: Algorithm, estimator: Any) -> None:
    amortised = isinstance(start, Posterior) and start.amortised
    if not (amortised and isinstance(start.algorithm, NPE)):
        raise ValueError(
            "start must be an amortised posterior, as infer and fit give with jaxsbi.npe(), got "
            f"{'one by ' + start.algorithm.name if isinstance(start, Posterior) else repr(start)}"
        )
    if not algorithm.refines:
        raise ValueError(
            "algorithm must be jaxsbi.nle(), nre() or tsnpe() to refine a posterior, got "
            f"{algorithm.name}; leave start out"
        )
    if algorithm.trials:
        raise ValueError("trials must be False to refine a posterior of single observations")
    if not algorithm.anew and estimator not in (None, start.estimator):
        raise ValueError(
            f"estimator must be start's own, {start.estimator!r}, got {estimator!r}; leave it out"
        )
    check_prior(prior)
    check_fingerprint(prior, *prior_fingerprint(start.prior))


def _check_same_outcome(simulate: Simulator, struct: PyTree, start: Posterior) -> None:
    given, known = (jax.tree.map(jnp.shape, x) for x in (struct, start.moments.location))
    if given != known:
        raise ValueError(
            f"simulate must return what start was trained on, x of shape {known}, got {given}"
        )


def _single(x_o: Any, like: PyTree, trials: bool) -> Data:
    x_o, batched = observations.as_observation("x_o", x_o, like, trials=trials)
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
    check_estimator(estimator)
    if not isinstance(training, Training):
        raise ValueError(f"training must be a jaxsbi.Training, got {training!r}")
    algorithm.check(prior, estimator, training)
