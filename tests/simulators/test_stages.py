"""A gradient computed in a branch of its own, or by a program of its own, is the gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from simulators._stages import alike, staged


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


def test_a_value_is_that_of_one_program_and_its_gradient_that_of_another():
    # A whole number, which stands still, and the same with the slope of what it counts.
    def count(x, n):
        return {"n": n, "y": jnp.floor(x) + n}

    def moving(x, n):
        return {"n": n, "y": jnp.floor(x) + n + (x**2 - jax.lax.stop_gradient(x**2))}

    def total(x, n):
        y = alike(count, moving, x, n)["y"]
        return 3 * y, y

    x, n = jnp.array([0.7, 1.2]), jnp.array([4, 5])
    slope, y = jax.jit(jax.vmap(jax.grad(total, has_aux=True)))(x, n)
    np.testing.assert_array_equal(y, jax.vmap(lambda x, n: count(x, n)["y"])(x, n))
    np.testing.assert_allclose(slope, 6 * x, rtol=1e-6)
