"""What figures of θ share: rows of θ, what each is called and measured in, the range drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsbi.arguments import check_real

MASS = 0.998
"""Share of the samples, the central ones, that a range drawn for them holds."""


class Axes(NamedTuple):
    """Of each θ_i the name, the unit and the range drawn (d, 2)."""

    names: list[str]
    units: list[str]
    limits: np.ndarray

    @property
    def dim(self) -> int:
        return len(self.names)

    def at(self, places: Sequence[int]) -> Axes:
        """Those of some of them, in that order."""
        names, units = ([values[i] for i in places] for values in self[:2])
        return Axes(names, units, self.limits[list(places)])


def axes_of(
    prior: Any,
    names: Sequence[str] | None,
    units: Sequence[str] | None,
    limits: Any,
    *rows: np.ndarray,
) -> Axes:
    """Names, units and range as given, else the prior's; where it has none, the rows' range."""
    d = rows[0].shape[-1]
    if names is None:
        names = [f"theta_{i}" for i in range(d)] if prior is None else prior.names
    names = texts("names", names, d)
    if units is None:
        units = [""] * d if prior is None else prior.units
    units = texts("units", units, d)
    if limits is None:
        limits = np.full((d, 2), np.nan) if prior is None else np.stack(prior.bounds, axis=1)
        limits = np.where(np.isfinite(limits), limits, _reach(rows))
    limits = np.asarray(limits, float)
    if limits.shape != (d, 2) or not (limits[:, 0] < limits[:, 1]).all():
        raise ValueError(f"limits: expected ({d}, 2), each low < high, came {limits.tolist()}")
    return Axes(names, units, limits)


def reach(samples: Any, prior: Any = None, mass: float = MASS) -> np.ndarray:
    """The range (d, 2) of samples (n, d), no further than the prior's bounds: `limits` to zoom in.

    mass: the share of samples that it holds of each θ_i, as many left out on either side.
    """
    mass = check_real("mass", mass, 0.0, 1.0)
    limits = _reach([matrix("samples", samples, None if prior is None else prior.dim)], mass)
    if prior is None:
        return limits
    low, high = map(np.asarray, prior.bounds)
    return np.clip(limits, low[:, None], high[:, None])


def _reach(rows: Sequence[np.ndarray], mass: float = MASS) -> np.ndarray:
    samples, *others = rows
    ends = 0.5 - mass / 2, 0.5 + mass / 2
    reach = np.concatenate([np.quantile(samples, ends, axis=0), *others])
    low, high = reach.min(0), reach.max(0)
    pad = np.where(high > low, 0.05 * (high - low), 0.5 + 0.05 * np.abs(high))
    return np.stack([low - pad, high + pad], 1)


def matrix(name: str, values: Any, columns: int | None = None) -> np.ndarray:
    """values as finite float64 (n, columns); ValueError naming the argument otherwise."""
    values = np.asarray(values, float)
    fits = values.ndim == 2 and len(values) and values.shape[1] == (columns or values.shape[1])
    if not fits:
        raise ValueError(f"{name}: expected shape (n, {columns or 'd'}), came {values.shape}")
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise ValueError(
            f"{name}: expected finite numbers, came {bad.sum()} of {len(values)} rows that are not"
        )
    return values


def marked(truth: Any, points: Mapping[str, Any] | None, d: int) -> dict[str, np.ndarray]:
    """Single θ by their names, the truth first: (d,) each."""
    marks = {} if truth is None else {"truth": truth}
    marks |= dict(points or {})
    return {name: matrix(name, np.reshape(mark, (1, -1)), d)[0] for name, mark in marks.items()}


def curves(paths: Mapping[str, Any] | None, d: int) -> dict[str, np.ndarray]:
    """Paths by their names, each of points θ (n, d), or with such as `.theta`."""
    return {
        name: matrix(name, getattr(path, "theta", path), d) for name, path in (paths or {}).items()
    }


def texts(name: str, values: Sequence[str], count: int) -> list[str]:
    values = list(values)
    if len(values) != count:
        raise ValueError(f"{name}: expected {count}, came {len(values)}: {values}")
    return values
