"""Recorded cells as observations: I [µA/cm²] = I [µA] / A_soma, V [mV] = V recorded − 14.

`python -m experiments.recordings FOLDER` prints the table that `read_features` reads: features and
step protocol of every recording below FOLDER. `observe` turns one recording into (x_o, protocol).
Units and correction: Gonçalves, Lueckmann, Deistler et al. 2020, eLife 9:e56261, figure 4.
"""

import csv
import io
import re
import sys
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import allen, npz, nwb
from experiments.arguments import NO_CACHE, Parser, cut, why
from experiments.samples import check_positive, check_samples, find_step
from jaxsbi.compilation import keep_compilations
from simulators import hodgkin_huxley as hh

JUNCTION_POTENTIAL = -14.0  # mV, added to every recorded voltage
# What NumPy, zipfile and h5py raise for a file that is cut, altered or something else.
UNREADABLE = (
    OSError, EOFError, ArithmeticError, LookupError, AttributeError, TypeError, RuntimeError,
    MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
COARSEST = 0.1  # ms; with longer steps the simulated spikes are no longer the model's
FEATURES_CSV = Path(__file__).parent / "data" / "allen_features.csv"
STEP_COLUMNS = tuple(
    "amplitude_ua_per_cm2 soma_area_cm2 t_on_ms t_off_ms dt_ms duration_ms v0_mv".split()
)


@dataclass(frozen=True, eq=False)
class Recording:
    """One sweep: V(t) [mV, junction potential corrected] under I(t) [µA] from t = 0 every dt [ms].

    voltage, current: (n,) float64. The current is on for t_on ≤ t ≤ t_off [ms]; soma_area [cm²].
    Raises ValueError for what cannot be such a recording.
    """

    voltage: np.ndarray
    current: np.ndarray
    dt: float
    t_on: float
    t_off: float
    soma_area: float
    cell: str
    sweep: int | None = None

    def __post_init__(self):
        for name in ("voltage", "current"):
            value = np.asarray(getattr(self, name), np.float64)
            object.__setattr__(self, name, value)
            check_samples(name, value)
        if self.voltage.shape != self.current.shape:
            raise ValueError(
                "voltage and current: expected equally many samples, came "
                f"{self.voltage.size} and {self.current.size}"
            )
        for name in ("dt", "soma_area"):
            check_positive(name, getattr(self, name))
        if self.dt > COARSEST:
            raise ValueError(
                f"dt: expected samples at most {COARSEST:g} ms apart, the model's coarsest step, "
                f"came {self.dt:g} ms; take a finer recording, and give dt in ms"
            )
        if not 0 < self.t_on < self.t_off <= self.duration:
            raise ValueError(
                f"t_on, t_off: expected 0 < t_on < t_off ≤ {self.duration:g} ms (the duration), "
                f"came {self.t_on:g} and {self.t_off:g}"
            )
        density = np.max(np.abs(self.current)) / self.soma_area
        if not density < 1e4:
            raise ValueError(
                "current: expected µA, and soma_area in cm², came a density of "
                f"{density:.3g} µA/cm²; convert them"
            )

    @property
    def name(self) -> str:
        return f"cell {self.cell}" + ("" if self.sweep is None else f", sweep {self.sweep}")

    @property
    def duration(self) -> float:
        """Time of the last sample [ms]."""
        return (self.voltage.size - 1) * self.dt

    @property
    def time(self) -> np.ndarray:
        return np.arange(self.voltage.size) * self.dt

    @property
    def current_density(self) -> np.ndarray:
        return self.current / self.soma_area


def load(path: str | Path, sweep: int | None = None, soma_area: float | None = None) -> Recording:
    """Read a recording from .npz or .nwb and correct its voltage by −14 mV.

    An .npz has voltage_mv and current_ua (n,), dt_ms, soma_area_cm2, and may have t_on_ms,
    t_off_ms (else taken from a step current), cell_id, sweep. An .nwb has no soma area: it comes
    from the notes that `allen.download` left beside it, or is given, τ_m [s] / R_in [MΩ] = cm².
    Raises ValueError naming the file and what is wrong with it.
    """
    path = Path(path)
    try:
        flaw = None if path.is_file() else "no such file"
    except OSError as error:
        flaw = f"a name that cannot be read ({error.strerror})"
    if flaw:
        raise ValueError(f"{cut(path)}: expected a recording (.npz or .nwb), came {flaw}")
    readers = {".npz": _read_npz, ".nwb": _read_nwb}
    if path.suffix.lower() not in readers:
        raise ValueError(
            f"{path}: expected a recording named .npz or .nwb, came {path.suffix or 'no suffix'!r}"
        )
    try:
        return readers[path.suffix.lower()](path, sweep, soma_area)
    except ImportError as error:
        raise ValueError(
            f"{path}: reading .nwb needs h5py, came: {error}; pip install 'jaxsbi[neuro]'"
        ) from error
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: expected a whole {path.suffix} recording, came a file that cannot be read "
            f"({' '.join(str(error).split())[:120]}); copy or download it again"
        ) from error
    except ValueError as error:
        if path.name in str(error):
            raise
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def observe(recording: Recording) -> tuple[jax.Array, hh.Protocol]:
    """x_o = features(V) (7,), and the protocol that injects I / A_soma from V₀ = V(0).

    Raises ValueError naming the features that are undefined in this recording.
    """
    r = recording
    protocol = hh.Protocol(r.current_density, r.voltage[0], r.t_on, r.t_off, r.dt)
    x_o = hh.features(hh.Trace(jnp.asarray(r.voltage, float), protocol))
    undefined = [f.name for f, x in zip(hh.FEATURES, x_o, strict=True) if not np.isfinite(x)]
    if undefined:
        raise ValueError(
            f"{r.name}: expected a recording that defines all {len(hh.FEATURES)} features, came "
            f"one without {', '.join(undefined)}; take one with some samples before the step, and "
            "a voltage that varies"
        )
    return x_o, protocol


class Observation(NamedTuple):
    """A recorded cell without its trace: name, x_o (7,) and protocol."""

    name: str
    x_o: jax.Array
    protocol: hh.Protocol


def read_features(path: str | Path = FEATURES_CSV) -> list[Observation]:
    """The cells of a table that `python -m experiments.recordings FOLDER` printed.

    Raises ValueError for a missing file, missing columns and values that are no numbers.
    """
    path = Path(path)
    columns = tuple(f.name for f in hh.FEATURES) + STEP_COLUMNS
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        missing = sorted({"cell", "sweep", *columns} - set(rows[0] if rows else ()))
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        return [_observation(row) for row in rows]
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a table of recorded features, came: {error}; make it with "
            "python -m experiments.recordings FOLDER"
        ) from error


def write_features(folder: str | Path, file) -> None:
    """One row per .npz or .nwb recording below `folder`: 7 features in float64, step protocol."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".npz", ".nwb"))
    if not paths:
        raise ValueError(f"{folder}: expected recordings (.npz or .nwb) in it, came none")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["cell", "sweep", *(f.name for f in hh.FEATURES), *STEP_COLUMNS])
    for path in paths:
        recording = load(path)
        density = recording.current_density
        step = find_step(density, recording.dt)
        if step is None:
            raise ValueError(f"{path}: expected a step current, came another; leave it out")
        with jax.enable_x64(True):
            x_o, _ = observe(recording)
        numbers = [
            *np.asarray(x_o, np.float64),
            density[step[0] : step[1] + 1].mean(),
            recording.soma_area,
            recording.t_on,
            recording.t_off,
            recording.dt,
            recording.duration,
            recording.voltage[0],
        ]
        table.writerow([recording.cell, recording.sweep, *(f"{n:.9g}" for n in numbers)])


def _observation(row: dict[str, str]) -> Observation:
    amplitude, _, t_on, t_off, dt, duration, v0 = (float(row[c]) for c in STEP_COLUMNS)
    time = np.arange(round(duration / dt) + 1) * dt
    on = (time > t_on - 0.5 * dt) & (time < t_off + 0.5 * dt)
    return Observation(
        f"cell {row['cell']}, sweep {row['sweep']}",
        jnp.asarray([float(row[f.name]) for f in hh.FEATURES]),
        hh.Protocol(np.where(on, amplitude, 0.0), v0, t_on, t_off, dt),
    )


def _read_npz(path: Path, sweep: int | None, soma_area: float | None) -> Recording:
    found = npz.read(path, sweep)
    return Recording(
        _corrected(found.voltage),
        found.current,
        found.dt,
        found.t_on,
        found.t_off,
        _known_area(found.soma_area if soma_area is None else soma_area, path),
        found.cell,
        found.number,
    )


def _read_nwb(path: Path, sweep: int | None, soma_area: float | None) -> Recording:
    found = nwb.read(path, sweep)
    return Recording(
        _corrected(found.voltage),
        found.current,
        found.dt,
        found.t_on,
        found.t_off,
        _known_area(allen.soma_area(path) if soma_area is None else soma_area, path),
        re.sub(r"^cell_", "", found.cell),
        found.number,
    )


def _corrected(voltage) -> np.ndarray:
    voltage = np.asarray(voltage, np.float64)
    largest = np.nanmax(np.abs(voltage), initial=0.0)
    if not 1 < largest < 300:
        raise ValueError(
            f"voltage: expected a membrane potential in mV, came {largest:.4g} as its largest "
            "magnitude; convert it to mV"
        )
    return voltage + JUNCTION_POTENTIAL


def _known_area(soma_area: float | None, path: Path) -> float:
    if soma_area is None:
        raise ValueError(
            f"soma_area: expected the membrane area of {path.name} in cm², came none; give "
            "τ_m [s] / R_in [MΩ] with --soma-area, or fetch the cell with --download"
        )
    return float(soma_area)


def main(arguments: list[str]) -> int:
    parser = Parser(
        prog="python -m experiments.recordings",
        description="Print a table of the features and the step protocol of every recording.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="of .npz and .nwb recordings")
    parser.add_argument("--no-cache", dest="cache", action="store_false", help=NO_CACHE)
    try:
        chosen = parser.parse(arguments)
        if chosen.cache:
            keep_compilations()
        write_features(chosen.folder, sys.stdout)
    except (ValueError, OSError) as error:
        print(f"error: {why(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
