"""The driver: rounds of simulate → train → propose."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxsbi import observations, simulation
from jaxsbi.algorithms import Algorithm, npe
from jaxsbi.algorithms.npe import NPE
from jaxsbi.arguments import check_count, check_estimator, check_key
from jaxsbi.collecting import Collected, collect
from jaxsbi.dataset import empty
from jaxsbi.digests import tree_digest
from jaxsbi.estimators import nsf
from jaxsbi.fingerprints import name_of, of_simulator
from jaxsbi.keeping import Keep, keeping, settings_of
from jaxsbi.learning import Learned, Settings, begin, learn
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet
from jaxsbi.records import check_fingerprint, prior_fingerprint
from jaxsbi.simulation import check_prior
from jaxsbi.trained import RoundFailed
from jaxsbi.training import Training
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
    warm_start: bool | None = None,
    avoid_failures: bool = False,
    batch: int | None = None,
    out: str | os.PathLike | None = None,
    progress: bool = True,
) -> Posterior:
    """The posterior p(θ | x_o) of a simulator, from simulations alone.

    key: a `jax.random.key`; all that is drawn depends on it alone.
    simulate: a function of (key, θ), θ (d,); what else it reads, such as attributes of an object,
        is read once, in the first call with it. `jaxsbi.host(…)` lets in plain Python.
    prior: `box`, `gaussian` or a `Prior` of d parameters.
    x_o: the observation, shaped like one simulated x; may be left out for amortised algorithms,
        and for others of one round, which draws from the prior.
    algorithm: default `npe()`. rounds: of simulating and training.
    simulations: how many, per round; an int, or one per round. All rounds' rows are kept.
    estimator: the density to train, default `nsf()`. training: how, default `Training()`.
    start: an amortised posterior under this prior, by `npe`, which `tsnpe`, `nle` or `nre` refine
        for one x_o: it stands for a first round, whose simulations are not asked for again. The
        last two learn a likelihood, by default with start's estimator, from draws of start and then
        of the posterior. Outside start's region of highest density of mass 1 − 10⁻⁴ there are no
        rows, and the likelihood is taken to be 0: a mode that start lacks stays lost.
    warm_start: whether a later round's training begins with the weights of the round before. By
        default not so for `nle` and `nre`: their fresh networks see θ in units of where the rows
        of all rounds lie, which narrows from round to round.
    avoid_failures: whether later rounds leave out the θ whose simulation a learned model expects to
        fail, once some have failed in this call; it keeps 99 % of the valid ones, and the ledger
        has the share that was lost.
    batch: rows simulated in one compiled call (speed and memory only).
    out: a folder that keeps simulations and trainings under way. After an interruption, of any
        kind, the same call goes on there and ends in the same bits; another one is refused. The
        rows of all rounds are held in memory too; for more, `jaxsbi.fit` learns from a store.
    progress: whether standard error is told how it goes.
    Ctrl-C ends the first round's training with its best weights, and a later round with the
    posterior of the last finished one; so does, with a warning, a later round whose simulations
    all fail, that leaves no row to train on, or whose training diverges.
    Raises ValueError for bad input, and when all simulations of the first round fail.
    """
    algorithm = npe() if algorithm is None else algorithm
    if start is not None:
        check_algorithm(algorithm)
        _check_start(start, prior, algorithm, estimator, training)
        estimator = start.estimator if estimator is None else estimator
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    check_kinds(prior, algorithm, estimator, training)
    warm_start = algorithm.warm if warm_start is None else warm_start
    check_key(key)
    budget = _budget(rounds, simulations)
    struct = simulation.outcome(simulate, prior.dim)
    if start is not None:
        _check_same_outcome(simulate, struct, start)
    if x_o is not None:
        x_o = single(x_o, struct, algorithm.trials)
        if start is not None:  # an x_o that start does not serve, before any simulation
            observations.as_observation("x_o", x_o, start.moments.location, start.masks)
    elif algorithm.sequential and (rounds > 1 or start is not None):
        raise ValueError(
            f"x_o must be given: {algorithm.name} refines its posterior for one observation; "
            "leave it out for one round, or with jaxsbi.npe() only"
        )
    run = {} if out is None else settings_of(
        "infer", key, prior, algorithm, estimator, training, x_o,
        simulator=of_simulator(simulate, prior.dim, struct), name=name_of(simulate),
        rounds=rounds, simulations=budget, warm_start=warm_start, avoid_failures=avoid_failures,
        start=None if start is None else tree_digest((start.params, start.constants)),
    )  # fmt: skip
    with keeping(out, run) as keep, Reporter() if progress else quiet() as reporter:
        of_start = None if start is None else start.estimator
        found = None if keep is None else keep.finished(prior, estimator, of_start)
        if found is not None:
            return found
        settings = Settings(
            algorithm, estimator, training, prior, x_o, of_start, rounds + (start is not None),
            warm_start, avoid_failures, reporter,
        )  # fmt: skip
        collected = Collected(empty(sum(budget), prior.dim, struct))
        posterior, whole = _all_rounds(
            key, settings, simulate, batch, budget, start, collected, keep
        )
        if keep is not None and whole:
            keep.finish(posterior)
    return posterior


def _all_rounds(
    key: PRNGKey,
    settings: Settings,
    simulate: Simulator,
    batch: int | None,
    budget: list[int],
    start: Posterior | None,
    collected: Collected,
    keep: Keep | None,
) -> tuple[Posterior, bool]:
    """The last round's posterior, and whether it is the last word: nobody pressed Ctrl-C."""
    learned: Learned | None = None
    reporter, before = settings.reporter, 0
    if start is not None:
        collected, before = collected._replace(rows=(0,)), 1
        try:
            learned = begin(start, settings)
        except KeyboardInterrupt:
            return replace(start, x_o=settings.x_o), False
    key_rows, key_rounds = jax.random.split(key)
    for r, n in enumerate(budget, before):
        key_collect, key_learn = jax.random.split(jax.random.fold_in(key_rounds, r))
        try:
            learned, collected, drawn = collect(
                key_collect, key_rows, settings, simulate, batch, n, learned, collected, keep
            )
            if learned is not None and not drawn.valid:
                failed = f"all of its {drawn.rows:,} simulations failed"
                _warn_of_the_end(learned, failed if drawn.rows else "no draw was accepted")
                break
            history = None if learned is None else learned.posterior.history
            checkpoints = None if keep is None else partial(keep.training, r, history, drawn)
            found = learn(key_learn, settings, collected.buffer, learned, drawn, checkpoints)
            if found.posterior.history[-1].interrupted:
                return (found.posterior, False) if learned is None else _end(learned, reporter)
            learned, history = found, found.posterior.history
            reporter.row(history[-1].cells(len(history)))
        except KeyboardInterrupt:
            if learned is None:
                raise
            return _end(learned, reporter)
        except RoundFailed as error:
            if learned is None:
                raise
            _warn_of_the_end(learned, str(error))
            break
    return learned.posterior, True


def _end(last: Learned, reporter: Reporter) -> tuple[Posterior, bool]:
    """After Ctrl-C: the last finished round's posterior, which is not the last word."""
    finished = len(last.posterior.history)
    reporter.update("round", 1.0, f"interrupted: the posterior of round {finished} is kept")
    return last.posterior, False


def _warn_of_the_end(last: Learned, why: str) -> None:
    number = len(last.posterior.history)
    warnings.warn(
        f"round {number + 1} was given up: {why}; the posterior of round {number} is returned",
        stacklevel=3,
    )


def _check_start(
    start: Any, prior: Prior, algorithm: Algorithm, estimator: Any, training: Any
) -> None:
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
    if estimator is None:
        try:
            algorithm.check(prior, start.estimator, training)
        except ValueError as error:
            raise ValueError(f"{error} (start's own, since estimator is left out)") from None


def _check_same_outcome(simulate: Simulator, struct: PyTree, start: Posterior) -> None:
    given, known = (jax.tree.map(jnp.shape, x) for x in (struct, start.moments.location))
    if given != known:
        raise ValueError(
            f"simulate must return what start was trained on, x of shape {known}, got {given}"
        )


def single(x_o: Any, like: PyTree, trials: bool) -> Data:
    """x_o as arrays like one x; a ValueError for anything else, a batch among it."""
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


def check_algorithm(algorithm: Any) -> None:
    """A ValueError unless it is one."""
    if not isinstance(algorithm, Algorithm):
        raise ValueError(f"algorithm must be a value such as jaxsbi.npe(), got {algorithm!r}")


def check_kinds(prior: Any, algorithm: Any, estimator: Any, training: Any) -> None:
    """A ValueError unless each is of its kind and they go together."""
    check_prior(prior)
    check_algorithm(algorithm)
    check_estimator(estimator)
    if not isinstance(training, Training):
        raise ValueError(f"training must be a jaxsbi.Training, got {training!r}")
    algorithm.check(prior, estimator, training)
