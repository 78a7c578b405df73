"""Fingerprints: what tells a campaign or an inference from others, as JSON, and where two differ.

A simulator is told by the program it traces to, and by the numbers it is bound to; a plain Python
simulator by its source and what it is bound to. What that reads by names of its module is not seen.
"""

from __future__ import annotations

import json
import math
import platform
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import PyTree

from jaxsbi.compilation import ByIdentity, equations
from jaxsbi.digests import digest, function_digest, tree_digest
from jaxsbi.hosts import Host
from jaxsbi.priors import Prior
from jaxsbi.records import prior_fingerprint, prior_record
from jaxsbi.types import PRNGKey, Simulator

SAME = 1e-5  # features of one recording from its trace and from the table agree to 10⁻⁶
SHOWN = 3
ABSENT = "absent"
PROGRAMS = ("jax", "jaxlib", "diffrax", "equinox")
"""Packages whose versions shape the program that a simulator traces to."""


def of_key(key: PRNGKey) -> dict[str, Any]:
    return {
        "generator": str(jax.random.key_impl(key)),
        "data": np.asarray(jax.random.key_data(key)).tolist(),
    }


def of_prior(prior: Prior) -> dict[str, Any]:
    """Names, units and θ at z = −1, 0, 1; and the record that rebuilds a prior of numpyro's own."""
    record, arrays = prior_record(prior)
    labels, seen = prior_fingerprint(prior)
    found = {
        **labels,
        "record": record,
        "arrays": {name: a.tolist() for name, a in arrays.items()},
        "theta": seen["fingerprint"].tolist(),
    }
    return json.loads(json.dumps(found))


def of_simulator(simulate: Simulator, dim: int, x: PyTree[jax.ShapeDtypeStruct]) -> dict[str, Any]:
    """Shapes of x, a digest of the program, and one of the arguments that a Partial binds."""
    bound: Any = ()
    fn = simulate
    if isinstance(simulate, Partial):
        fn, bound = simulate.func, (simulate.args, simulate.keywords)
    shapes = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(x)]
    return {
        "x": f"{jax.tree.structure(x)}: {', '.join(shapes)}",
        "bound": tree_digest(bound),
        "program": _plain(fn.fn) if isinstance(fn, Host) else _program(fn, bound, dim),
    }


def name_of(simulate: Simulator) -> str:
    """Where a simulator is defined, in words."""
    fn = simulate.func if isinstance(simulate, Partial) else simulate
    fn = fn.fn if isinstance(fn, Host) else fn
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"


def _plain(fn: Any) -> str:
    return function_digest(fn, "fn")


def _program(fn: Any, bound: Any, dim: int) -> str:
    leaves, structure = jax.tree.flatten(bound or ((), {}))
    shapes = tuple(jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)) for a in leaves)
    program, callbacks = _traced(ByIdentity(fn), structure, shapes, dim, jnp.zeros(()).dtype)
    return digest(program.encode(), *map(_called, callbacks)) if callbacks else program


@lru_cache(maxsize=16)
def _traced(
    fn: ByIdentity, structure: Any, shapes: tuple[Any, ...], dim: int, real: Any
) -> tuple[str, list[Any]]:
    """The digest of a jaxpr and its constants, addresses of Python objects left out; callbacks."""
    key = jax.eval_shape(lambda: jax.random.key(0))

    def call(bound: Any, key: PRNGKey, theta: Any) -> Any:
        return fn(*bound[0], key, theta, **bound[1])

    bound = jax.tree.unflatten(structure, shapes)
    closed = jax.make_jaxpr(call)(bound, key, jax.ShapeDtypeStruct((dim,), real))
    text = re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr))
    program = digest(text.encode(), tree_digest([np.asarray(c) for c in closed.consts]).encode())
    return program, list(_callbacks(closed.jaxpr))


def _callbacks(jaxpr: Any) -> Iterator[Any]:
    """The Python functions that a program gets numbers from, but for those of PROGRAMS."""
    for equation in equations(jaxpr):
        if equation.primitive.name in ("pure_callback", "io_callback"):
            wrapped = equation.params["callback"]
            fn = getattr(wrapped, "callback_func", wrapped)
            owner = getattr(fn, "__self__", None)
            fn = owner.fn if isinstance(owner, Host) else fn
            if str(getattr(fn, "__module__", "")).split(".")[0] not in PROGRAMS:
                yield fn


def _called(fn: Any) -> bytes:
    """The digest of a callback, or nothing where a library's own has no content to compare."""
    try:
        return _plain(fn).encode()
    except ValueError:
        return b""


def versions(*packages: str) -> dict[str, str]:
    """Of Python, the machine's backend, and the packages."""
    found = {name: version(name) for name in packages}
    return {"python": platform.python_version(), "backend": jax.default_backend(), **found}


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """Where two trees of settings differ, each as "name found, not wanted"."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            difference
            for key in dict.fromkeys([*wanted, *found])
            for difference in differences(
                found.get(key, ABSENT), wanted.get(key, ABSENT), f"{name}.{key}".lstrip(".")
            )
        ]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [
            difference
            for i, pair in enumerate(zip(found, wanted, strict=True))
            for difference in differences(*pair, f"{name}[{i}]")
        ]
    return [] if _same(found, wanted) else [f"{name} {_short(found)}, not {_short(wanted)}"]


def check_same(found: dict[str, Any], wanted: dict[str, Any], what: str) -> None:
    """A ValueError with what differs, beside names and versions, between two fingerprints.

    Warns where numbers may differ in the last bits: on another backend, and with other versions on
    which the program of a simulator depends; then that is not compared.
    """
    labels = {"name", "versions"}
    found, told = dict(found), found.get("versions", {})
    others = [n for n in (*PROGRAMS, "backend") if told.get(n) != wanted["versions"].get(n)]
    if others:
        what_differs = "on another backend" if others == ["backend"] else "with other versions"
        warnings.warn(
            f"{what} was begun {what_differs}, "
            f"{in_words(differences(told, wanted['versions']))}: what is added may differ from it "
            "in the last bits",
            stacklevel=5,
        )
        if others != ["backend"] and "simulator" in found and "simulator" in wanted:
            wanted = {**wanted, "simulator": {**wanted["simulator"], "program": None}}
            found["simulator"] = {**found["simulator"], "program": None}
    differing = differences(
        {k: v for k, v in found.items() if k not in labels},
        {k: v for k, v in wanted.items() if k not in labels},
    )
    if differing:
        of = f" of {found['name']}" if found.get("name") else ""
        raise ValueError(
            f"{what} holds another run{of} ({in_words(differing)}); choose another folder"
        )


def in_words(differing: list[str]) -> str:
    """The first differences, and how many more there are."""
    more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return "; ".join(differing[:SHOWN]) + more


def _same(found: Any, wanted: Any) -> bool:
    if all(isinstance(value, float) for value in (found, wanted)):
        return math.isclose(found, wanted, rel_tol=SAME, abs_tol=1e-12)
    return found == wanted


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "given" if value else "empty"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:60]
