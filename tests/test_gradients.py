"""Gradients end to end: from the posterior density through a simulator to θ and to the weights."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxsbi
from simulators import hodgkin_huxley as hh


def test_gradients_run_from_the_posterior_through_the_neuron_to_theta_and_weights():
    """d/dz and d/dw of log q(z | simulate(key, θ(z))) against central differences, in float64."""
    protocol, prior = hh.step(1.0, 2.0, 8.0, 10.0, dt=0.02), jaxsbi.box(hh.PARAMETERS)
    with jax.enable_x64(True):
        z = prior.to_z(jnp.asarray(hh.NOMINAL, float))
        seen = hh.simulate(jax.random.key(2), prior.to_theta(z), protocol)
        rows = z + jax.random.normal(jax.random.key(0), (300, 8))
        x = seen + 0.1 * jnp.abs(seen) * (rows - z)[:, :7]  # a density that depends on x strongly
        posterior = jaxsbi.fit(
            jax.random.key(1), prior.to_theta(rows), x, prior, progress=False,
            estimator=jaxsbi.mdn(components=1, hidden=(8,)),
            training=jaxsbi.Training(max_epochs=3, anneal=1),
        )  # fmt: skip

        def log_q(z, params, x):
            conditional = nnx.merge(posterior.graphdef, params, posterior.constants)
            return conditional.log_prob(z, x)

        def objective(z, params):
            x = hh.simulate(jax.random.key(2), prior.to_theta(z), protocol)
            return log_q(z, params, x)

        objective = jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))
        _, (by_z, by_params) = objective(z, posterior.params)
        step = 1e-6

        def slope(change_z, change_params):
            change = (change_z, change_params)
            ends = [
                jax.tree.map(lambda a, d, s=s: a + s * d, (z, posterior.params), change)
                for s in (step, -step)
            ]
            after, before = (objective(*end)[0] for end in ends)
            return (after - before) / (2 * step)

        still = jax.tree.map(jnp.zeros_like, posterior.params)
        expected = np.array([slope(e, still) for e in jnp.eye(8)])
        np.testing.assert_allclose(by_z, expected, rtol=1e-3, atol=2e-3)
        x_fixed = jax.jit(jax.grad(log_q))(z, posterior.params, seen)
        assert np.max(np.abs(x_fixed - expected)) > 0.1  # most of it comes through the neuron
        leaves, tree = jax.tree.flatten(posterior.params)
        keys = jax.random.split(jax.random.key(3), len(leaves))
        towards = tree.unflatten(
            [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        )
        along = sum(map(jnp.vdot, jax.tree.leaves(by_params), jax.tree.leaves(towards)))
        np.testing.assert_allclose(along, slope(jnp.zeros(8), towards), rtol=1e-3)
