"""Least times: how many exponentials a program evaluates, and what one costs in a large array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import _measure
from simulators._gating import approach

TRANSCENDENTAL = ("exp", "exp2", "expm1", "logistic", "tanh", "log", "log1p", "sin", "cos")
POLYNOMIALS = ("approach",)  # functions of our own that stand for an exponential
CACHED, TURNS = 1 << 15, 500


def elementary(f: Callable, *args: Any) -> Counter[str]:
    """{function: number of scalar evaluations} in f(*args): TRANSCENDENTAL and POLYNOMIALS."""
    return _count(jax.make_jaxpr(f)(*args).jaxpr)


def _count(program: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    used = set(map(id, program.outvars))
    for equation in reversed(program.eqns):
        if used.isdisjoint(map(id, equation.outvars)):
            continue  # the compiler drops it
        used.update(map(id, equation.invars))
        name = equation.primitive.name
        inner = list(_programs(equation.params))
        if name in TRANSCENDENTAL:
            total[name] += equation.outvars[0].aval.size
        elif name == "custom_jvp_call" and (own := _name(inner[0])) in POLYNOMIALS:
            total[own] += equation.outvars[0].aval.size
        else:
            times = equation.params["length"] if name == "scan" else 1
            for part in inner:
                total.update({key: times * n for key, n in _count(part).items()})
    return total


def _programs(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                yield one


def _name(program: Any) -> str:
    return program.debug_info.func_name.split(" ")[0]


def nanoseconds(repeats: int) -> dict[str, float]:
    """Time of one float32 evaluation on all cores: e^x in cache (on a GPU in registers) and in an
    array of 2²⁴, and the polynomial 1 − e^{−x} in cache."""
    large = jnp.linspace(-3.0, 3.0, 1 << 24)
    return {
        "exp in cache": _resident(lambda x: jnp.exp(-x), repeats),
        "exp of 2^24": 1e9 * _measure.seconds(lambda: jnp.exp(large), repeats) / large.size,
        "approach in cache": _resident(approach, repeats),
    }


def _resident(f: Callable, repeats: int) -> float:
    if jax.default_backend() == "cpu":
        size, turns, calls = CACHED, TURNS, _measure.cores()

        def body(x):
            return lax.fori_loop(0, turns, lambda _, x: f(x), x)
    else:
        size, turns, calls = 1 << 24, 16, 1

        def body(x):  # one kernel
            for _ in range(turns):
                x = f(x)
            return x

    x, program = jnp.linspace(0.1, 3.0, size), jax.jit(body)
    run = _measure.on_all_cores(lambda _: program(x), calls)
    return 1e9 * _measure.seconds(run, repeats) / (size * turns * calls)
