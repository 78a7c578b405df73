"""What the Hodgkin–Huxley study explains: the paper's synthetic neuron, and recorded cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import allen, recordings
from simulators import hodgkin_huxley as hh

WINDOWS = 8
DEFAULT_CELL = "518290966"


class Options(NamedTuple):
    """Which recording to infer, if another than the default cell."""

    cell: Path | None = None
    sweep: int | None = None
    soma_area: float | None = None
    download: int | None = None
    data: Path | None = None
    all_cells: bool = False


class Observation(NamedTuple):
    """What is to be explained: features under a protocol, and what else is known of the cell."""

    name: str
    title: str
    x_o: jax.Array
    protocol: hh.Protocol
    truth: jax.Array | None = None
    voltage: np.ndarray | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What tells two observations apart, in numbers that may be compared with a tolerance.

        A current is told by its mean under a few windows, 1 + cos(k π t/T), and by its rms: under
        windows of one sign the terms of a step current do not cancel.
        """
        protocol = self.protocol
        current = np.asarray(protocol.current, np.float64)
        windows = 1 + np.cos(np.outer(np.arange(WINDOWS), np.linspace(0, np.pi, len(current))))
        return {
            "x_o": dict(zip((f.name for f in hh.FEATURES), map(float, self.x_o), strict=True)),
            "samples": len(current),
            "dt": protocol.dt,
            **{name: float(getattr(protocol, name)) for name in ("v0", "t_on", "t_off")},
            "current_rms": float(np.sqrt(np.mean(current**2))),
            "current_means": (windows @ current / len(current)).tolist(),
        }


def observe(key: jax.Array, options: Options) -> list[Observation]:
    """The synthetic neuron and the default cell, or the one recording that was asked for."""
    if sum((options.cell is not None, options.download is not None, options.all_cells)) > 1:
        raise ValueError("--cell, --download and --all-cells exclude each other; give one of them")
    if options.cell is None and options.download is None:
        for name in ("sweep", "soma_area"):
            if getattr(options, name) is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} belongs to a recording of yours: give it with "
                    "--cell or --download, or leave it out"
                )
    if options.download is not None:
        path = allen.download(options.download, options.data or Path("recordings"))
        return [recorded(recordings.load(path, options.sweep, options.soma_area))]
    if options.cell is not None:
        return [recorded(recordings.load(options.cell, options.sweep, options.soma_area))]
    if options.all_cells:
        return [_synthetic(key), *recorded_cells(options.data)]
    return [_synthetic(key), known_cell(DEFAULT_CELL, options.data)]


def _synthetic(key: jax.Array) -> Observation:
    truth = jnp.asarray(hh.NOMINAL)
    trace = hh.trace(key, truth)
    return Observation(
        "synthetic",
        "the synthetic neuron",
        hh.simulate(key, truth),
        hh.DEFAULT,
        truth,
        np.asarray(trace.voltage),
    )


def recorded(recording: recordings.Recording) -> Observation:
    x_o, protocol = recordings.observe(recording)
    name = re.sub(r"[^\w-]+", "_", recording.cell)[:60]  # it names files
    return Observation(f"cell_{name}", recording.name, x_o, protocol, voltage=recording.voltage)


def recorded_cells(data: Path | None) -> list[Observation]:
    """All of the paper's cells whose recordings were published with it."""
    return [_of_table(cell, data) for cell in recordings.read_features()]


def known_cell(name: str, data: Path | None) -> Observation:
    """One of them by its number."""
    return _of_table(next(o for o in recordings.read_features() if name in o.name), data)


def _of_table(cell: recordings.Observation, data: Path | None) -> Observation:
    """A cell from its features; with the recording itself where it is at hand."""
    number = cell.name.split()[1].rstrip(",")
    found = sorted(data.rglob(f"cell_{number}_sweep_*.npz")) if data else []
    if found:
        return recorded(recordings.load(found[0]))
    return Observation(f"cell_{number}", cell.name, cell.x_o, cell.protocol)
