"""A campaign to be killed: `main(FOLDER, ROWS, CHUNK, SECONDS_PER_ROW)` in another process."""

import time

import jax
import numpy as np

import jaxsbi

PRIOR = jaxsbi.box([-1.0, 0.0], [1.0, 2.0])
KEY = jax.random.key(11)
PAUSE = [0.0]  # seconds; how long it takes is no part of a simulator


def slow(rng, theta):
    """A simulator that takes its time; every seventh row fails."""
    time.sleep(PAUSE[0])
    x = theta + rng.normal(size=2)
    return np.full(2, np.nan) if int(1e6 * abs(x[0])) % 7 == 0 else x


def run(folder, rows, chunk, seconds=0.0):
    PAUSE[0] = seconds
    simulate = jaxsbi.host(slow, output_shape=(2,))
    return jaxsbi.simulate(KEY, simulate, PRIOR, rows, store=folder, chunk=chunk, batch=16)


def main(folder, rows, chunk, seconds):
    run(folder, int(rows), int(chunk), float(seconds))
