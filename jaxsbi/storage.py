"""Storage: posteriors read back from the folders that `posterior.save` wrote."""

from __future__ import annotations

import os
from typing import Any

import jax
from flax import nnx

from jaxsbi.algorithms import from_spec as algorithm_from_spec
from jaxsbi.arguments import check_estimator
from jaxsbi.dataset import Moments
from jaxsbi.estimators import from_spec as estimator_from_spec
from jaxsbi.ledger import Ledger
from jaxsbi.posteriors import Posterior
from jaxsbi.posteriors.posterior import FORMAT_VERSION, KIND
from jaxsbi.priors import Prior
from jaxsbi.records import (
    Arrays,
    check_fingerprint,
    fill_state,
    prior_from_record,
    tree_from_record,
)
from jaxsbi.serialization import read_folder
from jaxsbi.simulation import check_prior
from jaxsbi.types import Estimator


def load(
    path: str | os.PathLike,
    *,
    prior: Prior | None = None,
    estimator: Estimator | None = None,
    start: Estimator | None = None,
) -> Posterior:
    """The posterior saved in a folder. Raises ValueError if it was cut, altered or is no posterior.

    prior, estimator: needed only where they hold code of the user's own, which is never stored; so
    is start, the estimator of the posterior that this one was refined from.
    """
    content, arrays = read_folder(path, KIND, FORMAT_VERSION)
    try:
        return _posterior(content, arrays, prior, estimator, start)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"path {path} is not a posterior of this release: {type(error).__name__} {error}"
        ) from error


def _posterior(
    content: dict[str, Any],
    arrays: Arrays,
    prior: Prior | None,
    estimator: Estimator | None,
    start: Estimator | None,
) -> Posterior:
    """The algorithm rebuilds the empty density; its weights are filled in by their names."""
    if prior is None:
        if content["prior"] is None:
            raise ValueError("prior must be given: the saved one is of a custom distribution")
        prior = prior_from_record(content["prior"], arrays)
    check_prior(prior)
    check_fingerprint(prior, content["labels"], arrays)
    if estimator is None:
        estimator = estimator_from_spec(content["estimator"])
    check_estimator(estimator)
    algorithm, rounds = algorithm_from_spec(content["algorithm"]), content["rounds"]
    moments = Moments(*(tree_from_record(content[f], arrays) for f in Moments._fields))

    x_o = tree_from_record(content["x_o"], arrays)
    if start is not None:
        check_estimator(start)
        if content["start"] is None:
            raise ValueError("start must be left out: this posterior was not refined from another")
    if content["start"] is not None and start is None:
        same = content["start"] == content["estimator"]
        start = estimator if same else estimator_from_spec(content["start"])

    def empty() -> nnx.Module:
        conditional = algorithm.init(jax.random.key(0), estimator, prior, moments)
        memory = algorithm.memory(conditional, prior, x_o, rounds)
        if start is not None:
            q = start.init(jax.random.key(0), prior.dim, moments)
            _, memory = algorithm.begin(q, prior, x_o, rounds)
        return algorithm.density(conditional, memory)

    graphdef, params, constants = nnx.split(nnx.eval_shape(empty), nnx.Param, ...)
    return algorithm.posterior(
        prior=prior,
        params=fill_state(params, arrays, "params"),
        constants=fill_state(constants, arrays, "constants"),
        moments=moments,
        masks=arrays["masks"],
        x_o=x_o,
        graphdef=graphdef,
        estimator=estimator,
        algorithm=algorithm,
        start=start,
        rounds=rounds,
        amortised=content["amortised"],
        history=Ledger.from_dict(content["history"]),
    )
