"""A slice of training lowers for cpu, cuda and tpu; what a simulator closes over is lifted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsbi.algorithms import npe
from jaxsbi.compilation import lifted
from jaxsbi.dataset import empty, moments
from jaxsbi.descent import Task, advance
from jaxsbi.estimators import flow_matching, maf, mdn, nsf
from jaxsbi.priors import gaussian
from jaxsbi.training import Training, schedule_of, start

ESTIMATORS = {
    "mdn": mdn(components=2, hidden=(8,)),
    "maf": maf(layers=2, hidden=(8,)),
    "nsf": nsf(layers=2, hidden=(8,)),
    "flow_matching": flow_matching(hidden=(8, 8)),
}


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_slice_of_training_lowers_for_every_platform(estimator):
    training, algorithm, rows = Training(batch_size=16, max_epochs=30), npe(), jnp.ones((200, 3))
    rows = rows.at[:].set(jax.random.normal(jax.random.key(0), rows.shape))
    prior = gaussian([0.0, 0.0], sd=[1.0, 1.0])
    scale = moments(rows, np.ones(200, bool))
    conditional = algorithm.init(jax.random.key(1), estimator, prior, scale)
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    weights, schedule = jnp.ones(200), schedule_of(training)
    simulations = empty(200, 2, jax.ShapeDtypeStruct((3,), jnp.float32))

    def piece(key, constants, state, simulations, weights, schedule, epochs):
        task = Task(
            graphdef, constants, algorithm.first_loss(), training.optimizer, training.batch_size,
            schedule, simulations, weights,
        )  # fmt: skip
        return advance(key, task, state, epochs)

    state = start(params, training)
    arguments = (
        jax.random.key(2), constants, state, simulations, weights, schedule, jnp.asarray(3)
    )  # fmt: skip
    exported = jax.export.export(jax.jit(piece), platforms=("cpu", "cuda", "tpu"))(*arguments)
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert [a.shape for a in exported.out_avals] == shapes
    assert len(exported.mlir_module_serialized) < 1_000_000


def test_what_a_simulator_closes_over_becomes_an_argument():
    weights = np.random.default_rng(0).normal(size=(3, 200_000)).astype(np.float32)
    product = jax.jit(lambda theta, w: theta @ w)

    def simulate(key, theta):
        return {"x": product(theta, jnp.asarray(weights)) + jax.random.normal(key)}

    keys, theta = jax.random.split(jax.random.key(0), 4), jnp.eye(4, 3)
    run = jax.jit(lambda keys, simulator, theta: jax.vmap(simulator)(keys, theta))
    simulator = lifted(simulate, keys[0], theta[0])
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(simulator)) == weights.nbytes
    assert len(run.lower(keys, simulator, theta).as_text()) < 100_000
    expected = jax.jit(jax.vmap(simulate))(keys, theta)["x"]
    np.testing.assert_array_equal(run(keys, simulator, theta)["x"], expected)
    # The same object again, so that nothing is compiled anew; small simulators stay as they are.
    assert lifted(simulate, keys[1], theta[1]) is simulator
    assert not jax.tree.leaves(lifted(lambda key, theta: theta, keys[0], theta[0]))
