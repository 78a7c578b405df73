"""The model of the tutorial, which the other pages use too: a neuron that fires in a rhythm.

FitzHugh 1961, Nagumo 1962: dv/dt = v − v³/3 − w + I, dw/dt = ε (v + a − b w), seen as v at 30
times with noise of 0.1.
"""

from functools import cache

import diffrax
import jax
import jax.numpy as jnp

import jaxsbi

TIMES = jnp.linspace(2.0, 60.0, 30)


def field(t, y, theta):
    v, w = y
    current, epsilon, a = theta
    return v - v**3 / 3 - w + current, epsilon * (v + a - 0.8 * w)


def voltage(theta, times=TIMES):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Heun(), t0=0.0, t1=60.0, dt0=0.1, y0=(-1.0, 1.0),
        args=theta, saveat=diffrax.SaveAt(ts=times), max_steps=700,
    )  # fmt: skip
    return solution.ys[0]


def simulate(key, theta):
    return voltage(theta) + 0.1 * jax.random.normal(key, TIMES.shape)


prior = jaxsbi.box(
    [0.0, 0.02, 0.3], [1.0, 0.2, 1.0], names=["I", "epsilon", "a"], units=["µA", "1/ms", ""]
)
truth = jnp.array([0.5, 0.08, 0.7])
x_o = simulate(jax.random.key(1), truth)


@cache
def posterior():
    """The posterior that the tutorial trains."""
    return jaxsbi.infer(
        jax.random.key(0), simulate, prior, x_o, simulations=3000,
        estimator=jaxsbi.maf(layers=3), training=jaxsbi.Training(max_epochs=100), progress=False,
    )  # fmt: skip
