"""Command voltages of a voltage clamp: step families, ramps, action potentials, one per sample.

The five protocols of Podlaski et al. 2017 (eLife 6:e22152) as Gonçalves et al. 2020 (eLife
9:e56261, figure 3) used them. Sample k is at k · 0.025 ms, k ≥ 1, but five of these time stamps
are missing in the published tables; the step between samples is constant all the same.
"""

import os
import warnings
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from ._archives import read
from ._parameters import as_numbers, concrete

STAMP = 0.025  # ms
MISSING = (2, 21, 339, 5421, 86739)  # numbers k of the absent stamps: 0.05 … 2168.475 ms
REST, PEAK = -80.0, 70.0  # mV
FILE = "channels/protocols.npz"


class Clamp(eqx.Module):
    """Command voltage V (sweeps, n) [mV], every dt [ms]; V is dynamic, name and dt are static."""

    voltage: jax.Array | np.ndarray = eqx.field(converter=as_numbers)
    dt: float = eqx.field(static=True, converter=float)
    name: str = eqx.field(static=True)

    def __check_init__(self):
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt: expected a positive time step [ms], got {self.dt}")
        if self.voltage.ndim != 2 or self.voltage.shape[0] < 1 or self.voltage.shape[1] < 2:
            raise ValueError(
                f"{self.name}: expected voltages (sweeps, n), n ≥ 2, got {self.voltage.shape}"
            )
        if concrete(self.voltage) and not np.all(np.isfinite(self.voltage)):
            bad = ~np.isfinite(np.asarray(self.voltage))
            raise ValueError(
                f"{self.name}: expected finite voltages [mV], got {bad.sum()} of {bad.size} NaN or "
                f"infinite, the first at sample {np.argwhere(bad)[0, 1]}; cut or fill the gap first"
            )

    @property
    def sweeps(self) -> int:
        """Number of sweeps."""
        return self.voltage.shape[0]

    @property
    def samples(self) -> int:
        """Samples n of a sweep."""
        return self.voltage.shape[1]

    @property
    def time(self) -> np.ndarray:
        """Time since the first sample [ms], shape (n,)."""
        return np.arange(self.samples) * self.dt


def stamps(duration: float) -> np.ndarray:
    """Time stamps below the duration [ms], without the MISSING ones."""
    k = np.arange(1, round(duration / STAMP))
    return STAMP * k[~np.isin(k, MISSING)]


def _step(duration: float) -> float:
    """The constant dt of a protocol, the mean difference of its stamps [ms]."""
    t = stamps(duration)
    return float((t[-1] - t[0]) / (len(t) - 1))


def steps(
    name: str, duration: float, start: float, *parts: tuple[np.ndarray | float, float]
) -> Clamp:
    """A step family: at rest, then for each part (level [mV], end [ms]) at its level, then rest.

    A level holds from its start up to but excluding its end; one number or one per sweep.
    """
    t = stamps(duration)
    sweeps = max(np.size(level) for level, _ in parts)
    voltage = np.full((sweeps, len(t)), REST)
    for level, end in parts:
        during = (t > start - STAMP / 2) & (t < end - STAMP / 2)
        voltage[:, during] = np.reshape(level, (-1, 1))
        start = end
    return Clamp(voltage, _step(duration), name)


def activation() -> Clamp:
    """16 sweeps of 700 ms: 500 ms at −80, −70, … +70 mV."""
    return steps("activation", 700, 99.975, (np.arange(-80.0, 71, 10), 599.975))


def inactivation() -> Clamp:
    """12 sweeps of 1750 ms: 1500 ms at −40, −30, … +70 mV, then 50 ms at +30 mV."""
    levels = np.arange(-40.0, 71, 10)
    return steps("inactivation", 1750, 99.975, (levels, 1599.975), (30.0, 1649.975))


def deactivation() -> Clamp:
    """15 sweeps of 700 ms: 300 ms at +70 mV, then 200 ms at −100, −90, … +40 mV."""
    return steps("deactivation", 700, 99.975, (PEAK, 400.0), (np.arange(-100.0, 41, 10), 599.975))


def ramps() -> Clamp:
    """One sweep of 2900 ms: four times from −80 up to +70 mV and back, in 400, 200, 100, 50 ms."""
    voltage = np.full(len(stamps(2900)), REST)
    # Sample by sample as published: both ends belong to a ramp, and the first way down lacks one.
    for first, length in ((3995, 16_000), (51_994, 8000), (83_994, 4000), (107_994, 2000)):
        up = np.linspace(REST, PEAK, length)
        down = np.delete(up[::-1], 1685) if length == 16_000 else up[::-1]
        voltage[first : first + len(up) + len(down)] = np.concatenate([up, down])
    return Clamp(voltage[None], _step(2900), "ramps")


def data_folder() -> Path:
    """Where reference data lies: JAXSBI_DATA, else shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("JAXSBI_DATA", beside))


def action_potentials(path: str | Path | None = None) -> Clamp:
    """One sweep of 1800 ms with a train of action potentials, from a file of command voltages.

    `path`: an .npz with `ap_time_ms` and `ap_voltage_mv`; without one, FILE in the data folder,
    and where that is not there a train of our own Hodgkin–Huxley neuron, with a warning.
    """
    name = "action potentials"
    if path is None and not (data_folder() / FILE).exists():
        warnings.warn(
            f"{FILE} is not in the data folder (set JAXSBI_DATA): the action potentials are those "
            "of a simulated Hodgkin–Huxley neuron, not the recorded ones",
            stacklevel=2,
        )
        return Clamp(_simulated_train(), _step(1800), name)
    path = data_folder() / FILE if path is None else Path(path)
    return Clamp(_read(path, "ap", stamps(1800))[None], _step(1800), name)


def _read(path: Path, prefix: str, expected: np.ndarray) -> np.ndarray:
    """The voltages of a file at the expected time stamps; ValueError for gaps and other files."""
    names = (f"{prefix}_time_ms", f"{prefix}_voltage_mv")
    time, voltage = read(
        path,
        *names,
        expected=f"an .npz with {names[0]} and {names[1]}",
        remedy="put a whole file in its place",
    )
    kinds = time.dtype.kind + voltage.dtype.kind
    if time.shape != voltage.shape or time.ndim != 1 or not set(kinds) <= set("fiu"):
        raise ValueError(
            f"{path}: expected {names[0]} and {names[1]}, real numbers of one shape (n,), "
            f"got {time.dtype} {time.shape} and {voltage.dtype} {voltage.shape}"
        )
    time, voltage = time.astype(float), voltage.astype(float)
    # Stamps above 1000 ms are rounded to 0.01 ms.
    near = np.searchsorted(expected - STAMP / 2, time, side="right") - 1
    absent = np.setdiff1d(np.arange(len(expected)), near)
    if len(absent):
        raise ValueError(
            f"{path}: {names[0]} has a gap: {len(absent)} of {len(expected)} samples are missing, "
            f"the first at {expected[absent[0]]:g} ms; fill it first"
        )
    if len(time) != len(expected) or np.abs(time - expected).max() > 0.4 * STAMP:
        raise ValueError(
            f"{path}: {names[0]} expected {len(expected)} stamps from {expected[0]:g} to "
            f"{expected[-1]:g} ms in ascending order, got {len(time)} others"
        )
    if not np.all(np.isfinite(voltage)):
        bad = np.flatnonzero(~np.isfinite(voltage))
        raise ValueError(
            f"{path}: {names[1]} has a gap: {len(bad)} samples are not finite, the first at "
            f"{expected[bad[0]]:g} ms; fill it first"
        )
    return voltage


def _simulated_train() -> np.ndarray:
    """Voltage (1, n) of a Hodgkin–Huxley neuron that fires for 1.3 s [mV]."""
    from . import hodgkin_huxley as hh

    samples = len(stamps(1800))
    clamp = hh.step(
        2.5, t_on=250.0, t_off=1550.0, duration=(samples - 1) * STAMP, dt=STAMP, v0=-66.1
    )
    return np.asarray(hh.trace(jax.random.key(0), hh.NOMINAL, clamp).voltage)[None]


def standard(path: str | Path | None = None) -> tuple[Clamp, ...]:
    """The five protocols, in the order of the features; `path` as for `action_potentials`."""
    return (activation(), inactivation(), deactivation(), action_potentials(path), ramps())
