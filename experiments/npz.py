"""Recordings in NumPy archives: voltage_mv and current_ua (n,), dt_ms, and what else is known.

Optional: t_on_ms and t_off_ms (else taken from a step current), soma_area_cm2, cell_id, sweep.
Voltages come as stored, without a correction for the junction potential.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.samples import check_positive, check_samples, find_step

NEEDED = ("voltage_mv", "current_ua", "dt_ms")


class Stored(NamedTuple):
    """A sweep as an archive holds it: [mV], [µA], dt, t_on, t_off [ms], soma area [cm²]."""

    cell: str
    number: int | None
    voltage: np.ndarray
    current: np.ndarray
    dt: float
    t_on: float
    t_off: float
    soma_area: float | None


def read(path: Path, sweep: int | None = None) -> Stored:
    """The one sweep of an archive; `sweep`, where given, must be its number.

    Raises ValueError naming the array that is missing or is no array of real numbers.
    """
    arrays = _arrays(path)
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise ValueError(
            f"{path}: expected arrays {', '.join(NEEDED)}, came a file without "
            f"{', '.join(missing)} (it has: {', '.join(arrays) or 'none'})"
        )
    found = int(_number(arrays, "sweep")) if "sweep" in arrays else None
    if sweep is not None and sweep != found:
        raise ValueError(f"sweep: expected sweep {sweep} in {path.name}, came sweep {found}")
    voltage, current = (_real(arrays, name) for name in ("voltage_mv", "current_ua"))
    check_samples("voltage_mv", voltage)
    check_samples("current_ua", current)
    dt = _number(arrays, "dt_ms")
    check_positive("dt_ms", dt)
    if "t_on_ms" in arrays and "t_off_ms" in arrays:
        t_on, t_off = _number(arrays, "t_on_ms"), _number(arrays, "t_off_ms")
    else:
        step = find_step(current, dt)
        if step is None:
            raise ValueError(
                f"{path}: expected t_on_ms and t_off_ms, or one constant current step that tells "
                "them, came neither; add the two arrays"
            )
        t_on, t_off = step[0] * dt, step[1] * dt
    return Stored(
        str(arrays.get("cell_id", path.stem)),
        found,
        voltage,
        current,
        dt,
        t_on,
        t_off,
        _number(arrays, "soma_area_cm2") if "soma_area_cm2" in arrays else None,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except ValueError as error:  # neither archive nor array, or Python objects in it
        raise OSError("it is no archive of plain arrays") from error


def _real(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if arrays[name].dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected real numbers, came dtype {arrays[name].dtype}")
    return arrays[name].astype(np.float64)


def _number(arrays: dict[str, np.ndarray], name: str) -> float:
    value = _real(arrays, name)
    if value.size != 1 or not np.isfinite(value).all():
        raise ValueError(f"{name}: expected one finite number, came {np.array2string(value)[:60]}")
    return value.item()
