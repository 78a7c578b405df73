"""A problem for the command line: `shifted` (x ~ N(θ, 0.1² I)), and some that are none."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp

import jaxsbi

prior = jaxsbi.box([-1.0, -1.0], [1.0, 1.0], names=["a", "b"])


def simulate(key, theta):
    return theta + 0.1 * jax.random.normal(key, (2,))


no_prior = SimpleNamespace(simulate=simulate)
no_simulator = SimpleNamespace(prior=prior, simulate=3)
breaks = SimpleNamespace(prior=prior, simulate=lambda key, theta: 1 / 0)
other_shape = SimpleNamespace(prior=prior, simulate=lambda key, theta: jnp.append(theta, 0.0))
