"""Compilation: how long it takes, and the cache on disk that saves it the next time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from jax import monitoring

_STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


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
