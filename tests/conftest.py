"""Where reference data lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """`data("hh/noisy.npz")`: the path below JAXSBI_DATA or ../shared/data, else a named skip."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    root = Path(os.environ.get("JAXSBI_DATA", default))

    def find(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"reference data {name} is not below {root.name}/ (set JAXSBI_DATA)")
        return path

    return find


@pytest.fixture(scope="module", autouse=True)
def _drop_programs() -> Iterator[None]:
    """Compiled programs of a module go with it: all of them together take gigabytes."""
    yield
    jax.clear_caches()
