"""Checkpoints: the state of a training on disk, from which it goes on to the same bits.

Orbax writes them, each whole or not at all; the last two are kept. What is read back is compared
with a digest, so that an altered checkpoint is passed over for the one before it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxsbi.arguments import first_line
from jaxsbi.digests import digest, tree_digest
from jaxsbi.extras import needed

SECONDS_BETWEEN = 30.0
KEPT = 2
ROOM = 1 << 18
"""Bytes that a checkpoint takes beside its numbers, at most."""


class Restored(NamedTuple):
    """A state as it was saved, and the facts that were told with it."""

    state: PyTree
    facts: dict[str, Any]


class Checkpoint:
    """The states of one training, in a folder of its own. `facts` go with all that it saves."""

    def __init__(self, folder: str | os.PathLike, facts: dict[str, Any] | None = None):
        self.folder, self.facts = Path(folder).absolute(), facts or {}
        self.saved = time.monotonic()
        self._manager: Any = None

    @property
    def due(self) -> bool:
        """Whether the last one is old enough for another."""
        return time.monotonic() - self.saved > SECONDS_BETWEEN

    def save(self, state: PyTree, **facts: Any) -> None:
        """Keep a state, and what JSON can say of it."""
        args = _orbax().args
        leaves = {f"{i:04}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(state))}
        ledger = {**self.facts, **facts}
        ledger["sha256"] = _digest(list(leaves.values()), ledger)
        steps = self._steps()
        with _quiet():  # until what failed is closed: its threads go on complaining
            try:
                self._check_room(leaves)
                self._open().save(
                    steps[0] + 1 if steps else 0,
                    args=args.Composite(
                        state=args.StandardSave(leaves), ledger=args.JsonSave(ledger)
                    ),
                )
            except Exception as error:  # Orbax raises whatever the disk leads it to
                self.close()
                raise ValueError(
                    f"out {self.folder} cannot be written: {_reason(error)}; what is there is "
                    "kept: mend that, and the same call goes on"
                ) from error
        self.saved = time.monotonic()

    def restore(self, like: PyTree) -> Restored | None:
        """The newest state that is whole, in the structure of `like`; None where there is none."""
        leaves, structure = jax.tree.flatten(like)
        for step in self._steps():
            found = self._read(step)
            if found is None:
                continue
            arrays, facts = found
            fits = [(a.shape, a.dtype) for a in arrays] == [(a.shape, a.dtype) for a in leaves]
            if fits:
                state = jax.tree.unflatten(structure, [jnp.asarray(a) for a in arrays])
                return Restored(state, facts)
        return None

    def told(self) -> dict[str, Any] | None:
        """The facts of the newest checkpoint that can be read."""
        for step in self._steps():
            found = self._read(step)
            if found is not None:
                return found[1]
        return None

    def _read(self, step: int) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        args = _orbax().args
        try:
            with _quiet():
                found = self._open().restore(
                    step,
                    args=args.Composite(state=args.StandardRestore(), ledger=args.JsonRestore()),
                )
            arrays = [np.asarray(found.state[name]) for name in sorted(found.state)]
            facts = dict(found.ledger)
            return (arrays, facts) if facts.pop("sha256") == _digest(arrays, facts) else None
        except Exception:  # Orbax raises whatever the altered bytes lead it to
            return None

    def _steps(self) -> list[int]:
        """Newest first."""
        try:
            return sorted(self._open().all_steps(), reverse=True) if self.folder.exists() else []
        except Exception:  # as in _read
            return []

    def _open(self) -> Any:
        if self._manager is None:
            ocp = _orbax()
            with _quiet():
                self._manager = ocp.CheckpointManager(
                    self.folder,
                    options=ocp.CheckpointManagerOptions(
                        max_to_keep=KEPT, enable_async_checkpointing=False
                    ),
                )
        return self._manager

    def _check_room(self, leaves: dict[str, np.ndarray]) -> None:
        """An OSError on a full disk, before Orbax leaves half a checkpoint on it."""
        there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if shutil.disk_usage(there).free < ROOM + sum(leaf.nbytes for leaf in leaves.values()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._manager is not None:
            with _quiet():
                self._manager.close()
            self._manager = None


def _digest(arrays: list[np.ndarray], facts: dict[str, Any]) -> str:
    told = json.dumps(facts, sort_keys=True)
    return digest(tree_digest(arrays).encode(), told.encode())


def _orbax() -> Any:
    return needed("orbax.checkpoint", "store", "a checkpoint")


def _reason(error: Exception) -> str:
    """What the disk says: the last words of Orbax, which puts the paths of its parts before."""
    said = getattr(error, "strerror", None) or first_line(error)
    known = (os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS))
    return next((words for words in known if words in said), said)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Orbax's remarks on its own workings, of which its errors tell enough."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
