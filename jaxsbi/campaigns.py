"""Campaigns: rows (θ, x) drawn from the prior and simulated, kept in memory or in a store.

A store is filled chunk by chunk. What is there stays there: a campaign that was killed goes on at
the first row that is missing, and one that asks for more rows adds them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Float, PyTree

from jaxsbi.arguments import check_count, check_key
from jaxsbi.filling import Writer, fill, told
from jaxsbi.fingerprints import (
    PROGRAMS,
    check_same,
    name_of,
    of_key,
    of_prior,
    of_simulator,
    versions,
)
from jaxsbi.opening import CHUNK, create, open_store, open_to_write
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet, termination
from jaxsbi.simulation import check_prior, outcome, prior_draw, run
from jaxsbi.stores import NONE, Store
from jaxsbi.types import PRNGKey, Simulator
from jaxsbi.writers import is_remote, only_writer


def simulate(
    key: PRNGKey,
    simulate: Simulator,
    prior: Prior,
    n: int,
    *,
    store: str | os.PathLike | None = None,
    chunk: int | None = None,
    batch: int | None = None,
    progress: bool = False,
) -> tuple[Float[Array, "n d"], PyTree[Float[Array, "n ..."]]] | Store:
    """Draw (θ_i, x_i) ~ p(θ) p(x | θ), i < n: arrays (n, d) and (n, …); with `store` the Store.

    Row i depends on (key, i) only: `batch`, the rows compiled into one call, changes speed and
    memory but no number. What the simulator reads besides its arguments, such as attributes of
    an object, is read once, in the first call with that simulator: hand in another one after a
    change. Raises ValueError where the simulator does not take one θ or raises.

    store: a folder, or an address of fsspec such as s3://bucket/name, that keeps the rows; memory
        does not grow with n. The same call goes on where an interrupted one stopped; a larger n
        adds rows; one of another prior, simulator or key, or of a writer that lives, is refused.
    chunk: rows per chunk of a new store (8192).
    """
    check_key(key)
    check_prior(prior)
    n = check_count("n", n)
    x = outcome(simulate, prior.dim)
    if batch is not None:
        check_count("batch", batch)
    if store is None and chunk is not None:
        raise ValueError("chunk must be left out without a store; name a folder as store=…")
    with Reporter() if progress else quiet() as reporter:
        draw = prior_draw(prior)
        if store is None:
            return run(key, simulate, draw, 0, n, batch, reporter)
        campaign = of_campaign(key, simulate, prior, x)
        with termination(), writing(store, campaign, prior.dim, x, n, chunk) as writer:
            fill(writer, key, simulate, draw, 0, n, batch, reporter)
    return open_store(store)


def of_campaign(
    key: PRNGKey, simulate: Simulator, prior: Prior, x: PyTree[jax.ShapeDtypeStruct]
) -> dict[str, Any]:
    """The fingerprint of a campaign. `name` and `versions` are for the reader."""
    found = {
        "prior": of_prior(prior),
        "simulator": of_simulator(simulate, prior.dim, x),
        "key": of_key(key),
        "name": name_of(simulate),
        "versions": versions("jaxsbi", "numpy", "zarr", *PROGRAMS),
    }
    return json.loads(json.dumps(found))


@contextmanager
def writing(
    address: str | os.PathLike,
    campaign: dict[str, Any],
    dim: int,
    x: PyTree[jax.ShapeDtypeStruct],
    n: int,
    chunk: int | None = None,
) -> Iterator[Writer]:
    """Within the block this process alone writes to the store of n rows, made if there is none.

    Raises ValueError where the store is of another campaign, or another process writes to it.
    """
    if chunk is not None:
        check_count("chunk", chunk)
    if n >= NONE:
        raise ValueError(f"n must be below {NONE:,}, what row numbers hold, got {n:,}")
    _check_address(address)
    with told(address):
        _refuse_others(address, open_to_write(address), campaign, chunk)
        if not is_remote(address):
            os.makedirs(address, exist_ok=True)
        with only_writer(address) as beat:
            _sweep(address)
            store = open_to_write(address)
            if store is None:
                store = create(address, campaign, dim, x, n, chunk or min(CHUNK, n))
            elif n > store.target:
                store.extend(n)
            yield Writer(store, beat)


def _sweep(address: str | os.PathLike) -> None:
    """Remove what writers that died had not yet given its name."""
    if not is_remote(address):
        for part in Path(address).rglob("*.partial"):
            part.unlink(missing_ok=True)


def _check_address(address: Any) -> None:
    if not isinstance(address, str | os.PathLike) or not str(address):
        raise ValueError(f"store must be the name of a folder or an address, got {address!r}")
    if not is_remote(address) and os.path.exists(address) and not os.path.isdir(address):
        raise ValueError(f"store {address} must be a folder, but it is a file; choose another")


def _refuse_others(
    address: Any, store: Store | None, campaign: dict[str, Any], chunk: int | None
) -> None:
    if store is None:
        return
    check_same(store.header["campaign"], campaign, f"store {address}")
    if chunk not in (None, store.chunk):
        raise ValueError(f"chunk must be {store.chunk}, that of store {address}, got {chunk}")
