"""Compilation: how long it takes, the cache on disk that saves it, constants that slow it down."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.extend.core
from jax import monitoring
from jax.tree_util import Partial
from jaxtyping import PyTree

_STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")
LARGE = 1 << 20  # bytes of constants that a program may hold


class CompileClock:
    """Seconds spent on tracing, lowering and compiling since the start, and programs compiled.

    A program found in the cache on disk counts too.
    """

    seconds, programs = 0.0, 0


_clocks: list[CompileClock] = []
_lock = threading.Lock()


def _listen(event: str, duration: float, **_: object) -> None:
    if event.endswith(_STAGES):
        with _lock:
            for clock in _clocks:
                clock.seconds += duration
                clock.programs += event.endswith(_STAGES[-1])


monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def compile_clock() -> Iterator[CompileClock]:
    """A clock that runs within the block, over all threads."""
    clock = CompileClock()
    with _lock:
        _clocks.append(clock)
    try:
        yield clock
    finally:
        with _lock:
            _clocks.remove(clock)


def keep_compilations(folder: str | os.PathLike | None = None) -> Path:
    """Keep compiled programs in the user's cache folder, so that the next start finds them.

    By default $XDG_CACHE_HOME/jaxsbi, or ~/.cache/jaxsbi. A folder that cannot be written costs
    the cache, not the run: JAX warns and compiles.
    """
    if folder is None:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxsbi"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return Path(folder)


class ByIdentity:
    """A function that equals nothing but itself, so that compiled programs are kept by object.

    Objects that cannot be hashed serve too, and a method taken anew from an object that has
    changed since is another function: Python calls the two equal.
    """

    def __init__(self, fn: Callable[..., Any]):
        self.fn = fn

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.fn(*arguments, **named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.fn is self.fn

    def __hash__(self) -> int:
        return id(self.fn)


def lifted(fn: Callable[..., Any], *arguments: Any) -> Partial:
    """`fn` as a Partial of the large arrays it closes over, for `jax.jit` to take as arguments.

    A stimulus that is closed over would be written into the program, and slow its compilation.
    What is a Partial already stays one, its arguments traced: other values compile nothing new.
    `arguments`: such as `fn` takes; only their shapes are looked at.
    """
    if isinstance(fn, Partial):
        return Partial(ByIdentity(fn.func), *fn.args, **fn.keywords)
    return _traced(fn, *arguments)[0]


def outcome(fn: Callable[..., Any], *arguments: Any) -> PyTree[jax.ShapeDtypeStruct]:
    """Shape and dtype of what `fn` returns, by the same walk through it that lifts it."""
    if isinstance(fn, Partial):
        return jax.eval_shape(ByIdentity(fn), *arguments)
    return _traced(fn, *arguments)[1]


def _traced(fn: Callable[..., Any], *arguments: Any) -> tuple[Partial, PyTree, bool]:
    return _walk(ByIdentity(fn), *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arguments))


LAPACK = frozenset(
    "cholesky eig eigh geqp3 geqrf hessenberg householder_product lu qr schur svd triangular_solve "
    "tridiagonal tridiagonal_solve".split()
)


def at_once(fn: Callable[..., Any], *arguments: Any) -> int:
    """How many calls of `fn` may run at once: one per core on CPU, elsewhere one.

    One too where it calls LAPACK, see `triangular`, or cannot be traced to tell. A Partial is
    traced anew, any other function by the walk that lifts it.
    `arguments`: such as `fn` takes; only their shapes are looked at.
    """
    if jax.default_backend() != "cpu":
        return 1
    try:
        if isinstance(fn, Partial):
            traced = jax.make_jaxpr(lambda fn, *arguments: fn(*arguments))(fn, *arguments)
            waits = _calls_lapack(traced.jaxpr)
        else:
            waits = _traced(fn, *arguments)[2]
    except Exception:  # whatever it is, the call itself will tell
        return 1
    return 1 if waits else os.cpu_count() or 1


def _calls_lapack(jaxpr: Any) -> bool:
    return not LAPACK.isdisjoint(equation.primitive.name for equation in equations(jaxpr))


def equations(jaxpr: Any) -> Iterator[Any]:
    """All of a program, those of the programs within it too."""
    for equation in jaxpr.eqns:
        yield equation
        for part in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@lru_cache(maxsize=16)
def _walk(fn: Callable[..., Any], *shapes: jax.ShapeDtypeStruct) -> tuple[Partial, PyTree, bool]:
    closed, out = jax.make_jaxpr(fn, return_shape=True)(*shapes)
    waits = _calls_lapack(closed.jaxpr)
    if sum(getattr(constant, "nbytes", 0) for constant in closed.consts) < LARGE:
        return Partial(fn), out, waits
    tree = jax.tree.structure(out)

    def run(constants: list[Any], *arguments: Any) -> Any:
        program = jax.extend.core.jaxpr_as_fun(closed.replace(consts=constants))
        return jax.tree.unflatten(tree, program(*arguments))

    return Partial(run, closed.consts), out, waits
