"""A training keeps the weights that were best on the rows held out, and ends when they are found.

One number w is drawn to the rows' z by ½ (w − z)². Rows to train on lie at 1, those held out
at 0.3: on its way from 0 to 1 w is best at 0.3, long before the end.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.tree_util import Partial

from jaxsbi import training
from jaxsbi.dataset import Rows, append, empty
from jaxsbi.progress import quiet
from jaxsbi.training import Training, train

ROWS, BEST = 200, 0.3
SETTINGS = Training(
    optimizer=optax.sgd(2e-3), average=0.5, batch_size=20, patience=4, anneal=3, max_epochs=60
)


class Point(nnx.Module):
    def __init__(self) -> None:
        self.w = nnx.Param(jnp.zeros(()))


def half_square(broken_above, key, conditional, index, simulations):
    """½ (w − z)², and on held-out rows NaN where w lies above a limit."""
    w = conditional.w[...]
    broken = simulations.validation[index] & (w > broken_above)
    return jnp.where(broken, jnp.nan, 0.5 * (w - simulations.rows.z[index, 0]) ** 2)


@pytest.fixture(scope="module")
def simulations():
    ones = jnp.ones((ROWS, 1))
    rows = Rows(ones, ones, ones[:, 0] > 0, jnp.zeros(ROWS, jnp.int32), jnp.zeros(ROWS))
    buffer = append(empty(ROWS, 1, jax.ShapeDtypeStruct((1,), ones.dtype)), rows, 0.1)
    z = jnp.where(buffer.validation, BEST, 1.0)[:, None]
    return buffer._replace(rows=rows._replace(z=z))


def trained(simulations, settings=SETTINGS, broken_above=np.inf):
    loss = Partial(half_square, jnp.asarray(broken_above, float))
    return train(jax.random.key(0), Point(), loss, simulations, jnp.ones(ROWS), settings, quiet())


def held_out_loss(found, simulations):
    """The loss of the weights that came back, computed anew."""
    z = simulations.rows.z[simulations.validation, 0]
    return float(jnp.mean(0.5 * (found.conditional.w[...] - z) ** 2))


def test_the_weights_of_the_best_epoch_come_back(simulations):
    found = trained(simulations)
    losses = found.validation_losses
    assert held_out_loss(found, simulations) == pytest.approx(min(losses), abs=1e-7)
    assert found.best_loss == pytest.approx(min(losses)) and found.best_epoch == np.argmin(losses)
    assert abs(found.conditional.w[...] - BEST) < 0.05
    assert losses[-SETTINGS.anneal - 1] > 10 * found.best_loss  # it went too far, and came back


def test_patience_ends_a_training(simulations):
    """The last phase begins `patience` epochs after the best one, and there is no other decay."""
    found = trained(simulations)
    losses = found.validation_losses
    before = losses[: len(losses) - SETTINGS.anneal]
    assert len(before) == np.argmin(before) + 1 + SETTINGS.patience
    assert len(losses) < SETTINGS.max_epochs


def test_the_path_of_decays_ends_with_one_that_brings_nothing_better(simulations):
    """Of four alike the second is in vain, and neither the third nor the fourth is tried."""
    found = trained(simulations, replace(SETTINGS, weight_decay=(0.0,) * 4))
    before = found.validation_losses[: -SETTINGS.anneal]
    assert len(before) == np.argmin(before) + 1 + 2 * SETTINGS.patience


def test_the_path_of_decays_goes_on_while_it_brings_something_better(simulations):
    """Under a decay of half the weights in a step w stays near 0; the next one frees it."""
    found = trained(simulations, replace(SETTINGS, weight_decay=(100.0, 0.0, 0.0)))
    assert abs(found.conditional.w[...] - BEST) < 0.05 and found.rung == 1


def test_epochs_without_a_finite_loss_do_not_hide_the_best_one(simulations):
    found = trained(simulations, broken_above=BEST)
    assert np.isnan(found.validation_losses).any()
    assert found.best_loss == np.nanmin(found.validation_losses)
    assert found.best_epoch == np.nanargmin(found.validation_losses)
    assert held_out_loss(found, simulations) == pytest.approx(found.best_loss, abs=1e-7)


def test_ctrl_c_brings_back_the_best_weights_so_far(simulations, monkeypatch):
    slices = []

    def press(*_):
        slices.append(None)
        if len(slices) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training, "report", press)
    monkeypatch.setattr(training, "MAX_SLICE_EPOCHS", 8)
    found = trained(simulations)
    assert found.interrupted and 2 <= len(found.validation_losses) <= 9
    assert held_out_loss(found, simulations) == pytest.approx(found.best_loss, abs=1e-7)


def test_gradients_are_clipped_to_a_norm_of_five_and_those_of_nan_are_none():
    """Steps after g, g' are those after 5 g/|g|, g'; after NaN, g' those after 0, g'."""
    optimizer = Training().optimizer
    small = {"a": jnp.array([3.0, 4.0]), "b": jnp.zeros(2)}  # of norm 5
    then = {"a": jnp.array([0.1, -0.2]), "b": jnp.array([0.3, 0.0])}

    def steps(first):
        state = optimizer.init(small)
        for gradient in (first, then):
            update, state = optimizer.update(gradient, state, small)
        return np.concatenate(jax.tree.leaves(update))

    scaled = [jax.tree.map(lambda g, c=c: c * g, small) for c in (1.0, 1e6, 0.5, jnp.nan, 0.0)]
    whole, huge, half, undefined, none = map(steps, scaled)
    np.testing.assert_allclose(huge, whole, rtol=1e-5)
    assert np.max(np.abs(half - whole)) > 1e-4  # what is no larger than 5 is left as it is
    np.testing.assert_array_equal(undefined, none)
