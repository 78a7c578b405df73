"""One writer: no two processes write to the same folder, or other address, at a time.

On a local disk the system itself knows whether a writer still lives: it holds a lock that ends with
its process. Elsewhere its record has a time that it renews, and a record that has grown old is one
of a writer that died.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxsbi.extras import needed

RECORD = ".writer"
BEAT_SECONDS, DEAD_SECONDS = 15.0, 120.0


def is_remote(address: str | os.PathLike) -> bool:
    """Whether an address is one of fsspec, such as s3://bucket/name, and no local path."""
    return "://" in str(address)


@contextmanager
def only_writer(address: str | os.PathLike) -> Iterator[Callable[[], None]]:
    """Within the block no other process may enter it for the same address.

    Yields a function to be called now and then, which says that this writer still lives. Raises
    ValueError with the name of the writer that is there already.
    """
    with _remote(str(address)) if is_remote(address) else _local(Path(address)) as beat:
        yield beat


@contextmanager
def _local(folder: Path) -> Iterator[Callable[[], None]]:
    path = folder / RECORD
    handle = _locked(path)
    try:
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(_myself()).encode(), 0)
        yield lambda: None
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked(path: Path) -> int:
    """An open file with the lock on it, and still the one of that name."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            record = os.pread(handle, 4096, 0)
            os.close(handle)
            _refuse(path.parent, record)
        try:
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                return handle
        except FileNotFoundError:
            pass  # its last owner removed it between our two steps
        os.close(handle)


@contextmanager
def _remote(address: str) -> Iterator[Callable[[], None]]:
    fs, root = needed("fsspec", "store", "an address with ://").url_to_fs(address)
    path, myself = f"{root.rstrip('/')}/{RECORD}", {**_myself(), "token": uuid.uuid4().hex}
    last = 0.0

    def found() -> dict[str, Any]:
        try:
            record = json.loads(fs.cat_file(path))
            return record if isinstance(record, dict) else {}
        except (OSError, ValueError):
            return {}

    def beat() -> None:
        nonlocal last
        if time.time() - last > BEAT_SECONDS:
            last = time.time()
            fs.pipe_file(path, json.dumps({**myself, "beat": last}).encode())

    other = found()
    if other and time.time() - other.get("beat", 0.0) < DEAD_SECONDS and not _has_died(other):
        _refuse(address, json.dumps(other).encode())
    fs.makedirs(root, exist_ok=True)
    beat()
    if found().get("token") != myself["token"]:
        _refuse(address, json.dumps(found()).encode())
    try:
        yield beat
    finally:
        if found().get("token") == myself["token"]:
            fs.rm_file(path)


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _has_died(writer: dict[str, Any]) -> bool:
    """Whether a writer of this machine has ended; False for one of another."""
    if writer.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(writer["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return True
    except OSError:
        return False
    return False


def _refuse(address: object, record: bytes) -> None:
    try:
        writer = json.loads(record)
        name = f"process {writer['pid']} on {writer['host']} since {writer['since']}"
    except (ValueError, KeyError, TypeError):
        name = "another process"
    raise ValueError(
        f"{address} is being written by {name}; wait until it has ended, or choose another address"
    ) from None
