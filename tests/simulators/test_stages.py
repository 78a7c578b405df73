"""A gradient computed in a branch of its own is the gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from simulators._stages import staged


def step(state, index, given):
    """A function of floats and integers in a tree."""
    a, b = state["a"], state["b"]
    return {"a": jnp.sin(a * b) + given * index, "n": index + 1, "b": b * jnp.exp(-a)}


def loss(run, state, given):
    def turn(t, state):
        new = run(step, t.astype(float), {k: state[k] for k in "ab"}, t, given)
        return {k: new[k] for k in "ab"}

    end = jax.lax.fori_loop(0, 5, turn, state)
    return end["a"] * end["b"] + given


def test_value_and_gradient_are_those_of_the_function_itself():
    state, given = {"a": jnp.array([0.3, 1.2]), "b": jnp.array([0.7, -0.4])}, jnp.array([0.1, 0.2])
    plain = jax.vmap(lambda s, g: loss(lambda f, t, *rest: f(*rest), s, g))
    apart = jax.vmap(lambda s, g: loss(staged, s, g))
    np.testing.assert_array_equal(apart(state, given), plain(state, given))
    gradients = [
        jax.jit(jax.grad(lambda s, g, f=f: jnp.sum(f(s, g)), argnums=(0, 1)))(state, given)
        for f in (plain, apart)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *gradients)
