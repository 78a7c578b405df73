"""Records: priors, trees and weights as JSON and named arrays, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from flax import nnx
from jaxtyping import PyTree

from jaxsbi.priors import Prior

Arrays = dict[str, np.ndarray]


def prior_record(prior: Prior) -> tuple[dict | None, Arrays]:
    """JSON and arrays of a prior of numpyro's own distributions; (None, {}) for any other."""
    entries, arrays = [], {}
    for i, component in enumerate(prior.components):
        entry = _distribution_record(component, f"prior/{i}", arrays)
        if entry is None:
            return None, {}
        entries.append(entry)
    return {"components": entries, "names": prior.names, "units": prior.units}, arrays


def prior_fingerprint(prior: Prior) -> tuple[dict, Arrays]:
    """What tells a prior from others, of whatever code it is: labels, and θ at z = −1, 0, 1."""
    z = jnp.outer(jnp.array([-1.0, 0.0, 1.0]), jnp.ones(prior.dim))
    labels = {"names": list(prior.names), "units": list(prior.units)}
    return labels, {"fingerprint": np.asarray(prior.to_theta(z))}


def check_fingerprint(prior: Prior, labels: dict, arrays: Arrays) -> None:
    """A ValueError unless `prior` is the one that `prior_fingerprint` described."""
    own_labels, own = prior_fingerprint(prior)
    for kind, saved in labels.items():
        if own_labels[kind] != saved:
            raise ValueError(
                f"prior must be the one the posterior was made with, its {kind} {saved}, got "
                f"{own_labels[kind]}"
            )
    ours, saved = own["fingerprint"], arrays["fingerprint"]
    if not np.allclose(ours, saved, rtol=1e-4, atol=1e-4 * np.ptp(saved, axis=0)):
        raise ValueError(
            "prior must be the one the posterior was made with, its medians "
            f"{saved[1].tolist()}, got {ours[1].tolist()}; its scale counts too"
        )


def prior_from_record(record: dict, arrays: Arrays) -> Prior:
    """The prior that `prior_record` described."""
    components = tuple(_distribution(entry, arrays) for entry in record["components"])
    names, units = tuple(record["names"]), tuple(record["units"])
    return Prior.tree_unflatten((names, units), (components,))


def _distribution_record(d: dist.Distribution, path: str, arrays: Arrays) -> dict | None:
    if isinstance(d, dist.Independent):
        base = _distribution_record(d.base_dist, f"{path}/base", arrays)
        return base and {"type": "Independent", "base": base}
    if type(d).__name__ == "ExpandedDistribution":
        base = _distribution_record(d.base_dist, f"{path}/base", arrays)
        return base and {"type": "Expanded", "base": base, "shape": list(d.batch_shape)}
    name = type(d).__name__
    if getattr(dist, name, None) is not type(d):
        return None
    parameters = ["loc", "scale_tril"] if name == "MultivariateNormal" else list(d.arg_constraints)
    try:
        values = {p: np.asarray(getattr(d, p)) for p in parameters}
        again = type(d)(**{p: jnp.asarray(v) for p, v in values.items()})
    except (AttributeError, TypeError):
        return None
    if not _same(again, d):
        return None
    arrays.update({f"{path}/{p}": v for p, v in values.items()})
    return {"type": name, "path": path, "parameters": parameters}


def _same(a: dist.Distribution, b: dist.Distribution) -> bool:
    ours, theirs = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(ours) == len(theirs) and all(map(np.allclose, ours, theirs))


def _distribution(entry: dict, arrays: Arrays) -> dist.Distribution:
    if entry["type"] == "Independent":
        return _distribution(entry["base"], arrays).to_event(1)
    if entry["type"] == "Expanded":
        return _distribution(entry["base"], arrays).expand(tuple(entry["shape"]))
    values = {p: jnp.asarray(arrays[f"{entry['path']}/{p}"]) for p in entry["parameters"]}
    return getattr(dist, entry["type"])(**values)


def tree_record(tree: PyTree, path: str, arrays: Arrays) -> Any:
    """JSON of a tree of dicts, lists, tuples and arrays; the arrays go to `arrays` by path.

    A ValueError for other nodes, which only the user's own code could build again.
    """
    if tree is None:
        return None
    if type(tree) not in (dict, list, tuple) and not jax.tree_util.all_leaves([tree]):
        raise ValueError(
            f"x must be arrays in dicts, lists and tuples to be saved, got a {type(tree).__name__};"
            " infer anew with a simulator that returns such a tree"
        )
    if isinstance(tree, dict):
        if not all(isinstance(name, str) for name in tree):
            raise ValueError(f"x must have strings as names to be saved, got {list(tree)}")
        return {"dict": {k: tree_record(v, f"{path}/{k}", arrays) for k, v in tree.items()}}
    if isinstance(tree, list | tuple):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [tree_record(v, f"{path}/{i}", arrays) for i, v in enumerate(tree)]}
    arrays[path] = np.asarray(tree)
    return path


def tree_from_record(record: Any, arrays: Arrays) -> PyTree:
    """The tree that `tree_record` described."""
    if record is None:
        return None
    if isinstance(record, str):
        return jnp.asarray(arrays[record])
    ((kind, content),) = record.items()
    if kind == "dict":
        return {k: tree_from_record(v, arrays) for k, v in content.items()}
    items = [tree_from_record(v, arrays) for v in content]
    return items if kind == "list" else tuple(items)


def state_arrays(state: nnx.State, prefix: str) -> Arrays:
    """The variables of an nnx state by their path in the module."""
    return {
        "/".join([prefix, *map(str, path)]): np.asarray(variable[...])
        for path, variable in nnx.to_flat_state(state)
    }


def fill_state(abstract: nnx.State, arrays: Arrays, prefix: str) -> nnx.State:
    """The state of the given structure with the arrays that `state_arrays` named."""
    filled = []
    for path, variable in nnx.to_flat_state(abstract):
        name = "/".join([prefix, *map(str, path)])
        if name not in arrays or arrays[name].shape != variable.shape:
            got = arrays[name].shape if name in arrays else "nothing"
            raise ValueError(f"array {name} must have shape {variable.shape}, got {got}")
        filled.append((path, variable.replace(jnp.asarray(arrays[name]))))
    return nnx.from_flat_state(filled)
