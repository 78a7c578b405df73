"""Folders of arrays: one safetensors file and one JSON file, each checked when it is read.

No pickle: reading a folder runs no code from it. A folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

CONTENT, ARRAYS = "content.json", "arrays.safetensors"


def write_folder(
    path: str | os.PathLike, kind: str, version: int, content: dict, arrays: dict[str, np.ndarray]
) -> Path:
    """Write `content` (JSON) and `arrays` to a new folder; a ValueError if it exists already."""
    path = _as_path(path)
    packed = save_arrays({name: np.array(a, order="C") for name, a in arrays.items()})
    header = {
        "kind": kind,
        "format_version": version,
        "arrays_sha256": hashlib.sha256(packed).hexdigest(),
        "content": content,
    }
    header["sha256"] = _digest(header)
    temporary = None
    try:
        if path.exists():
            raise ValueError(f"path {path} exists already; choose another or remove it first")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        (temporary / ARRAYS).write_bytes(packed)
        (temporary / CONTENT).write_text(json.dumps(header, indent=1) + "\n")
        temporary.chmod(0o755)
        temporary.rename(path)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise ValueError(f"path {path} cannot be written: {error.strerror}") from error
    return path


def read_folder(
    path: str | os.PathLike, kind: str, version: int
) -> tuple[dict, dict[str, np.ndarray]]:
    """Content and arrays of a folder; a ValueError if it is missing, cut, altered or too new."""
    path = _as_path(path)
    try:
        text, packed = (path / CONTENT).read_bytes(), (path / ARRAYS).read_bytes()
    except OSError as error:
        raise ValueError(
            f"path {path} must be a {kind} folder with {CONTENT} and {ARRAYS}: {error.strerror}"
        ) from error
    try:
        header = json.loads(text)
        claimed = header.pop("sha256")
        found_kind, found_version = header["kind"], header["format_version"]
        intact = claimed == _digest(header)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ValueError(f"{path / CONTENT} was cut or altered: it is not a {kind} file") from None
    if not intact:
        raise ValueError(f"{path / CONTENT} was altered: its checksum does not fit; save it anew")
    if found_kind != kind:
        raise ValueError(f"path {path} must hold a {kind}, but it holds a {found_kind}")
    if found_version != version:
        raise ValueError(
            f"path {path} has format version {found_version}, this release reads {version}; "
            "load it with the release that wrote it"
        )
    if hashlib.sha256(packed).hexdigest() != header["arrays_sha256"]:
        raise ValueError(f"{path / ARRAYS} was cut or altered: its checksum does not fit")
    try:
        return header["content"], load_arrays(packed)
    except SafetensorError as error:
        raise ValueError(f"{path / ARRAYS} cannot be read: {error}") from None


def _as_path(path: Any) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise ValueError(f"path must be the name of a folder, got {path!r}") from None


def _digest(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()
