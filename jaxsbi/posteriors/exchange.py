"""Posteriors in ArviZ's schema: named groups of variables that bear their units.

ArviZ below 1 keeps them in an InferenceData, from 1 on in xarray's DataTree. ArviZ comes with the
extra `arviz` and is imported when a posterior is handed over, not before.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxsbi.extras import needed

if TYPE_CHECKING:
    from jaxsbi.priors import Prior
    from jaxsbi.types import Data

Variables = dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]
"""Name ↦ (dimensions, values, attributes), as xarray takes them."""
ROWS = ("chain", "draw")


class Drawn(NamedTuple):
    """θ (chains, draws, d), and what is known of each draw: arrays (chains, draws)."""

    theta: Float[Array, "c n d"]
    stats: dict[str, Float[Array, "c n"]]


def as_arviz(
    prior: Prior,
    drawn: Drawn,
    observed: Data | None,
    predicted: Data | None,
    features: Sequence[Any] | None,
    record: dict[str, str],
) -> Any:
    """Groups posterior, sample_stats, posterior_predictive, observed_data and constant_data.

    predicted: (chains, draws, …). features: with name and unit, of the entries of x, each of which
    is then a variable of its own.
    """
    theta = np.asarray(drawn.theta)
    groups: dict[str, Variables] = {
        "posterior": {
            name: (ROWS, theta[..., i], {"units": unit})
            for i, (name, unit) in enumerate(zip(prior.names, prior.units, strict=True))
        },
        "sample_stats": {k: (ROWS, np.asarray(v), {}) for k, v in drawn.stats.items()},
        "constant_data": _bounds(prior),
    }
    if predicted is not None:
        groups["posterior_predictive"] = _of_x(predicted, features, ROWS)
    if observed is not None:
        groups["observed_data"] = _of_x(observed, features, ())
    return _tree({name: variables for name, variables in groups.items() if variables}, record)


def _bounds(prior: Prior) -> Variables:
    """The prior's bounds, a variable for each: ±inf where a parameter has none."""
    return {
        f"{name}_{end}": ((), np.asarray(values)[i], {"units": unit})
        for end, values in zip(("low", "high"), prior.bounds, strict=True)
        for i, (name, unit) in enumerate(zip(prior.names, prior.units, strict=True))
    }


def _of_x(x: Data, features: Sequence[Any] | None, rows: tuple[str, ...]) -> Variables:
    leaves = [
        (jax.tree_util.keystr(path, simple=True, separator="_") or "x", np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(x)
    ]
    if features is None:
        return {
            name: (_dimensions(name, leaf.ndim - len(rows), rows), leaf, {})
            for name, leaf in leaves
        }
    flat = np.concatenate([leaf.reshape(*leaf.shape[: len(rows)], -1) for _, leaf in leaves], -1)
    if len(features) != flat.shape[-1] or not all(hasattr(f, "name") for f in features):
        raise ValueError(
            f"features must be {flat.shape[-1]} with a name and a unit, one for each number of x, "
            f"got {len(features)} of {type(features[0]).__name__ if len(features) else 'nothing'}"
        )
    return {
        f.name: (rows, flat[..., i], {"units": getattr(f, "unit", "")})
        for i, f in enumerate(features)
    }


def _dimensions(name: str, more: int, rows: tuple[str, ...]) -> tuple[str, ...]:
    return (*rows, *(f"{name}_dim_{i}" for i in range(more)))


def _tree(groups: dict[str, Variables], record: dict[str, str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # 0.2x announces 1 whenever it is imported
        arviz = needed("arviz", "arviz", "to_arviz")
    xarray = needed("xarray", "arviz", "to_arviz")
    datasets = {}
    for group, variables in groups.items():
        dataset = xarray.Dataset(variables, attrs=record)
        where = {d: np.arange(size) for d, size in dataset.sizes.items()}
        datasets[group] = dataset.assign_coords(where)
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**datasets)
    return xarray.DataTree.from_dict(datasets)
