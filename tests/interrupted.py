"""An inference to be killed: `python interrupted.py FOLDER`; and the same without a folder."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

import jaxsbi
from jaxsbi import checkpoints, streaming, training

PRIOR = jaxsbi.box([-1.0, 0.0], [1.0, 2.0])
KEY, X_O = jax.random.key(3), jnp.array([0.2, 1.0])
SETTINGS = {
    "estimator": jaxsbi.mdn(components=1, hidden=(8,)),
    "training": jaxsbi.Training(max_epochs=30, anneal=2, weight_decay=0.0),
    "progress": False,
}


def simulate(key, theta):
    """x ~ N(θ, 0.3² I); nothing where a coordinate falls below −1.2."""
    x = theta + 0.3 * jax.random.normal(key, (2,))
    return jnp.where(jnp.min(x) < -1.2, jnp.nan, x)


def rounds(folder=None):
    """Two rounds for one observation, with a model of failures."""
    return jaxsbi.infer(
        KEY, simulate, PRIOR, X_O, algorithm=jaxsbi.tsnpe(), rounds=2, simulations=400,
        avoid_failures=True, out=folder, **SETTINGS,
    )  # fmt: skip


def stored(folder):
    """The simulations that `streamed` trains on."""
    return jaxsbi.simulate(KEY, simulate, PRIOR, 3000, store=folder, chunk=128)


def streamed(store, folder=None):
    """One training, a few windows at a time."""
    streaming.WINDOW = 512
    return jaxsbi.fit(KEY, store=store, memory=0, out=folder, **SETTINGS)


if __name__ == "__main__":
    checkpoints.SECONDS_BETWEEN = 0.0
    training.SLICE_SECONDS = 0.0
    if sys.argv[1] == "rounds":
        rounds(Path(sys.argv[2]))
    else:
        streamed(Path(sys.argv[3]), Path(sys.argv[2]))
