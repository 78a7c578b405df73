"""Fits: the posterior from simulations that exist already, in memory or in a store."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxsbi import observations, streaming
from jaxsbi.algorithms import Algorithm, npe
from jaxsbi.arguments import check_count, check_key
from jaxsbi.collecting import new_rows
from jaxsbi.dataset import Simulations, append, empty, outcome_of
from jaxsbi.estimators import nsf
from jaxsbi.fingerprints import differences, in_words, of_prior
from jaxsbi.keeping import keeping, rows_digest, settings_of
from jaxsbi.learning import Drawn, Settings, learn
from jaxsbi.opening import open_store
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet
from jaxsbi.rounds import check_kinds, single
from jaxsbi.simulation import check_prior
from jaxsbi.stores import Store
from jaxsbi.training import Training
from jaxsbi.types import Data, Estimator, PRNGKey

MEMORY = 1 << 29
"""Bytes of rows that are trained on in memory; larger stores are streamed."""


def fit(
    key: PRNGKey,
    theta: Array | None = None,
    x: PyTree[Array] | None = None,
    prior: Prior | None = None,
    *,
    store: Store | str | os.PathLike | None = None,
    x_o: Data | None = None,
    algorithm: Algorithm | None = None,
    estimator: Estimator | None = None,
    training: Training | None = None,
    memory: int = MEMORY,
    out: str | os.PathLike | None = None,
    progress: bool = True,
) -> Posterior:
    """The amortised posterior from simulations that exist already: θ (n, d) ~ prior and x (n, …).

    The rows must come from the prior: rows of another proposal would be taken for its own. To
    `nle` any rows will do: a likelihood does not depend on how θ was chosen. Rows of nothing but
    NaN count as failed simulations and are dropped; a NaN in a row marks an undefined feature.
    Raises ValueError for rows that do not fit each other or the prior.

    key, algorithm, estimator, training, progress: as of `infer`.
    x_o: the one observation to answer for; may be left out for algorithms that answer for all.
    store: simulations on disk in place of theta and x, as `simulate(…, store=…)` makes them; the
        prior is then theirs, and to be given only where it is a custom distribution.
    memory: a store whose θ and x take more bytes is streamed, so that memory does not grow with it.
        Its epochs hold out 65 536 rows at most.
    out: a folder that keeps the training under way. After an interruption, of any kind, the same
        call goes on there and ends in the same bits; another one is refused.
    """
    algorithm = npe() if algorithm is None else algorithm
    estimator = nsf() if estimator is None else estimator
    training = Training() if training is None else training
    memory = check_count("memory", memory, least=0)
    rows: Any = (theta, x)
    if store is not None:
        rows, prior = _of_store(store, theta, x, prior)
    elif theta is None or x is None or prior is None:
        raise ValueError(
            "theta, x and prior must be given, or store, what simulate(…, store=…) made"
        )
    check_kinds(prior, algorithm, estimator, training)
    check_key(key)
    if store is None:
        rows = observations.as_joint_rows(theta, x, prior)
        outcome = outcome_of(rows[1])
    else:
        outcome = rows.outcome
    if x_o is not None:
        x_o = single(x_o, outcome, algorithm.trials)
    held = 0 if store is None else len(rows) * rows.row_bytes
    streams = held > memory
    run = {} if out is None else settings_of(
        "fit", key, prior, algorithm, estimator, training, x_o,
        rows=rows_digest(rows), streamed=streams, name=None if store is None else rows.address,
    )  # fmt: skip
    key_order, key_train = jax.random.split(key)
    with keeping(out, run) as keep, Reporter() if progress else quiet() as reporter:
        found = None if keep is None else keep.finished(prior, estimator)
        if found is not None:
            return found
        settings = Settings(
            algorithm, estimator, training, prior, x_o, None, 1, True, False, reporter
        )
        source = None
        if streams:
            size = f"{held // rows.row_bytes:,} rows of {held:,} bytes"
            reporter.say(f"train: {size} are streamed from the store (memory={memory:,})")
            source = streaming.survey(
                rows, prior, training.validation, algorithm.first_weights, reporter
            )
            buffer, drawn = source.sample, Drawn(source.rows, source.valid, 1.0, 0.0, 0.0, 0)
        else:
            theta, x = rows if store is None else jax.tree.map(jnp.asarray, rows.read())
            if store is not None:
                reporter.say(f"train: {len(theta):,} rows of the store are trained on in memory")
            buffer = _shuffled(key_order, theta, x, prior, training)
            valid = int(jnp.sum(buffer.rows.valid))
            drawn = Drawn(theta.shape[0], valid, 1.0, 0.0, 0.0, 0)
        checkpoints = None if keep is None else partial(keep.training, 0, None, drawn)
        posterior = learn(key_train, settings, buffer, None, drawn, checkpoints, source).posterior
        if keep is not None:
            keep.finish(posterior)
    return posterior


def _shuffled(
    key: PRNGKey, theta: Array, x: PyTree[Array], prior: Prior, training: Training
) -> Simulations:
    """All rows in a buffer, in random order."""
    n = theta.shape[0]
    order = jax.random.permutation(key, n)
    theta, x = jax.tree.map(lambda leaf: leaf[order], (theta, x))
    rows = new_rows(prior, theta, x, jnp.asarray(0))
    return append(empty(n, prior.dim, outcome_of(x)), rows, training.validation)


def _of_store(store: Any, theta: Any, x: Any, prior: Any) -> tuple[Store, Prior]:
    """The store opened, and the prior its rows were drawn from."""
    if theta is not None or x is not None:
        raise ValueError("theta and x must be left out with store, which has its own")
    if not isinstance(store, Store | str | os.PathLike):
        raise ValueError(f"store must be a folder, an address or an open store, got {store!r}")
    store = store if isinstance(store, Store) else open_store(store)
    if not len(store):
        raise ValueError(f"store {store.address} has no rows yet; simulate(…, store=…) fills it")
    if prior is None:
        return store, store.prior
    check_prior(prior)
    differing = differences(store.header["campaign"]["prior"], of_prior(prior))
    if differing:
        raise ValueError(
            f"prior must be the one that store {store.address} was drawn from "
            f"({in_words(differing)}); leave it out"
        )
    return store, prior
