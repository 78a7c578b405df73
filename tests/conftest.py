"""Where reference data lies, disks of any size, and how programs are compiled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


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


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """mounted(options): a small file system of one's own."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> Path:
        done = subprocess.run(
            ["mount", *options, str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def _programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """How the programs of a module are compiled; they go with it, all together take gigabytes.

    Most modules compile for longer than they run: without XLA's and LLVM's costly passes, unless
    the environment says otherwise. Simulators, modules marked `optimised` and those of which slow
    tests are to run compile as for users. The same holds for the processes that tests start, whose
    bits are compared.
    """
    name = "jax_disable_most_optimizations"
    with pytest.MonkeyPatch.context() as patch:
        if name.upper() not in os.environ:
            runs_long = request.path.parent.name == "simulators" or any(
                item.get_closest_marker("optimised") or item.get_closest_marker("slow")
                for item in request.session.items
                if item.path == request.path
            )
            patch.setenv(name.upper(), str(int(not runs_long)))
            jax.config.update(name, not runs_long)
        yield
        jax.clear_caches()
        # A study or a command that was run keeps its programs on disk: other modules do not.
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
