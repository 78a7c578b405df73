"""Laws of the exponential Euler solver, run through diffrax.diffeqsolve."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulators._gating import approach, efun
from simulators._solve import ExponentialEuler, Relaxation


def solve(field, solver, y0, t1, steps):
    solution = diffrax.diffeqsolve(
        Relaxation(field), solver, 0.0, t1, t1 / steps, y0, max_steps=steps
    )
    return jax.tree.map(lambda a: a[-1], solution.ys)


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_exact_for_constant_coefficients(float64, steps):
    def field(t, y, args):
        return {"a": (jnp.array(3.0), jnp.array(0.7)), "b": (jnp.array(-1.0), jnp.array(40.0))}

    y = solve(field, ExponentialEuler((("a", "b"),)), {"a": 1.0, "b": 2.0}, 2.5, steps)
    np.testing.assert_allclose(y["a"], 3 - 2 * np.exp(-0.7 * 2.5), rtol=1e-13)
    np.testing.assert_allclose(y["b"], -1 + 3 * np.exp(-40 * 2.5), rtol=1e-13)


def test_first_order_for_coupled_states(float64):
    # Lotka–Volterra written as relaxations to 0 from either side of its rates: a' = (1 − b) a.
    def field(t, y, args):
        return {"a": (jnp.array(0.0), y["b"] - 1), "b": (jnp.array(0.0), 1 - y["a"])}

    y0 = {"a": 1.5, "b": 1.0}
    exact = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: {"a": (1 - y["b"]) * y["a"], "b": (y["a"] - 1) * y["b"]}),
        diffrax.Dopri8(),
        0.0,
        3.0,
        0.01,
        y0,
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
    ).ys["a"][-1]
    solver = ExponentialEuler((("a", "b"),))
    errors = [abs(solve(field, solver, y0, 3.0, n)["a"] - exact) for n in (200, 400, 800)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 1, atol=0.1)


def test_groups_see_earlier_groups_updated(float64):
    # b relaxes towards a at once: simultaneous updates see the old a, sequential ones the new.
    def field(t, y, args):
        return {"a": (jnp.array(1.0), jnp.array(1e9)), "b": (y["a"], jnp.array(1e9))}

    y0 = {"a": 0.0, "b": 5.0}
    assert solve(field, ExponentialEuler((("a", "b"),)), y0, 1.0, 1) == {"a": 1.0, "b": 0.0}
    assert solve(field, ExponentialEuler((("a",), ("b",))), y0, 1.0, 1) == {"a": 1.0, "b": 1.0}
    assert solve(field, ExponentialEuler((("b",), ("a",))), y0, 1.0, 1) == {"a": 1.0, "b": 0.0}


def test_approach_keeps_relative_accuracy_in_float32():
    x = np.concatenate([np.geomspace(1e-12, 200, 5000), [0.0]]).astype(np.float32)
    exact = -np.expm1(-x.astype(np.float64))
    np.testing.assert_allclose(approach(jnp.asarray(x)), exact, rtol=3e-7, atol=0)


def test_approach_gradient_is_the_exponential():
    x = jnp.asarray([0.0, 1e-6, 0.3, 5.0, 90.0])
    np.testing.assert_allclose(jax.vmap(jax.grad(approach))(x), np.exp(-x), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("double", [False, True])
def test_efun_and_its_gradient_through_the_removable_singularity(double):
    with jax.enable_x64(double):
        z = np.concatenate([-np.geomspace(1e-9, 30, 200)[::-1], [0.0], np.geomspace(1e-9, 30, 200)])
        value, slope = jax.vmap(jax.value_and_grad(lambda z: efun(z, jnp.exp(z))))(jnp.asarray(z))
    safe = np.where(np.abs(z) < 1e-3, 1.0, z)
    exact = np.where(np.abs(z) < 1e-3, 1 - z / 2 + z * z / 12, safe / np.expm1(safe))
    tangent = np.where(
        np.abs(z) < 1e-3,
        -0.5 + z / 6,
        (np.expm1(safe) - safe * np.exp(safe)) / np.expm1(safe) ** 2,
    )
    np.testing.assert_allclose(value, exact, rtol=1e-12 if double else 1e-6)
    np.testing.assert_allclose(slope, tangent, rtol=1e-8 if double else 2e-5, atol=1e-9)
