"""Laws of simulation: a row depends on key and number only; what users get wrong is named."""

import os
import subprocess
import sys
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxsbi
from simulators import hodgkin_huxley as hh

PRIOR = jaxsbi.box([-1.0, 0.0], [1.0, 2.0])


def noisy(key, theta):
    return {"x": theta + jax.random.normal(key, (2,)), "s": jnp.sum(theta)}


def test_rows_do_not_change_with_batch_or_campaign_size():
    key = jax.random.key(0)
    theta, x = jaxsbi.simulate(key, noisy, PRIOR, 300)
    for n, batch in ((300, 16), (300, 128), (77, None), (1, None)):
        theta_again, x_again = jaxsbi.simulate(key, noisy, PRIOR, n, batch=batch)
        np.testing.assert_array_equal(theta_again, theta[:n])
        jax.tree.map(lambda a, b, n=n: np.testing.assert_array_equal(a, b[:n]), x_again, x)


@pytest.mark.slow
def test_rows_of_the_neuron_do_not_change_with_the_batch():
    simulate = Partial(hh.simulate, protocol=hh.step(3.0, 5.0, 15.0, 20.0))
    prior = jaxsbi.box(hh.PARAMETERS)
    _, x = jaxsbi.simulate(jax.random.key(1), simulate, prior, 64, batch=64)
    _, again = jaxsbi.simulate(jax.random.key(1), simulate, prior, 64, batch=8)
    np.testing.assert_array_equal(x, again)


def test_rows_do_not_change_with_the_number_of_devices():
    """The same campaign on one device and sharded over four."""
    program = (
        "import jax, jaxsbi, numpy as np\n"
        "prior = jaxsbi.box([-1.0, 0.0], [1.0, 2.0])\n"
        "simulate = lambda key, theta: theta + jax.random.normal(key, (2,))\n"
        "theta, x = jaxsbi.simulate(jax.random.key(0), simulate, prior, 101)\n"
        "print(jax.device_count(), np.asarray(x).tobytes().hex())\n"
    )

    def run(devices):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.getcwd()}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    one, four = run(1), run(4)
    assert (one[0], four[0]) == ("1", "4")
    assert one[1] == four[1]


def test_draws_follow_the_prior_and_the_simulator():
    theta, x = jaxsbi.simulate(jax.random.key(2), noisy, PRIOR, 20_000)
    np.testing.assert_allclose(theta.mean(axis=0), [0.0, 1.0], atol=0.02)
    np.testing.assert_allclose(np.var(x["x"] - theta, axis=0), 1.0, rtol=0.05)


def test_predictions_take_each_theta_once():
    theta = jnp.stack([jnp.arange(100.0), jnp.zeros(100)], axis=1)
    x = jaxsbi.predict(jax.random.key(0), noisy, theta)
    np.testing.assert_array_equal(x["s"], jnp.arange(100.0))


def test_a_partial_with_other_arguments_compiles_nothing_new():
    def shifted(key, theta, shift):
        return theta + shift

    compiled = set()
    for shift in (0.0, 1.0, 2.0):
        simulate = Partial(shifted, shift=jnp.asarray(shift))
        theta, x = jaxsbi.simulate(jax.random.key(0), simulate, PRIOR, 32)
        np.testing.assert_allclose(x, theta + shift)
        compiled.add(jaxsbi.simulation._simulate_batch._cache_size())
    assert len(compiled) == 1


def test_host_simulators_draw_from_the_rows_own_key_inside_and_outside_of_jit():
    host = jaxsbi.host(lambda rng, theta: theta + rng.normal(size=2), output_shape=(2,))
    theta, x = jaxsbi.simulate(jax.random.key(0), host, PRIOR, 40)
    _, again = jaxsbi.simulate(jax.random.key(0), host, PRIOR, 40, batch=8)
    np.testing.assert_array_equal(x, again)
    assert len(np.unique(np.asarray(x - theta))) > 70
    keys = jax.random.split(jax.random.key(3), 4)
    inside = jax.jit(jax.vmap(host))(keys, theta[:4])
    seeds = np.asarray(jax.random.key_data(keys))
    outside = list(map(host.run, seeds, np.asarray(theta[:4])))
    np.testing.assert_array_equal(inside, np.stack(outside))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxsbi.simulate(jax.random.key(0), noisy, PRIOR, 0), "n must be an integer"),
        (lambda: jaxsbi.simulate(jax.random.key(0), noisy, PRIOR, -5), "n must be an integer"),
        (lambda: jaxsbi.simulate(jax.random.key(0), noisy, PRIOR, 2.5), "n must be an integer"),
        (
            lambda: jaxsbi.simulate(jax.random.key(0), noisy, PRIOR, 10, batch=0),
            "batch must be an integer",
        ),
        (
            lambda: jaxsbi.simulate(jax.random.key(0), lambda key, theta: 1 / 0, PRIOR, 10),
            "simulate.* raised ZeroDivisionError",
        ),
        (
            lambda: jaxsbi.simulate(jax.random.key(0), lambda key, t: np.asarray(t), PRIOR, 10),
            "simulate.*jaxsbi.host",
        ),
        (lambda: jaxsbi.simulate(jax.random.key(0), 3, PRIOR, 10), "simulate must be a function"),
        (
            lambda: jaxsbi.simulate(jax.random.key(0), lambda k, t: t > 0, PRIOR, 10),
            "simulate must return floating-point arrays",
        ),
        (
            lambda: jaxsbi.simulate(jax.random.key(0), lambda k, t: t[:0], PRIOR, 10),
            "simulate must return arrays of one number at least",
        ),
        (lambda: jaxsbi.host(3, output_shape=(2,)), "fn must be a function"),
        (lambda: jaxsbi.host(noisy, output_shape=2), "output_shape must be a tuple"),
        (lambda: jaxsbi.host(noisy, output_shape=(2,), workers=0), "workers must be an integer"),
        (
            lambda: jaxsbi.simulate(
                jax.random.key(0),
                jaxsbi.host(lambda rng, theta: np.zeros(3), output_shape=(2,)),
                PRIOR,
                10,
            ),
            "output_shape promises",
        ),
        (lambda: jaxsbi.simulate(0, noisy, PRIOR, 10), "key must be a typed key"),
        (lambda: jaxsbi.simulate(jax.random.key(0), noisy, "prior", 10), "prior must be a jaxsbi"),
        (lambda: jaxsbi.predict(0, noisy, jnp.zeros((1, 2))), "key must be a typed key"),
        (lambda: jaxsbi.predict(jax.random.key(0), noisy, jnp.zeros(2)), "theta must have shape"),
        (
            lambda: jaxsbi.predict(jax.random.key(0), noisy, "theta"),
            "theta must be an array of real",
        ),
        (
            lambda: jaxsbi.predict(jax.random.key(0), noisy, jnp.zeros((4, 3))),
            r"simulate\(key, theta\) must trace .* of shape \(3,\)",
        ),
        (
            lambda: jaxsbi.predict(jax.random.key(0), lambda key, theta: 1 / 0, jnp.zeros((4, 2))),
            "simulate.* raised ZeroDivisionError",
        ),
    ],
)
def test_what_users_get_wrong_is_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_a_host_simulator_raises_reaches_the_user(wrapped):
    def broken(rng, theta):
        raise RuntimeError("no such channel\nin this cell")

    host = jaxsbi.host(broken, output_shape=(2,))
    simulate = (lambda key, theta: 2 * host(key, theta)) if wrapped else host
    with pytest.raises(ValueError, match="^simulate raised RuntimeError: no such channel") as error:
        jaxsbi.simulate(jax.random.key(0), simulate, PRIOR, 4)
    assert "\n" not in str(error.value)


def test_what_a_callback_of_ones_own_raises_reaches_the_user():
    def broken(theta):
        raise KeyError("na")

    def simulate(key, theta):
        promised = jax.ShapeDtypeStruct((2,), theta.dtype)
        return jax.pure_callback(broken, promised, theta, vmap_method="sequential")

    with pytest.raises(ValueError, match="^simulate raised KeyError: 'na'$"):
        jaxsbi.simulate(jax.random.key(0), simulate, PRIOR, 4)


class Scaled(eqx.Module):
    """A simulator that cannot be hashed: it holds an array."""

    factor: jax.Array

    def __call__(self, key, theta):
        return self.factor * theta


@dataclass
class Gain:
    factor: float

    def __call__(self, key, theta):
        return self.factor * theta


def test_objects_that_cannot_be_hashed_simulate_too():
    two = Scaled(jnp.full(2, 2.0))
    for simulate in (two, two.__call__, Gain(2.0), Gain(2.0).__call__, Partial(two)):
        theta, x = jaxsbi.simulate(jax.random.key(0), simulate, PRIOR, 3)
        np.testing.assert_array_equal(x, 2 * theta)
        np.testing.assert_array_equal(jaxsbi.predict(jax.random.key(0), simulate, theta), x)


def test_a_method_of_an_object_that_changed_is_traced_anew():
    gain = Gain(1.0)
    for factor in (1.0, 5.0):
        gain.factor = factor
        theta, x = jaxsbi.simulate(jax.random.key(0), gain.__call__, PRIOR, 3)
        np.testing.assert_array_equal(x, factor * theta)


def test_a_simulator_is_traced_twice_in_all():
    """Once for the shape of x and what it closes over, once for the program."""
    traced = []

    def simulate(key, theta):
        traced.append(theta)
        return theta + jax.random.normal(key, (2,))

    prior = jaxsbi.box([0.0, 0.0], [1.0, 1.0])
    jaxsbi.simulate(jax.random.key(0), simulate, prior, 16)
    assert len(traced) == 2
