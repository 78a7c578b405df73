"""One gate under voltage clamp: its equation, a solver for a commanded voltage, products with time.

All sweeps of a protocol run side by side; the current is never kept as a whole but on request.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import _noise
from ._gating import approach
from ._observers import BlockObserver
from ._solve import Drive, ExponentialEuler, Relaxation, integrate

E_K = -86.7  # mV
SPEED = 2.3 ** ((37 - 23) / 10)  # T, from 23 to 37 °C
UNIT = 30.0  # m is counted in e^{−30}; the unit goes with the normalisation
LANES = 8  # sweeps side by side: a multiple of it
BLOCK = 120  # steps per block; no number depends on it beyond rounding


def _field(t, y, args):
    """(steady state, rate) of m at the voltage of the state; args = ((constants, …), …)."""
    c, v = args[0][0], y["v"]
    u = v - c["c"]
    # Past these bounds a step is complete (the published exponent ends at −500), m∞ is below
    # e^{−115}, and nothing overflows in float32, in value or in gradient.
    closed = jnp.exp(jnp.minimum(c["b"] - UNIT - c["a"] * v, 85))
    rate = jnp.exp(jnp.minimum(c["log_rate"] - u * (c["e"] + c["f"] * u), c["fastest"]))
    rate = rate + jnp.exp(jnp.minimum(c["log_rate"] + u * (c["g"] + c["h"] * u), c["fastest"]))
    return {"m": (1 / (np.exp(-UNIT) + closed), rate)}


class VoltageClamp(ExponentialEuler):
    """The gate relaxes at the voltage it has, then the voltage becomes the commanded one.

    A slow gate moves by less than a rounding of m in a step: what is lost is carried in `low`.
    """

    def update(self, terms, t, h, y, args):
        ((steady, rate),) = terms.vf(t, y, args).values()
        move = y["low"] + ((steady - y["m"]) - y["low"]) * approach(h * rate)
        m = y["m"] + move
        low = jax.lax.stop_gradient(move - (m - y["m"]))
        return {"v": args[1], "m": m, "low": low}


TERM = Relaxation(_field)
SOLVER = VoltageClamp((("m",),))


class Seen(NamedTuple):
    """Products of the current with functions of time, (k,); its sum; its maximum: in UNITs."""

    products: jax.Array
    total: jax.Array
    maximum: jax.Array


class Project(BlockObserver):
    """Products with `functions` (samples, sweeps, k), sum and maximum of the current."""

    samples: int = eqx.field(static=True)
    sweeps: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def begin(self, y):
        current = _current(y)[: self.sweeps]
        zeros = jnp.zeros(self.size, current.dtype)
        return Seen(zeros, jnp.sum(current), jnp.max(current))

    def block(self, seen, first, samples, args):
        index = first + 1 + jnp.arange(samples.shape[0])
        samples = samples[:, : self.sweeps]
        functions = jnp.take(args[4], index, axis=0, mode="fill", fill_value=0)
        products = jnp.einsum("ns,nsk->k", samples, functions, precision="highest")
        inside = (index < self.samples)[:, None]
        total = jnp.sum(jnp.where(inside, samples, 0))
        maximum = jnp.max(jnp.where(inside, samples, -jnp.inf))
        return Seen(
            seen.products + products, seen.total + total, jnp.maximum(seen.maximum, maximum)
        )


def _current(y):
    return y["m"] * (y["v"] - E_K)


def _command(first, length, args):
    return jax.lax.dynamic_slice_in_dim(args[2], first, length)


def _draw(first, args):
    counter = jnp.asarray(first).astype(jnp.uint32) // _noise.PER_COUNTER
    return _noise.threefry(args[1], counter, args[3])


def _voltages(command, drawn, args):
    """Noisy V of GROUP samples [mV]."""
    return tuple(command[q] + args[0]["noise"] * z for q, z in enumerate(_noise.four(drawn)))


def run(key, theta, noise, clamp, functions, stream, keep=False):
    """(Seen, currents (n, sweeps) if kept) of one protocol, neither normalised."""
    a, b, c, d, e, f, g, h = theta
    constants = {
        "a": a, "b": b, "c": c, "e": e, "f": f, "g": g, "h": h, "noise": noise,
        "log_rate": jnp.log(SPEED / d), "fastest": float(np.log(500 / clamp.dt)),
    }  # fmt: skip
    steps, sweeps = clamp.samples - 1, clamp.sweeps
    # Lanes beside the last sweep repeat it, so that a register is full.
    lanes = sweeps if sweeps < LANES // 2 else -(-sweeps // LANES) * LANES
    voltage = jnp.pad(clamp.voltage.T, [(0, -steps % BLOCK), (0, lanes - sweeps)], mode="edge")
    streams = jnp.arange(stream, stream + 2 * lanes, 2, dtype=jnp.uint32)
    key = tuple(key)
    # The first sample's noise has a stream of its own, for the other is numbered by steps.
    first = _noise.four(_draw(0, (None, key, None, streams + np.uint32(1))))[0]
    args = (constants, key, voltage[1:], streams, functions)
    y = {"v": voltage[0] + noise * first, "low": jnp.zeros_like(voltage[0])}
    y["m"] = _field(0, y, (args, None))["m"][0]
    seen, currents = integrate(
        TERM,
        SOLVER,
        y,
        args,
        drive=Drive(_command, _draw, _voltages),
        emit=_current,
        dt=clamp.dt,
        steps=steps,
        length=BLOCK,
        observer=Project(clamp.samples, sweeps, functions.shape[-1]),
        keep=keep,
    )
    start = _current(y)[:sweeps]
    products = seen.products + jnp.einsum("s,sk->k", start, functions[0], precision="highest")
    return seen._replace(products=products), None if currents is None else currents[:, :sweeps]
