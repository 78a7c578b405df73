"""Files of observations and draws: .npy, .npz, .json, .csv and .txt. No pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from jaxsbi.arguments import first_line

READ, WRITTEN = (".npy", ".npz", ".json", ".csv", ".txt"), (".npy", ".npz", ".csv")


def read_x(path: str | os.PathLike) -> PyTree[np.ndarray]:
    """An observation: one array, or from .npz and .json a dict of arrays by name.

    null in .json and nan elsewhere mark an undefined feature. Raises ValueError for a file that
    cannot be read or holds no numbers.
    """
    path = Path(path)
    if path.suffix not in READ:
        raise ValueError(f"--x {path} must end in one of {', '.join(READ)}, got {path.suffix!r}")
    try:
        x = _read(path)
    except Exception as error:  # NumPy raises whatever the file's bytes lead it to
        why = getattr(error, "strerror", None) or first_line(error)
        raise ValueError(f"--x {path} cannot be read: {why}") from error
    leaves = list(x.values()) if isinstance(x, dict) else [x]
    if not leaves or any(leaf.dtype.kind not in "biuf" or not leaf.size for leaf in leaves):
        raise ValueError(f"--x {path} must hold real numbers, got something else")
    return x


def _read(path: Path) -> PyTree[np.ndarray]:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        return next(iter(arrays.values())) if list(arrays) in (["x"], ["arr_0"]) else arrays
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            return {name: _numbers(values) for name, values in content.items()}
        return _numbers(content)
    text = path.read_text().replace(",", " ")
    return np.array(text.split(), float)


def _numbers(values: Any) -> np.ndarray:
    return np.array(values, np.float64)  # None becomes NaN


def check_written(path: str | os.PathLike) -> Path:
    """The path of a file to be written; a ValueError where its folder or its ending will not do."""
    path = Path(path)
    if path.suffix not in WRITTEN:
        raise ValueError(
            f"--out {path} must end in one of {', '.join(WRITTEN)}, got {path.suffix!r}"
        )
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}; make it first")
    if path.exists():
        raise ValueError(f"--out {path} exists already; choose another or remove it first")
    return path


def write_draws(path: Path, theta: np.ndarray, log_prob: np.ndarray, names: Sequence[str]) -> None:
    """Draws θ (n, d) and their log densities; in .npy θ alone, in .csv a named column each."""
    columns = [name or f"theta_{i}" for i, name in enumerate(names)]
    if path.suffix == ".npy":
        _whole(path, lambda file: np.save(file, theta))
    elif path.suffix == ".npz":
        _whole(path, lambda file: np.savez(file, theta=theta, log_prob=log_prob, names=columns))
    else:
        table = np.column_stack([theta, log_prob])
        quoted = ['"' + name.replace('"', '""') + '"' for name in [*columns, "log_prob"]]
        _whole(
            path,
            lambda file: np.savetxt(
                file, table, "%.9g", ",", header=",".join(quoted), comments="", encoding="utf-8"
            ),
        )


def _whole(path: Path, write: Callable[[Any], None]) -> None:
    """A file that is written whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
