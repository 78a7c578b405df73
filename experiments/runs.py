"""A run's folder: whose run it is, what is finished, how long each stage took."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import resource
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.arguments import cut, why
from jaxsbi.compilation import compile_clock
from jaxsbi.fingerprints import differences, in_words, version

SETTINGS, RESULTS, TIMES = "run.json", "results.json", "stages.json"
PACKAGES = ("jaxsbi", "jax", "jaxlib", "flax", "optax", "distrax", "diffrax", "numpyro", "numpy")


def settings_of(
    study: str, preset: str, seed: int, observations: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    """What makes two runs the same: what was asked for, of what, with which library."""
    return {
        "study": study,
        "preset": preset,
        "seed": seed,
        "observations": observations,
        "config": config,
        "jaxsbi": version("jaxsbi"),
    }


def folder_name(study: str, preset: str, seed: int, options: NamedTuple) -> str:
    """The default folder of a run: one for each preset, seed and choice of options."""
    asked = options._asdict().items()
    told = {name: file_name(v) if isinstance(v, Path) else v for name, v in asked if v is not None}
    named = "".join(f"-{name}{value}" for name, value in told.items())
    return f"{study}-{preset}-seed{seed}{named}"


def file_name(path: Path) -> str:
    """The stem of a file, cut, and a short hash of where it lies."""
    place = os.path.realpath(path)
    return f"{path.stem[:40]}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}"


def command(study: str, preset: str, seed: int, out: Path, options: NamedTuple) -> str:
    """What to type for a run."""
    words = ["python", "-m", "experiments", study, "--preset", preset]
    words += ["--seed", str(seed), "--out", str(out)]
    for name, value in options._asdict().items():
        if value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


class Run:
    """One run of one study in one folder: new, or taken up again where it stopped.

    `settings` (study, preset, seed, …) are what makes two runs the same; numbers may differ by
    `SAME`, relatively. A folder of another run, or of something else, is refused with a ValueError
    and left as it is; so is one in which `folders` cannot be written, before any work is done.
    """

    def __init__(
        self, folder: str | os.PathLike, settings: dict[str, Any], folders: Sequence[str] = ()
    ):
        self.folder, self.settings = Path(folder), json.loads(_text(settings))
        self.stages: dict[str, dict[str, float]] = {}
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise ValueError(
                    f"--out {cut(folder)} must be a folder, but it is a file; choose another"
                )
            is_new = not (self.folder.is_dir() and any(self.folder.iterdir()))
            if not is_new:
                self._take_up()
            self.folder.mkdir(parents=True, exist_ok=True)
            if is_new:
                _write_json(self.folder / SETTINGS, self.settings)
            for name in ("", *folders):
                (self.folder / name).mkdir(exist_ok=True)
                with tempfile.TemporaryFile(dir=self.folder / name):
                    pass
        except OSError as error:
            raise ValueError(
                f"--out {cut(folder)} cannot be read and written ({why(error)}); choose another "
                "folder"
            ) from error

    def _take_up(self) -> None:
        try:
            found = dict(json.loads((self.folder / SETTINGS).read_text()))
        except (OSError, ValueError, TypeError):
            raise ValueError(
                f"--out {cut(self.folder)} is not empty and holds no run; choose a new folder"
            ) from None
        differing = differences(found, self.settings)
        if differing:
            raise ValueError(
                f"--out {cut(self.folder)} holds another run ({in_words(differing)}); choose "
                "another folder"
            )
        times = self.folder / TIMES
        try:
            stages = json.loads(times.read_text()) if times.exists() else {}
            self.stages = {
                name: {kind: float(stage[kind]) for kind in ("compile_s", "run_s")}
                for name, stage in stages.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f"{times} was cut or altered: expected the times of this run's stages; remove it, "
                "nothing but the times is lost"
            ) from None

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

    @property
    def seconds(self) -> float:
        """Wall time of all stages, compilation included."""
        return sum(sum(stage.values()) for stage in self.stages.values())

    def finish(self, results: dict[str, Any]) -> Path:
        """Write results.json, whole or not at all, with settings, versions, machine and times."""
        path = self.folder / RESULTS
        _write_json(
            path,
            {
                "settings": self.settings,
                "versions": versions(),
                "machine": machine(),
                "wall_time_s": round(self.seconds, 1),
                "peak_memory_mb": peak_memory(),
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
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": f"{jax.device_count()} × {device.device_kind}",
        "backend": jax.default_backend(),
    }


def peak_memory() -> int:
    """The most memory that this process has held so far [MB]; of Linux, which counts in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _write_json(path: Path, content: Any) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(_text(content) + "\n")
    os.replace(part, path)


def _text(content: Any) -> str:
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """As JSON has it: arrays as lists, and a number that is not finite as null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    array = np.asarray(value)
    if array.ndim:
        return _plain(array.tolist())
    number = array.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
