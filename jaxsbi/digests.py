"""Digests: sixteen digits that tell bytes, arrays and plain Python functions from others."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxsbi.arguments import first_line

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))


def digest(*parts: bytes) -> str:
    """Sixteen hexadecimal digits of SHA-256."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:16]


def tree_digest(tree: PyTree) -> str:
    """Of the numbers in a tree of arrays, their shapes and their places in it."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    shapes = f"{jax.tree.structure(tree)} {[(a.shape, a.dtype.str) for a in leaves]}"
    return digest(shapes.encode(), *(np.ascontiguousarray(a).tobytes() for a in leaves))


def function_digest(fn: Any, name: str) -> str:
    """Of a plain Python function: its source, and the values that it is bound to.

    A lambda, and what has no source, goes by its compiled code, which depends on the version of
    Python. Bound are its defaults, what it closes over, the arguments of a partial, the object of
    a method and the state of a callable object, with the methods of its class. What it reads by
    names of its module is not seen. Raises ValueError, by `name`, for values that have no content
    to compare, such as a lock, an open file or the handle of a library in C.
    """
    try:
        return _Reader().of(fn, name)
    except RecursionError:
        raise _untold(fn, name, "it is nested too deeply") from None


class _Reader:
    """Digests of Python values by content, the same in any process."""

    def __init__(self) -> None:
        self.above: list[int] = []
        self.done: dict[int, tuple[Any, str]] = {}  # with the values: their ids must stay theirs

    def of(self, value: Any, name: str) -> str:
        if id(value) in self.above:  # a value that leads to itself
            return f"above {len(self.above) - self.above.index(id(value))}"
        if id(value) not in self.done:
            self.above.append(id(value))
            parts = [p if isinstance(p, bytes) else p.encode() for p in self.parts(value, name)]
            self.above.pop()
            self.done[id(value)] = value, digest(*parts)
        return self.done[id(value)][1]

    def parts(self, value: Any, name: str) -> Iterator[str | bytes]:
        kind = type(value)
        yield kind.__qualname__
        if kind in PLAIN:
            yield repr(value)
        elif isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            yield from (str(jax.random.key_impl(value)), tree_digest(jax.random.key_data(value)))
        elif kind is np.ndarray or isinstance(value, np.generic | jax.Array):
            array = np.asarray(value)
            yield from (str(array.dtype), str(array.shape))
            yield self.of(array.tolist(), name) if array.dtype.hasobject else array.tobytes()
        elif kind in (list, tuple):
            yield from (self.of(item, f"{name}[{i}]") for i, item in enumerate(value))
        elif kind in (set, frozenset):
            yield from sorted(self.of(item, name) for item in value)
        elif kind is dict:
            yield from sorted(
                self.of(k, name) + self.of(v, f"{name}.{k}" if type(k) is str else name)
                for k, v in value.items()
            )
        elif kind is CodeType:
            yield from self.code(value, name)
        elif kind is FunctionType:
            yield from self.function(value, name)
        elif kind is MethodType:
            yield from (self.of(value.__func__, name), self.of(value.__self__, name))
        elif kind is ModuleType:
            yield value.__name__
        elif isinstance(value, type):
            yield value.__qualname__
            yield from sorted(self.of(code, name) for code in _methods(value))
        elif isinstance(value, functools.partial):
            yield self.of(value.func, name)
            yield from (self.of(value.args, name), self.of(value.keywords, name))
        elif (
            callable(value)
            and hasattr(value, "__wrapped__")
            and not isinstance(kind.__call__, FunctionType)
        ):
            yield self.of(value.__wrapped__, name)  # jax.jit, functools.cache
        else:
            yield from self.instance(value, name)

    def function(self, fn: FunctionType, name: str) -> Iterator[str]:
        yield self.of(fn.__code__, name)
        yield from (self.of(fn.__defaults__, name), self.of(fn.__kwdefaults__, name))
        for variable, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                value = ...
            yield variable + self.of(value, f"{name}.{variable}")

    def code(self, code: CodeType, name: str) -> Iterator[str | bytes]:
        """Its source; its instructions where that has other code on its lines, or is not there."""
        if not code.co_name.startswith("<"):
            try:
                yield inspect.getsource(code)
                return
            except Exception:  # typed in, made by exec, or in a file that is not there any more
                pass
        yield from (code.co_code, str((code.co_names, code.co_freevars, code.co_flags)))
        yield self.of(code.co_consts, name)

    def instance(self, value: Any, name: str) -> Iterator[str]:
        """Any other object, as pickle takes it apart."""
        take = copyreg.dispatch_table.get(type(value))
        try:
            taken = take(value) if take else value.__reduce_ex__(4)
        except Exception as error:  # whatever its class says
            raise _untold(value, name, first_line(error)) from None
        yield self.of(type(value), name)
        if isinstance(taken, str):
            yield taken
            return
        make, arguments, state, items, pairs = (*taken, None, None, None)[:5]
        yield getattr(make, "__qualname__", type(make).__qualname__)
        yield self.of(arguments, name)
        yield self.of(state, name)
        yield self.of(list(items or ()), name)
        yield self.of(dict(pairs or ()), name)


def _is_wrapper(value: Any) -> bool:
    """Whether it is what jax.jit or functools.cache make of a function."""
    wraps = callable(value) and hasattr(value, "__wrapped__")
    return wraps and not isinstance(type(value).__call__, FunctionType)


def _methods(kind: type) -> list[CodeType]:
    """The code of the functions of a class that are its own: by which its objects are called."""
    found = (getattr(f, "__func__", getattr(f, "fget", f)) for f in vars(kind).values())
    functions = [f for f in found if isinstance(f, FunctionType)]
    return [
        f.__code__ for f in functions if f.__name__ == "__call__" or not f.__name__.startswith("__")
    ]


def _untold(value: Any, name: str, why: str) -> ValueError:
    kind = type(value)
    return ValueError(
        f"{name} must have content that tells it from others, got {kind.__module__}."
        f"{kind.__qualname__} ({why}); keep it under a name of the module, which is not looked "
        "at, or leave it out of what __getstate__ of its object returns"
    )
