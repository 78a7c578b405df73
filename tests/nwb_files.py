"""NWB files written for tests, in both layouts: sweeps with a step current and spikes."""

import h5py
import numpy as np

AREA = 1e-4  # cm² of a soma


def step_sweep(rate, amplitude, spikes, seconds=2.0, start=1.0, length=0.6):
    """V [V], I [A] at `rate` Hz: a test pulse, a step, and `spikes` spikes of 1 ms during it."""
    time = np.arange(round(rate * seconds)) / rate
    current = np.where((time >= start) & (time < start + length), amplitude, 0.0)
    current[round(0.1 * rate) : round(0.11 * rate)] = 20e-12
    voltage = -0.065 + 0.01 * (current == amplitude) + 1e-5 * np.sin(2 * np.pi * 31 * time)
    for k in range(spikes):
        at = start + length * (k + 0.5) / spikes
        voltage += 0.1 * np.exp(-(((time - at) / 4e-4) ** 2))
    return voltage, current


def write_nwb_1(path, sweeps, rate, version="1.1"):
    """The layout of the Allen Cell Types Database; before 1.1 SI units beside a wrong factor."""
    scale = 1e3 if version == "1.1" else 1.0
    with h5py.File(path, "w") as file:
        file["general/generated_by"] = np.array([b"pipeline", b"x", b"version", version.encode()])
        file["general/aibs_specimen_id"] = b"123"
        for number, (name, voltage, current) in sweeps.items():
            parts = {"stimulus/presentation": current, "acquisition/timeseries": voltage}
            for (place, values), role in zip(parts.items(), ("stimulus", "response"), strict=True):
                series = file.create_group(f"{place}/Sweep_{number}")
                series["data"] = scale * values
                series["data"].attrs["conversion"] = 1e-3
                series["starting_time"] = 0.0
                series["starting_time"].attrs["rate"] = float(rate)
                series["aibs_stimulus_name"] = name.encode()
                for epoch, first in (("Sweep", 0), ("Experiment", round(0.2 * rate))):
                    group = file.create_group(f"epochs/{epoch}_{number}/{role}")
                    group["idx_start"], group["count"] = first, len(values) - first
                    group["timeseries"] = series


def write_nwb_2(path, sweeps, rate):
    """The layout that PyNWB writes: millivolts and picoamperes with a conversion factor."""
    with h5py.File(path, "w") as file:
        for number, (_, voltage, current) in sweeps.items():
            for place, kind, values, factor in (
                ("acquisition", "CurrentClampSeries", voltage, 1e-3),
                ("stimulus/presentation", "CurrentClampStimulusSeries", current, 1e-12),
            ):
                series = file.create_group(f"{place}/data_{number:05d}")
                series.attrs["neurodata_type"] = kind
                series.attrs["sweep_number"] = np.uint32(number)
                series["data"] = values / factor
                series["data"].attrs["conversion"] = factor
                series["starting_time"] = 0.0
                series["starting_time"].attrs["rate"] = float(rate)


RATE = 200_000
SWEEPS = {
    4: ("Short Square", *step_sweep(RATE, 300e-12, 1, length=0.003)),
    5: ("Long Square", *step_sweep(RATE, -50e-12, 0)),
    7: ("Long Square", *step_sweep(RATE, 90e-12, 4)),
    8: ("Long Square", *step_sweep(RATE, 110e-12, 12)),
    9: ("Long Square", *step_sweep(RATE, 130e-12, 15)),
}
# What each layout is called, and what writes it.
WRITERS = {
    "NWB 1.1": write_nwb_1,
    "NWB 1.0": lambda *a: write_nwb_1(*a, version="1.0"),
    "NWB 2": write_nwb_2,
}
