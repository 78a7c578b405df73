"""Plain Python simulators are told apart by all that they are bound to, in any process alike."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi
from jaxsbi.digests import function_digest

PRIOR, KEY = jaxsbi.box([-1.0, 0.0], [1.0, 2.0]), jax.random.key(0)


def scaled(rng, theta, gain):
    return gain * theta


def closing(gain):
    def simulate(rng, theta):
        return gain * theta

    return simulate


def by_default(gain):
    def simulate(rng, theta, gain=gain):
        return gain * theta

    return simulate


def by_keyword(gain):
    def simulate(rng, theta, *, gain=gain):
        return gain * theta

    return simulate


def without_source(gain):
    space = {}
    exec(f"def simulate(rng, theta):\n    return {gain} * theta", space)
    return space["simulate"]


class Scaling:
    def __init__(self, gain):
        self.gain = gain

    def __call__(self, rng, theta):
        return self.gain * theta

    def run(self, rng, theta):
        return self.gain * theta


class Slotted:
    __slots__ = ("gain",)

    def __init__(self, gain):
        self.gain = gain

    def run(self, rng, theta):
        return self.gain * theta


@dataclass(frozen=True)
class Model:
    gain: float

    def run(self, rng, theta):
        return self.gain * theta


def of_another_class(gain):
    class Scaling:
        if gain > 0:

            def __call__(self, rng, theta):
                return theta
        else:

            def __call__(self, rng, theta):
                return -theta

    return Scaling()


def decorated(gain):
    @wraps(scaled)
    def simulate(rng, theta):
        return scaled(rng, theta, gain)

    return simulate


def called_back(gain):
    struct = jax.ShapeDtypeStruct((2,), jnp.zeros(()).dtype)

    def simulate(key, theta):
        return jax.pure_callback(lambda t: gain * t, struct, theta, vmap_method="sequential")

    return simulate


PLAIN = {
    "partial": lambda gain: partial(scaled, gain=gain),
    "partial of a partial": lambda gain: partial(partial(scaled, gain=gain)),
    "closure": closing,
    "closed-over array": lambda gain: closing(np.array([gain, 1.0])),
    "closed-over JAX array": lambda gain: closing(jnp.array([gain, 1.0])),
    "default": by_default,
    "default by keyword": by_keyword,
    "constant": without_source,
    "lambdas of one line": lambda gain: (lambda r, t: t) if gain > 0 else (lambda r, t: -t),
    "callable object": Scaling,
    "callable class": of_another_class,
    "method": lambda gain: Scaling(gain).run,
    "slots": lambda gain: Slotted(gain).run,
    "dataclass": lambda gain: Model(gain).run,
    "function of an object": lambda gain: lambda rng, theta, m=Model(gain): m.run(rng, theta),
    "function of a function": lambda gain: partial(lambda f, r, t: f(r, t), closing(gain)),
    "decorated": decorated,
    "compiled": lambda gain: partial(lambda f, r, t: f(t), jax.jit(lambda t: gain * t)),
}
KINDS = {
    **{k: lambda gain, of=of: jaxsbi.host(of(gain), output_shape=(2,)) for k, of in PLAIN.items()},
    "callback in a program": called_back,
    "host in a program": lambda gain: jax.jit(jaxsbi.host(closing(gain), output_shape=(2,))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_takes_rows_of_one_simulator_only(kind, tmp_path):
    for n in (2, 3):  # made anew, the same simulator goes on
        store = jaxsbi.simulate(KEY, KINDS[kind](1.0), PRIOR, n, store=tmp_path / "a", chunk=4)
        assert len(store) == n
    with pytest.raises(ValueError, match="holds another run.*simulator.program") as error:
        jaxsbi.simulate(KEY, KINDS[kind](-9.0), PRIOR, 4, store=tmp_path / "a")
    assert "\n" not in str(error.value)
    assert len(jaxsbi.open_store(tmp_path / "a")) == 3


class Holding:
    def __init__(self):
        self.gain, self.lock = 2.0, threading.Lock()

    def __call__(self, rng, theta):
        return self.gain * theta


class Telling(Holding):
    def __getstate__(self):
        return {"gain": self.gain}


def test_what_has_no_content_to_compare_is_refused_by_name_until_it_is_left_out(tmp_path):
    def run(fn):
        simulate = jaxsbi.host(fn, output_shape=(2,))
        return jaxsbi.simulate(KEY, simulate, PRIOR, 2, store=tmp_path / "a")

    named = r"fn.lock must have content .*_thread.lock.*__getstate__"
    with pytest.raises(ValueError, match=named) as error:
        run(Holding())
    assert "\n" not in str(error.value) and not (tmp_path / "a").exists()
    assert len(run(Telling())) == len(run(Telling())) == 2


def test_values_that_lead_to_themselves_are_told():
    def ring(gain):
        def simulate(rng, theta, depth=0):
            return simulate(rng, theta, 1) if depth == 0 else parts["gain"] * theta

        parts = {"gain": gain}
        parts["all"] = parts
        return simulate

    assert function_digest(ring(1.0), "fn") == function_digest(ring(1.0), "fn")
    assert function_digest(ring(1.0), "fn") != function_digest(ring(2.0), "fn")


def digests():
    """Of functions of all kinds, and of some that hold sets."""
    sets = [lambda rng, theta: theta in {"a", "b", "c"}, partial(scaled, gain={"a", "b", "c"})]
    return [function_digest(fn, "fn") for fn in (*sets, *(of(1.5) for of in PLAIN.values()))]


def test_digests_are_the_same_in_any_process():
    root = Path(__file__).resolve().parents[1]
    path, seed = f"{root}{os.pathsep}{root / 'tests'}", os.environ.get("PYTHONHASHSEED")
    program = "import test_digests; print(*test_digests.digests())"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONHASHSEED": "2" if seed == "1" else "1", "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.split() == digests()
