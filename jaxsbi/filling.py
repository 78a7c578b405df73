"""Filling a store: what is missing of its rows, simulated in order and written chunk by chunk."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from jaxsbi.arguments import first_line
from jaxsbi.progress import Reporter
from jaxsbi.simulation import stream
from jaxsbi.stores import Fault, Store
from jaxsbi.types import PRNGKey, Simulator

SECONDS_BETWEEN_WRITES = 60.0
"""A chunk that takes longer to simulate is written as far as it is, and again when it has grown."""


class Writer(NamedTuple):
    """A store open for this process alone; `beat` says now and then that it still lives."""

    store: Store
    beat: Any


def fill(
    writer: Writer,
    key: PRNGKey,
    simulate: Simulator,
    draw: Partial,
    first_row: int,
    last_row: int,
    batch: int | None,
    reporter: Reporter,
) -> int:
    """Simulate what is missing of rows first_row … last_row − 1; how many that were.

    Chunks are written beside the simulation. One that cannot be read is simulated anew, unless it
    has rows before `first_row`, which `draw` does not know.
    """
    missing = _missing(writer.store, first_row, last_row)
    lengths = np.array([m.last - m.first for m in missing], np.int64)
    ends = np.cumsum(lengths)
    n = int(ends[-1]) if missing else 0
    if not n:
        return 0
    starts = np.array([m.first for m in missing], np.int64)

    def row(place: np.ndarray) -> np.ndarray:
        gap = np.searchsorted(ends, place, side="right")
        return starts[gap] + place - (ends[gap] - lengths[gap])

    there, began, valid, done = last_row - first_row - n, time.monotonic(), 0, 0
    parts = stream(key, simulate, draw, row, n, batch)
    with ThreadPoolExecutor(1) as pool:
        kept = _Growing(writer, missing, pool)
        try:
            for theta, x in parts:
                columns = [np.asarray(a) for a in (theta, *jax.tree.leaves(x))]
                kept.add(columns)
                done += len(columns[0])
                valid += int(np.sum(_is_valid(columns[1:])))
                rate = done / max(time.monotonic() - began, 1e-9)
                reporter.update(
                    "simulate",
                    (there + done) / (last_row - first_row),
                    f"{there + done:,} of {last_row - first_row:,} rows, {rate:,.0f} a second, "
                    f"{100 * valid / done:.1f} % valid, {_time(n - done, rate)} left",
                )
        finally:
            parts.close()
            with told(writer.store.address):
                kept.close()
    return n


class _Gap(NamedTuple):
    """Rows first … last − 1 are missing from a chunk."""

    chunk: int
    first: int
    last: int


def _missing(store: Store, first_row: int, last_row: int) -> list[_Gap]:
    """What is missing of some rows, by chunk; chunks that cannot be read count as missing."""
    gaps, anew = [], []
    for chunk, found in enumerate(store.faults()):
        first = chunk * store.chunk
        if first >= last_row:
            break
        if isinstance(found, Fault):
            anew.append(chunk)
        there = 0 if isinstance(found, Fault) else found
        if first + there < min(first_row, first + store.size(chunk)):
            raise ValueError(
                f"store {store.address}: rows {first + there:,} to {first_row - 1:,} are missing, "
                "which an earlier round drew; start in another folder"
            )
        start, end = max(first + there, first_row), first + store.size(chunk)
        if start < min(end, last_row):
            gaps.append(_Gap(chunk, first + there, min(end, last_row)))
    if anew:
        warnings.warn(
            f"store {store.address}: {len(anew)} chunks could not be read and are simulated anew, "
            f"the first of them chunk {anew[0]}",
            stacklevel=5,
        )
    return gaps


class _Growing:
    """The chunk under way, and the thread that writes chunks while others are simulated."""

    def __init__(self, writer: Writer, missing: list[_Gap], pool: ThreadPoolExecutor):
        self.writer, self.gaps, self.pool = writer, iter(missing), pool
        self.gap: _Gap | None = None
        self.columns: list[np.ndarray] = []
        self.there = self.written = 0
        self.at = time.monotonic()
        self.pending: Future | None = None

    def add(self, columns: list[np.ndarray]) -> None:
        """Rows that follow those so far."""
        while len(columns[0]):
            if self.gap is None:
                self._next(columns)
            full = self.gap.last - self.gap.chunk * self.writer.store.chunk
            take = min(len(columns[0]), full - self.there)
            for kept, new in zip(self.columns, columns, strict=True):
                kept[self.there : self.there + take] = new[:take]
            self.there += take
            columns = [new[take:] for new in columns]
            if self.there == full:
                self._write()
                self.gap = None
            elif time.monotonic() - self.at > SECONDS_BETWEEN_WRITES:
                self._write()

    def close(self) -> None:
        """All rows so far are written, however many they are."""
        if self.gap is not None and self.there > self.written:
            self._write()
        if self.pending is not None:
            self.pending.result()

    def _next(self, columns: list[np.ndarray]) -> None:
        store, self.gap = self.writer.store, next(self.gaps)
        start = self.gap.chunk * store.chunk
        self.there = self.written = self.gap.first - start
        self.columns = [np.empty((self.gap.last - start, *c.shape[1:]), c.dtype) for c in columns]
        if self.there:
            theta, x = store.read(start, self.gap.first)
            for kept, old in zip(self.columns, (theta, *jax.tree.leaves(x)), strict=True):
                kept[: self.there] = old

    def _write(self) -> None:
        if self.pending is not None:
            with told(self.writer.store.address):
                self.pending.result()
        copy = [column[: self.there].copy() for column in self.columns]
        self.pending = self.pool.submit(self._put, self.gap.chunk, copy)
        self.written, self.at = self.there, time.monotonic()

    def _put(self, chunk: int, columns: list[np.ndarray]) -> None:
        self.writer.beat()
        self.writer.store.write(chunk, columns[0], columns[1:])


def _is_valid(leaves: list[np.ndarray]) -> np.ndarray:
    return np.any([~np.isnan(a.reshape(len(a), -1)).all(axis=1) for a in leaves], axis=0)


def _time(rows: int, rate: float) -> str:
    seconds = round(rows / rate)
    return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"


@contextmanager
def told(address: Any) -> Iterator[None]:
    """What the disk says, in one line with the store's name, and that the same call goes on."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"store {address} cannot be written: {error.strerror or first_line(error)}; what is "
            "there is kept: mend that, and the same call goes on"
        ) from error
