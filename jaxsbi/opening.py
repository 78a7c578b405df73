"""Opening stores of simulations, and making new ones: folders, or other addresses of fsspec."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxsbi.arguments import first_line
from jaxsbi.digests import digest
from jaxsbi.extras import needed
from jaxsbi.records import tree_record
from jaxsbi.stores import NONE, Store
from jaxsbi.writers import RECORD, is_remote

HEADER, DIGEST, BEGUN, LABEL = "jaxsbi", "sha256", "begun", "problem"
KIND, FORMAT_VERSION = "simulation store", 1
CHUNK = 8192


def open_store(address: str | os.PathLike) -> Store:
    """The store in a folder, or at an address of fsspec, to read.

    Raises ValueError if there is none, or if it was cut or altered.
    """
    return _opened(address, "r")


def label(address: str | os.PathLike, problem: str) -> None:
    """Note by which name the problem can be found that filled a store."""
    zarr = needed("zarr", "store", "a simulation store")
    zarr.open_group(_backend(address, False), mode="r+", zarr_format=3).attrs[LABEL] = problem


def label_of(address: str | os.PathLike) -> str | None:
    """What `label` noted. A ValueError if there is no store."""
    zarr = needed("zarr", "store", "a simulation store")
    try:
        found = zarr.open_group(_backend(address, True), mode="r", zarr_format=3).attrs.get(LABEL)
    except Exception as error:  # as in _opened
        raise ValueError(f"store {address} cannot be opened: {first_line(error)}") from error
    return found if isinstance(found, str) else None


def open_to_write(address: str | os.PathLike) -> Store | None:
    """The store to be written on, by the one writer; None where there is none yet."""
    zarr = needed("zarr", "store", "a simulation store")
    if not is_remote(address):
        folder = Path(address)
        if folder.exists() and not (folder / "zarr.json").exists():
            if set(os.listdir(folder)) - {RECORD}:
                raise ValueError(
                    f"store {address} is not empty and holds no store; choose another folder"
                )
            return None
    try:
        group = zarr.open_group(_backend(address, False), mode="r", zarr_format=3)
    except FileNotFoundError:
        return None
    except Exception:
        return _opened(address, "r+")  # which says what is wrong
    return None if group.attrs.get(HEADER) == BEGUN else _opened(address, "r+")


def create(
    address: str | os.PathLike,
    campaign: dict[str, Any],
    dim: int,
    x: PyTree[jax.ShapeDtypeStruct],
    n: int,
    chunk: int,
) -> Store:
    """A new store with room for n rows. Its header comes last: without it there is none."""
    zarr = needed("zarr", "store", "a simulation store")
    from zarr.codecs import Crc32cCodec, ZstdCodec

    named: dict[str, np.ndarray] = {}
    record = tree_record(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), x), "x", named)
    leaves = jax.tree.leaves(x)
    width = sum(leaf.size for leaf in leaves)
    group = zarr.open_group(_backend(address, False), mode="a", zarr_format=3)
    group.attrs[HEADER] = BEGUN

    def array(name: str, shape: tuple[int, ...], dtype: Any, fill: Any) -> None:
        group.create_array(
            name, shape=(n, *shape), chunks=(chunk, *shape), dtype=dtype, fill_value=fill,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            config={"write_empty_chunks": True}, overwrite=True,
        )  # fmt: skip

    theta = np.dtype(jnp.zeros(()).dtype)
    array("theta", (dim,), theta, np.nan)
    for i, leaf in enumerate(leaves):
        array(f"x{i}", leaf.shape, np.dtype(leaf.dtype), np.nan)
    array("defined", (-(-(width + 1) // 8),), np.uint8, 0)
    array("row", (), np.uint32, NONE)
    header = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "theta": theta.str,
        "x": record,
        "leaves": {
            name: {"shape": list(a.shape), "dtype": a.dtype.str} for name, a in named.items()
        },
        "campaign": campaign,
    }
    group.attrs.update({HEADER: header, DIGEST: _header_digest(header)})
    return _opened(address, "r+")


def _opened(address: str | os.PathLike, mode: str) -> Store:
    zarr = needed("zarr", "store", "a simulation store")
    try:
        group = zarr.open_group(_backend(address, mode == "r"), mode=mode, zarr_format=3)
        header = group.attrs.get(HEADER)
    except ImportError:
        raise
    except FileNotFoundError:
        raise ValueError(
            f"store {address} does not exist; jaxsbi.simulate(…, store=…) makes one"
        ) from None
    except Exception as error:  # Zarr raises whatever the altered bytes lead it to
        raise ValueError(
            f"store {address} cannot be opened: {first_line(error)}; choose another"
        ) from error
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise ValueError(f"store {address} must be a jaxsbi simulation store, got another folder")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"store {address} has format version {header.get('format_version')}, this release "
            f"reads {FORMAT_VERSION}; read it with the release that wrote it"
        )
    if group.attrs.get(DIGEST) != _header_digest(header):
        raise ValueError(f"store {address}: zarr.json was altered, its checksum does not fit")
    try:
        with np.errstate(all="raise"):
            return Store(str(address), _Checked(group), header)
    except Exception as error:
        raise ValueError(
            f"store {address} was cut or altered: {type(error).__name__} {first_line(error)}"
        ) from error


class _Checked:
    """A group whose arrays write chunks of nothing but the fill value too."""

    def __init__(self, group: Any):
        self.group = group

    def __getitem__(self, name: str) -> Any:
        return self.group[name].with_config({"write_empty_chunks": True})


def _backend(address: str | os.PathLike, read_only: bool) -> Any:
    from zarr.storage import FsspecStore, LocalStore

    if not is_remote(address):
        return LocalStore(Path(address), read_only=read_only)
    needed("fsspec", "store", "an address with ://")
    return FsspecStore.from_url(str(address), read_only=read_only)


def _header_digest(header: dict[str, Any]) -> str:
    return digest(json.dumps(header, sort_keys=True).encode())
