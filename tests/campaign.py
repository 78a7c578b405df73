"""A campaign to be killed: `main(FOLDER, ROWS, CHUNK, SECONDS_PER_ROW)` in another process."""

import time

import jax
import numpy as np

import jaxsbi

PRIOR = jaxsbi.box([-1.0, 0.0], [1.0, 2.0])
KEY = jax.random.key(11)


def slow(seconds):
    """A simulator that takes its time; every seventh row fails."""

    def simulate(rng, theta):
        time.sleep(seconds[0])
        x = theta + rng.normal(size=2)
        return np.full(2, np.nan) if int(1e6 * abs(x[0])) % 7 == 0 else x

    return jaxsbi.host(simulate, output_shape=(2,))


def run(folder, rows, chunk, seconds=0.0):
    # what takes the time is no part of the simulator
    return jaxsbi.simulate(KEY, slow([seconds]), PRIOR, rows, store=folder, chunk=chunk, batch=16)


def main(folder, rows, chunk, seconds):
    run(folder, int(rows), int(chunk), float(seconds))
