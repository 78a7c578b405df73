"""Descent: the number of steps in an epoch, by a problem whose steps can be counted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.tree_util import Partial

from jaxsbi.dataset import Rows, append, empty
from jaxsbi.descent import LEAST_STEPS, Task, advance
from jaxsbi.training import Training, schedule_of, start

RATE, BATCH = 0.01, 20


class Point(nnx.Module):
    """One number w, drawn to z by ½ (w − z)²."""

    def __init__(self) -> None:
        self.w = nnx.Param(jnp.zeros(()))


def half_square(key, conditional, index, simulations):
    return 0.5 * (conditional.w[...] - simulations.rows.z[index, 0]) ** 2


@pytest.mark.parametrize(
    ("rows", "steps"), [(30, LEAST_STEPS), (100, 20), (160, 21), (1000, 1000 * 9 // 10 // BATCH)]
)
def test_an_epoch_is_one_pass_or_twenty_steps(rows: int, steps: int) -> None:
    """All rows at 1: after k steps w = 1 − (1 − η)^k."""
    optimizer = optax.sgd(RATE)
    training = Training(optimizer=optimizer, batch_size=BATCH, max_epochs=3, anneal=1)
    ones = jnp.ones((rows, 1))
    full = Rows(ones, ones, ones[:, 0] > 0, jnp.zeros(rows, jnp.int32), jnp.zeros(rows))
    struct = jax.ShapeDtypeStruct((1,), ones.dtype)
    simulations = append(empty(rows, 1, struct), full, training.validation)
    graphdef, params, constants = nnx.split(Point(), nnx.Param, ...)
    task = Task(
        graphdef, constants, Partial(half_square), optimizer, BATCH, schedule_of(training),
        simulations, ones[:, 0],
    )  # fmt: skip
    state = advance(jax.random.key(0), task, start(params, training), jnp.asarray(1))
    (w,) = jax.tree.leaves(state.params)
    np.testing.assert_allclose(w, 1 - (1 - RATE) ** steps, rtol=1e-5)
    assert state.step == steps
