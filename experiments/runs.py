"""A run's folder: whose run it is, what is finished, how long each stage took."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsbi.compilation import compile_clock

SETTINGS, RESULTS, TIMES = "run.json", "results.json", "stages.json"
PACKAGES = ("jaxsbi", "jax", "jaxlib", "flax", "optax", "distrax", "diffrax", "numpyro", "numpy")


class Run:
    """One run of one study in one folder: new, or taken up again where it stopped.

    `settings` (study, preset, seed, …) are what makes two runs the same. A folder of another run,
    or of something else, is refused with a ValueError and left as it is.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict[str, Any]):
        self.folder, self.settings = Path(folder), settings
        self.stages: dict[str, dict[str, float]] = {}
        path = self.folder / SETTINGS
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--out {folder} must be a folder, but it is a file; choose another")
        if self.folder.is_dir() and any(self.folder.iterdir()):
            self._take_up(path)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_json(path, settings)
        except OSError as error:
            raise ValueError(
                f"--out {folder} cannot be written ({error.strerror}); choose another folder"
            ) from error

    def _take_up(self, path: Path) -> None:
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            raise ValueError(
                f"--out {self.folder} is not empty and holds no run; choose a new folder"
            ) from None
        wanted = json.loads(json.dumps(self.settings))
        differing = [
            f"{name} {found.get(name)!r}, not {wanted.get(name)!r}"
            for name in sorted(set(found) | set(wanted))
            if found.get(name) != wanted.get(name)
        ]
        if differing:
            raise ValueError(
                f"--out {self.folder} holds another run ({'; '.join(differing)}); choose another "
                "folder"
            )
        times = self.folder / TIMES
        if times.exists():
            self.stages = json.loads(times.read_text())

    @property
    def is_finished(self) -> bool:
        return (self.folder / RESULTS).exists()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, compilation apart from the rest, and keep the time in the folder."""
        began = time.perf_counter()
        with compile_clock() as clock:
            yield
        seconds = time.perf_counter() - began
        compiled = min(clock.seconds, seconds)
        self.stages[name] = {"compile_s": round(compiled, 3), "run_s": round(seconds - compiled, 3)}
        _write_json(self.folder / TIMES, self.stages)

    def finish(self, results: dict[str, Any]) -> Path:
        """Write results.json, whole or not at all, with settings, versions, machine and times."""
        path = self.folder / RESULTS
        total = sum(sum(stage.values()) for stage in self.stages.values())
        _write_json(
            path,
            {
                "settings": self.settings,
                "versions": {name: _version(name) for name in PACKAGES},
                "machine": machine(),
                "wall_time_s": round(total, 1),
                "stages": self.stages,
                **results,
            },
        )
        return path


def machine() -> dict[str, Any]:
    """What the numbers were computed on."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": f"{jax.device_count()} × {device.device_kind}",
        "backend": jax.default_backend(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _write_json(path: Path, content: Any) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1, default=_plain, ensure_ascii=False) + "\n")
    os.replace(part, path)


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.tolist()
