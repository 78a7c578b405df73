"""Simulation: per-row keys, compiled batches, threads on CPU, shards on accelerators.

Row i of a campaign draws everything it needs from `fold_in(key, i)`. Its content therefore depends
on the key and on i alone, not on the batch size, the order, the threads or the devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

from jaxsbi import compilation
from jaxsbi.arguments import as_theta, check_count, check_key, first_line
from jaxsbi.hosts import Host, plain_failures
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, quiet
from jaxsbi.types import PRNGKey, Simulator

# 128 float32 lanes: above that XLA splits small CPU kernels over threads at a loss
CPU_BATCH, ACCELERATOR_BATCH = 128, 65_536
# fewer lanes than a vector register holds are compiled as scalars and rounded in another way
LEAST_BATCH = 16


def predict(
    key: PRNGKey,
    simulate: Simulator,
    theta: Float[Array, "n d"],
    *,
    batch: int | None = None,
    progress: bool = False,
) -> PyTree[Float[Array, "n ..."]]:
    """Draw x_i ~ p(x | θ_i) for given θ (n, d): predictions, if θ comes from a posterior.

    Row i depends on (key, i, θ_i) only.
    """
    check_key(key)
    theta = as_theta(theta)
    if theta.ndim != 2:
        raise ValueError(f"theta must have shape (n, d), got {theta.shape}")
    outcome(simulate, theta.shape[1])
    draw = given_draw(theta)
    with Reporter() if progress else quiet() as reporter:
        return run(key, simulate, draw, 0, theta.shape[0], batch, reporter)[1]


def given_draw(theta: Float[Array, "n d"], first: int = 0) -> Partial:
    """The proposal that hands out the rows of θ, the first of them to row `first`, as a pytree."""
    return Partial(_take_row, theta, jnp.asarray(first, jnp.uint32))


def _take_row(theta: Array, first: Array, key: PRNGKey, row: Array) -> Array:
    return theta[jnp.minimum(row - first, theta.shape[0] - 1)]


def prior_draw(prior: Prior) -> Partial:
    """The proposal `draw(key, row) -> θ` that samples the prior, as a pytree."""
    return Partial(_sample_prior, prior)


def _sample_prior(prior: Prior, key: PRNGKey, row: Array) -> Array:
    return prior.sample(key)


def check_prior(prior: Any) -> None:
    """A ValueError unless prior is a `Prior`."""
    if not isinstance(prior, Prior):
        raise ValueError(
            f"prior must be a jaxsbi.Prior, got {type(prior).__name__}; wrap a numpyro "
            "distribution as jaxsbi.Prior(distribution), bounds as jaxsbi.box(low, high)"
        )


def outcome(simulate: Simulator, dim: int) -> PyTree[jax.ShapeDtypeStruct]:
    """Shape and dtype of x for one θ (dim,); a ValueError that says why, if it cannot be had."""
    if isinstance(simulate, Host):
        return simulate.output
    if not callable(simulate):
        raise ValueError(
            f"simulate must be a function (key, theta) -> x, got {type(simulate).__name__}"
        )
    theta = jax.ShapeDtypeStruct((dim,), jnp.zeros(()).dtype)
    try:
        x = compilation.outcome(simulate, jax.eval_shape(lambda: jax.random.key(0)), theta)
    except Exception as error:  # the user's own code: whatever it raises is reported as its failure
        raise ValueError(
            f"simulate(key, theta) must trace under jax.jit for theta of shape ({dim},), but it "
            f"raised {type(error).__name__}: {first_line(error)}; a simulator in plain Python "
            "enters through jaxsbi.host(fn, output_shape=…)"
        ) from error
    leaves = jax.tree.leaves(x)
    if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise ValueError(
            "simulate must return floating-point arrays, got "
            f"{[str(leaf.dtype) for leaf in leaves] or 'nothing'}; cast with x.astype(float)"
        )
    if not all(leaf.size for leaf in leaves):
        raise ValueError(
            f"simulate must return arrays of one number at least, got shapes "
            f"{', '.join(str(leaf.shape) for leaf in leaves)}; leave the empty ones out"
        )
    return x


def run(
    key: PRNGKey,
    simulate: Simulator,
    draw: Partial,
    first_row: int,
    n: int,
    batch: int | None,
    reporter: Reporter,
) -> tuple[Array, PyTree[Array]]:
    """θ and x of rows first_row … first_row + n − 1, θ from `draw(key, row)`, batch by batch."""
    parts: list[Any] = []
    done = 0
    for part in stream(key, simulate, draw, lambda i: first_row + i, n, batch):
        parts.append(part)
        done += part[0].shape[0]
        reporter.update("simulate", done / n, f"{done:,} of {n:,} simulations")
    gathered = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    if jax.device_count() > 1:
        gathered = jax.device_put(gathered, jax.devices()[0])
    return gathered


def stream(
    key: PRNGKey,
    simulate: Simulator,
    draw: Partial,
    row: Callable[[np.ndarray], np.ndarray],
    n: int,
    batch: int | None,
) -> Iterator[tuple[Array, PyTree[Array]]]:
    """θ and x of the rows of number row(0) … row(n − 1), in order, a batch at a time."""
    on_host = isinstance(simulate, Host)
    theta = jax.eval_shape(draw, key, 0)
    threads = 1 if on_host else compilation.at_once(simulate, key, theta)
    size = _batch_size(n, batch, threads)
    simulator = simulate if on_host else compilation.lifted(simulate, key, theta)
    outcomes = _host_batch if on_host else _simulate_batch

    def batch_of(start: int) -> tuple[Array, PyTree[Array]]:
        # a compiled batch is filled up with rows to drop; a host simulator runs none in vain
        places = start + np.arange(min(size, n - start) if on_host else size)
        theta, keys = _draw_batch(key, draw, _place(row(np.minimum(places, n - 1))))
        with plain_failures():
            return jax.block_until_ready((theta, outcomes(keys, simulator, theta)))

    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, n, size)
        parts = _in_order(pool, batch_of, starts, threads)
        for start, part in zip(starts, parts, strict=True):
            left = n - start
            yield part if left >= size else jax.tree.map(lambda leaf, k=left: leaf[:k], part)


def _in_order(
    pool: ThreadPoolExecutor, task: Callable[[int], Any], starts: range, ahead: int
) -> Iterator[Any]:
    """Results in order with at most `ahead` batches under way, so that an interrupt waits briefly.

    The first batch runs alone: it compiles, and the others then find the program ready.
    """
    pending: list[Any] = []
    try:
        for i, start in enumerate(starts):
            pending.append(pool.submit(task, start))
            if i == 0:
                wait(pending, return_when=FIRST_EXCEPTION)
            if len(pending) > ahead:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()
    finally:
        for future in pending:
            future.cancel()


def _batch_size(n: int, batch: int | None, threads: int) -> int:
    """Rows per call: a power of two from 16 up to `batch`, so that few programs serve every n."""
    if batch is None:
        batch = CPU_BATCH if jax.default_backend() == "cpu" else ACCELERATOR_BATCH
    batch = check_count("batch", batch)
    share = -(-n // threads)
    size = max(min(batch, 1 << (share - 1).bit_length()), LEAST_BATCH)
    devices = jax.device_count()
    return -(-size // devices) * devices


def _place(rows: np.ndarray) -> Array:
    """Row numbers spread over all devices; every array computed from them follows."""
    if jax.device_count() == 1:
        return jnp.asarray(rows, jnp.uint32)
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("rows",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    return jax.device_put(rows.astype(np.uint32), sharding)


@jax.jit
def _draw_batch(key: PRNGKey, draw: Partial, rows: Array) -> tuple[Array, Array]:
    """θ of each row, and the key of its simulation."""

    def one(row: Array) -> tuple[Array, Array]:
        key_theta, key_x = jax.random.split(jax.random.fold_in(key, row))
        return draw(key_theta, row), key_x

    return jax.vmap(one)(rows)


@jax.jit
def _simulate_batch(keys: Array, simulate: Partial, theta: Array) -> PyTree[Array]:
    return jax.vmap(simulate)(keys, theta)


def _host_batch(keys: Array, simulate: Host, theta: Array) -> PyTree[Array]:
    seeds = np.asarray(jax.random.key_data(keys))
    with ThreadPoolExecutor(simulate.workers) as pool:
        x = list(pool.map(simulate.run, seeds, np.asarray(theta)))
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *x)
