"""Stores: simulated rows (θ, x) in Zarr arrays, in chunks that are whole or absent.

Rows lie in arrays of equal chunks along the first axis: `theta`, `x0`, `x1`, … for the leaves of x,
`defined` with a bit for each feature (and one before them that is always set, so that a chunk
that is not there tells itself from one of failures), and `row`, the rows' own numbers, which is
written last: what it names is there. Every chunk bears a checksum, and is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jaxsbi.arguments import first_line
from jaxsbi.priors import Prior
from jaxsbi.records import prior_from_record, tree_from_record

NONE = np.iinfo(np.uint32).max
"""The number of a row that is not there; no campaign has so many."""


class Fault(NamedTuple):
    """A chunk that cannot be read, and why."""

    chunk: int
    why: str


class Store:
    """Simulations on disk. `jaxsbi.open_store` opens one, `jaxsbi.simulate(…, store=…)` fills it.

    len(store) rows are there, of the store.target that were asked for.
    """

    def __init__(self, address: str, group: Any, header: dict[str, Any]):
        self.address, self.header = address, header
        zeros = {
            path: np.zeros(leaf["shape"], leaf["dtype"]) for path, leaf in header["leaves"].items()
        }
        self.treedef = jax.tree.structure(tree_from_record(header["x"], zeros))
        if self.treedef.num_leaves != len(zeros):
            raise ValueError("its tree of x does not fit its arrays")
        self.theta = group["theta"]
        self.leaves = [group[f"x{i}"] for i in range(self.treedef.num_leaves)]
        self.defined, self.row = group["defined"], group["row"]
        arrays = (self.theta, *self.leaves, self.defined, self.row)
        if {a.chunks[0] for a in arrays} != {self.chunk} or self.row.ndim != 1:
            raise ValueError("its arrays are not chunked alike")
        if min(a.shape[0] for a in arrays) < self.row.shape[0]:
            raise ValueError("its arrays are not of one length")
        promised = {(tuple(leaf["shape"]), leaf["dtype"]) for leaf in header["leaves"].values()}
        if {(a.shape[1:], a.dtype.str) for a in self.leaves} != promised:
            raise ValueError("its arrays are not those of its header")
        if self.theta.dtype.str != header["theta"] or self.row.dtype != np.uint32:
            raise ValueError("its arrays are not those of its header")

    @property
    def chunk(self) -> int:
        """Rows in a chunk."""
        return self.row.chunks[0]

    @property
    def target(self) -> int:
        """Rows asked for so far."""
        return self.row.shape[0]

    @property
    def chunks(self) -> int:
        return -(-self.target // self.chunk)

    @property
    def dim(self) -> int:
        return self.theta.shape[1]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's θ and x."""
        arrays = (self.theta, *self.leaves)
        return sum(a.dtype.itemsize * int(np.prod(a.shape[1:])) for a in arrays)

    @property
    def outcome(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes of one x."""
        return self.treedef.unflatten(
            [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in self.leaves]
        )

    @property
    def prior(self) -> Prior:
        """What θ was drawn from. A ValueError where that is code of the user's own."""
        saved = self.header["campaign"]["prior"]
        if saved["record"] is None:
            raise ValueError(
                f"prior must be given: {self.address} was drawn from a custom distribution, "
                "which is not stored"
            )
        arrays = {name: np.asarray(a, self.theta.dtype) for name, a in saved["arrays"].items()}
        return prior_from_record(saved["record"], arrays)

    def __len__(self) -> int:
        """Rows 0 … len − 1 are there, the last chunk's as far as it was written."""
        for chunk in range(self.chunks):
            there = self.rows_in(chunk)
            if there < self.size(chunk):
                return chunk * self.chunk + there
        return self.target

    def __repr__(self) -> str:
        return f"Store({self.address!r}, {len(self):,} of {self.target:,} rows)"

    def size(self, chunk: int) -> int:
        """Rows that a chunk has when it is full."""
        return min(self.chunk, self.target - chunk * self.chunk)

    def rows_in(self, chunk: int) -> int:
        """How many rows of a chunk are there, by its own account."""
        first = chunk * self.chunk
        with self._told(chunk):
            numbers = self.row[first : first + self.size(chunk)]
        there = int(np.sum(numbers != NONE))
        if not np.array_equal(numbers[:there], np.arange(first, first + there)):
            raise ValueError(self._damaged(chunk, "its row numbers are not those of its place"))
        return there

    def read(
        self, first: int = 0, last: int | None = None
    ) -> tuple[np.ndarray, PyTree[np.ndarray]]:
        """θ (n, d) and x (n, …) of rows first … last − 1, by default all that are there.

        Raises ValueError where one of them is missing or was altered.
        """
        last = len(self) if last is None else last
        if not 0 <= first <= last <= self.target:
            raise ValueError(
                f"rows must lie between 0 and the store's {self.target:,}, got {first} to {last}"
            )
        parts = [self._part(first, last, chunk) for chunk in self._touched(first, last)]
        if not parts:
            parts = [[a[:0] for a in (self.theta, *self.leaves)]]
        theta, *leaves = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return theta, self.treedef.unflatten(leaves)

    def faults(self) -> Iterator[Fault | int]:
        """For each chunk how many of its rows are there and whole, or what is wrong with it."""
        for chunk in range(self.chunks):
            try:
                there = self.rows_in(chunk)
                self._part(chunk * self.chunk, chunk * self.chunk + there, chunk)
                yield there
            except ValueError as error:
                yield Fault(chunk, str(error))

    def patterns(self) -> np.ndarray:
        """The distinct patterns of defined features, but for failures: (patterns, features)."""
        seen: set[bytes] = set()
        rows = len(self)
        for chunk in self._touched(0, rows):
            first = chunk * self.chunk
            with self._told(chunk):
                packed = self.defined[first : min(first + self.chunk, rows)]
            seen |= set(map(bytes, np.unique(packed, axis=0)))
        width = sum(int(np.prod(a.shape[1:])) for a in self.leaves)
        packed = np.frombuffer(b"".join(sorted(seen)), np.uint8).reshape(len(seen), -1)
        found = np.unpackbits(packed, axis=1, count=width + 1)[:, 1:].astype(bool)
        return found[found.any(axis=1)]

    def write(self, chunk: int, theta: np.ndarray, leaves: Sequence[np.ndarray]) -> None:
        """The first rows of a chunk, in place of what is there of it."""
        first, n = chunk * self.chunk, theta.shape[0]
        numbers = np.full(self.size(chunk), NONE, np.uint32)
        numbers[:n] = np.arange(first, first + n)
        columns = (theta, *leaves, _packed(leaves), numbers)
        for array, rows in zip(
            (self.theta, *self.leaves, self.defined, self.row), columns, strict=True
        ):
            full = np.full((self.size(chunk), *array.shape[1:]), array.fill_value, array.dtype)
            full[:n] = rows[:n]
            array[first : first + len(full)] = full

    def extend(self, n: int) -> None:
        """Room for n rows."""
        for array in (self.theta, *self.leaves, self.defined, self.row):
            array.resize((n, *array.shape[1:]))

    def _touched(self, first: int, last: int) -> range:
        return range(first // self.chunk, -(-last // self.chunk)) if last > first else range(0)

    def _part(self, first: int, last: int, chunk: int) -> list[np.ndarray]:
        """θ and the leaves of x of those rows of a chunk that lie in first … last − 1, checked."""
        first, last = max(first, chunk * self.chunk), min(last, (chunk + 1) * self.chunk)
        with self._told(chunk):
            numbers = self.row[first:last]
            theta, *leaves = [a[first:last] for a in (self.theta, *self.leaves)]
            defined = self.defined[first:last]
        if not np.array_equal(numbers, np.arange(first, last)):
            raise ValueError(self._damaged(chunk, "it is missing, or not yet full"))
        if not np.array_equal(defined, _packed(leaves)) or np.isnan(theta).any():
            raise ValueError(self._damaged(chunk, "a part of it is missing"))
        return [theta, *leaves]

    @contextmanager
    def _told(self, chunk: int) -> Iterator[None]:
        """What Zarr, its codecs and the disk raise, said in one line with the chunk's name."""
        try:
            yield
        except Exception as error:  # codecs raise whatever the altered bytes lead them to
            raise ValueError(self._damaged(chunk, first_line(error))) from error

    def _damaged(self, chunk: int, why: str) -> str:
        first = chunk * self.chunk
        return (
            f"store {self.address}, chunk {chunk} (rows {first:,} to "
            f"{first + self.size(chunk) - 1:,}) cannot be used: {why}; the call of simulate that "
            "made the store simulates it anew"
        )


def _packed(leaves: Sequence[np.ndarray]) -> np.ndarray:
    """A set bit and one for each feature of a row, set where it is defined: (n, bytes)."""
    n = leaves[0].shape[0]
    defined = [~np.isnan(leaf.reshape(n, int(np.prod(leaf.shape[1:])))) for leaf in leaves]
    return np.packbits(np.concatenate([np.ones((n, 1), bool), *defined], axis=1), axis=1)
