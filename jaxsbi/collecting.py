"""Collecting: a round's proposal, its simulations, and the buffer of all rounds' rows."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree

from jaxsbi import simulation
from jaxsbi.algorithms.proposals import TILE, PriorProposal, Proposal, Valid, pool
from jaxsbi.compilation import compile_clock
from jaxsbi.dataset import Rows, Simulations, append, is_valid, outcome_of
from jaxsbi.keeping import Keep
from jaxsbi.learning import Drawn, Learned, Settings
from jaxsbi.priors import Prior
from jaxsbi.types import PRNGKey, Simulator


class Collected(NamedTuple):
    """All rows so far; each later round's proposal and its acceptance; how many each round drew."""

    buffer: Simulations
    proposals: tuple[tuple[Proposal, Array], ...] = ()
    rows: tuple[int, ...] = ()


def collect(
    key: PRNGKey,
    key_rows: PRNGKey,
    settings: Settings,
    simulate: Simulator,
    batch: int | None,
    n: int,
    learned: Learned | None,
    collected: Collected,
    keep: Keep | None = None,
) -> tuple[Learned | None, Collected, Drawn]:
    """Up to n rows of a round more: fewer where its proposal's set is hardly ever met.

    `key_rows` is the campaign's, row i of which draws all it needs from fold_in(key_rows, i).
    keep: where the rows are kept. Those of a round whose training has begun are read back, and
    not even drawn again.
    """
    began = time.perf_counter()
    buffer, prior, number = collected.buffer, settings.prior, len(collected.rows)
    first_row, acceptance = int(buffer.length), 1.0
    noted, kept = _noted(keep, number, first_row)
    with compile_clock() as clock:
        proposal = None
        if learned is None:
            draw = simulation.prior_draw(prior)
        else:
            key_propose, key_pool = jax.random.split(key)
            learned, proposal = propose(key_propose, settings, learned)
            if proposal is None:
                draw = simulation.prior_draw(prior)
            elif noted is not None:
                n, acceptance = noted.rows, noted.acceptance
            else:
                drawn = pool(key_pool, proposal, n)
                n, acceptance = int(drawn.found), float(drawn.acceptance)
                draw = simulation.given_draw(prior.to_theta(drawn.z), first_row)
            if proposal is not None:
                share = (proposal, jnp.asarray(acceptance))
                collected = collected._replace(proposals=(*collected.proposals, share))
        valid = 0
        if n:
            if kept is not None:
                theta, x = kept
            elif keep is None:
                theta, x = simulation.run(
                    key_rows, simulate, draw, first_row, n, batch, settings.reporter
                )
            else:
                theta, x = keep.simulate(
                    key_rows, simulate, prior, outcome_of(buffer.rows.x), draw, first_row, n, batch,
                    settings.reporter,
                )  # fmt: skip
            rows = new_rows(prior, theta, x, jnp.asarray(number))
            valid = int(jnp.sum(rows.valid))
            buffer = append(buffer, rows, settings.training.validation)
        collected = collected._replace(buffer=buffer, rows=(*collected.rows, n))
        if settings.algorithm.weighted and collected.proposals:
            collected = balanced(collected)
    seconds = time.perf_counter() - began - clock.seconds
    drawn = Drawn(n, valid, acceptance, seconds, clock.seconds, clock.programs)
    return learned, collected, drawn if noted is None else noted


def _noted(keep: Keep | None, number: int, first_row: int) -> tuple[Drawn, Any] | tuple[None, None]:
    """What a round had drawn before an interruption, and its rows, if all of them are there."""
    found = None if keep is None else keep.drawn(number)
    if found is None:
        return None, None
    noted = Drawn(**found)
    rows = keep.read(first_row, noted.rows)
    return (None, None) if rows is None else (noted, jax.tree.map(jnp.asarray, rows))


def propose(key: PRNGKey, settings: Settings, learned: Learned) -> tuple[Learned, Proposal | None]:
    """The next round's proposal, None for the prior, and the memory of it."""
    proposal = None
    if settings.algorithm.sequential:
        given = learned.memory, settings.prior, settings.x_o
        if settings.algorithm.compiled:
            graphdef, *state = nnx.split(learned.conditional, nnx.Param, ...)
            memory, proposal = _propose(settings.algorithm, graphdef, key, state, *given)
        else:
            memory, proposal = settings.algorithm.propose(key, learned.conditional, *given)
        learned = learned._replace(memory=memory)
    if settings.avoid_failures and learned.validity is not None:
        base = PriorProposal(settings.prior) if proposal is None else proposal
        proposal = Valid.of(base, learned.validity)
    return learned, proposal


@partial(jax.jit, static_argnums=(0, 1))
def _propose(algorithm, graphdef, key, state, memory, prior, x_o):
    conditional = nnx.merge(graphdef, *state)
    return algorithm.propose(key, conditional, memory, prior, x_o)


@jax.jit
def new_rows(prior: Prior, theta: Array, x: PyTree[Array], number: Array) -> Rows:
    """Simulated rows of round `number`, as the buffer keeps them."""
    n = theta.shape[0]
    return Rows(
        z=prior.to_z(theta),
        x=x,
        valid=is_valid(x),
        round=jnp.full(n, number, jnp.int32),
        log_proposal=jnp.zeros(n),
    )


def balanced(collected: Collected) -> Collected:
    """log_proposal = log Σ_r (n_r/n) p̃_r(z)/p(z) of every row: the balance heuristic.

    Where there is a round of the prior, no weight p/p̃ exceeds n over its rows.
    Veach & Guibas 1995 (SIGGRAPH).
    """
    buffer, proposals, rows = collected
    total = sum(rows)
    from_prior = sum(rows[: len(rows) - len(proposals)])
    share = np.log(from_prior / total) if from_prior else -np.inf
    mixture = jnp.full(buffer.capacity, share, buffer.rows.z.dtype)
    for (proposal, acceptance), n in zip(reversed(proposals), reversed(rows), strict=False):
        mixture = _with_share(mixture, proposal, acceptance, jnp.asarray(n / total), buffer.rows.z)
    rows = buffer.rows._replace(log_proposal=mixture)
    return collected._replace(buffer=buffer._replace(rows=rows))


@jax.jit
def _with_share(
    mixture: Array, proposal: Proposal, acceptance: Array, share: Array, z: Array
) -> Array:
    """log [e^mixture + share · p̃(z)/p(z)]."""

    def one(z: Array) -> Array:
        return jnp.where(proposal.accept(z), proposal.log_ratio(z), -jnp.inf)

    ratio = jax.lax.map(one, z, batch_size=TILE)
    return jnp.logaddexp(mixture, jnp.log(share / acceptance) + ratio)
