"""Current-clamp sweeps of a Neurodata Without Borders file: V [mV] = 10³ c d, I [µA] = 10⁶ c d.

d is the stored data set in volts or amperes and c its attribute `conversion`. Version 1 is read in
the layout of the Allen Cell Types Database (/epochs/Sweep_N, /acquisition/timeseries,
/stimulus/presentation), version 2 in that of PyNWB (/acquisition, /stimulus/presentation).
Voltages come as stored, without a correction for the junction potential; the holding current,
which the files keep apart from the stimulus, is not added.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.samples import check_positive, find_step

BEFORE, AFTER = 205.0, 245.0  # ms kept on either side of a step, as in the published recordings
FINEST = 0.02  # ms; a finer recording is thinned to about this step, by taking every k-th sample
SHORTEST = 500.0  # ms; what counts as a long square step
ENOUGH_SPIKES = 10


class Sweep(NamedTuple):
    """One sweep around its current step: voltage [mV], current [µA], dt, t_on, t_off [ms]."""

    cell: str
    number: int
    voltage: np.ndarray
    current: np.ndarray
    dt: float
    t_on: float
    t_off: float


def read(path: Path, sweep: int | None = None) -> Sweep:
    """Sweep number `sweep`, or the smallest long step that evokes at least ten spikes.

    Where no step evokes ten, the one with the most. A stimulus that the file calls anything but
    "Long Square" is passed over. Cut to 205 ms before and 245 ms after the step.
    """
    import h5py

    with h5py.File(path, "r") as file:
        sweeps = _sweeps_1(file) if "epochs" in file else _sweeps_2(file)
        if not sweeps:
            raise ValueError(
                f"{path}: expected current-clamp sweeps of an NWB file (/epochs/Sweep_N, or "
                "CurrentClampSeries in /acquisition), came none"
            )
        cell = _text(file, "general/aibs_specimen_id") or path.stem
        if sweep is not None:
            if sweep not in sweeps:
                raise ValueError(
                    f"sweep: {path.name} has no sweep {sweep}; it has "
                    f"{', '.join(map(str, sorted(sweeps)))}"
                )
            cut = _cut(sweeps[sweep], cell, sweep)
            if cut is None:
                raise ValueError(
                    f"sweep: expected one constant current step in sweep {sweep} of {path.name}, "
                    "came another stimulus; choose a sweep with a long square step"
                )
            return cut
        cuts = [_cut(s, cell, n) for n, s in sorted(sweeps.items()) if _may_be_long(s)]
    steps = [
        cut
        for cut in cuts
        if cut is not None and cut.t_off - cut.t_on >= SHORTEST and _amplitude(cut) > 0
    ]
    if not steps:
        raise ValueError(
            f"{path}: expected a depolarising step of at least {SHORTEST:g} ms in one of its "
            f"{len(sweeps)} sweeps, came none; name one with --sweep"
        )
    spiking = [cut for cut in steps if _crossings(cut) >= ENOUGH_SPIKES]
    return min(spiking, key=_amplitude) if spiking else max(steps, key=_crossings)


class _Stored(NamedTuple):
    response: object  # group with data and starting_time
    stimulus: object
    converted: bool  # whether the conversion factors can be believed
    first: int  # samples first … last-1 are the experiment
    last: int | None
    name: str | None  # of the stimulus


def _sweeps_1(file) -> dict[int, _Stored]:
    # Allen files older than pipeline 1.1 hold volts and amperes beside a wrong factor.
    converted = _pipeline_version(file) > (1, 0)
    sweeps = {}
    for key, epoch in file["epochs"].items():
        match = re.fullmatch(r"Sweep_(\d+)", key)
        if not match:
            continue
        number = int(match[1])
        experiment = file.get(f"epochs/Experiment_{match[1]}", epoch)
        first = int(experiment["stimulus/idx_start"][()])
        stimulus = epoch["stimulus/timeseries"]
        sweeps[number] = _Stored(
            epoch["response/timeseries"],
            stimulus,
            converted,
            first,
            first + int(experiment["stimulus/count"][()]),
            _text(stimulus, "aibs_stimulus_name"),
        )
    return sweeps


def _sweeps_2(file) -> dict[int, _Stored]:
    def series(folder, kind):
        return {
            int(group.attrs.get("sweep_number", (re.findall(r"\d+", key) or [0])[-1])): group
            for key, group in file.get(folder, {}).items()
            if group.attrs.get("neurodata_type") == kind
        }

    responses = series("acquisition", "CurrentClampSeries")
    stimuli = series("stimulus/presentation", "CurrentClampStimulusSeries")
    return {
        number: _Stored(responses[number], stimuli[number], True, 0, None, None)
        for number in responses.keys() & stimuli.keys()
    }


def _cut(stored: _Stored, cell: str, number: int) -> Sweep | None:
    current, rate = _samples(stored.stimulus, stored.converted)
    voltage, response_rate = _samples(stored.response, stored.converted)
    if rate != response_rate or len(voltage) != len(current):
        raise ValueError(
            f"sweep {number}: expected stimulus and response on one clock, came "
            f"{len(current)} samples at {rate:g} Hz and {len(voltage)} at {response_rate:g} Hz"
        )
    current, voltage = current[stored.first : stored.last], voltage[stored.first : stored.last]
    step = find_step(current, 1e3 / rate)
    if step is None:
        return None
    every = max(1, int(FINEST * rate / 1e3 + 1e-6))
    dt = 1e3 * every / rate
    earlier = np.flatnonzero(current[: step[0]])
    quiet = step[0] - (earlier[-1] + 1 if earlier.size else 0)
    before = min(round(BEFORE / dt), quiet // every)
    kept = slice(step[0] - before * every, step[1] + 1 + round(AFTER / dt) * every, every)
    on = (step[1] - step[0]) // every
    return Sweep(
        cell,
        number,
        1e3 * voltage[kept],
        1e6 * current[kept],
        dt,
        before * dt,
        (before + on) * dt,
    )


def _samples(series, converted: bool) -> tuple[np.ndarray, float]:
    stored = series["data"]
    data = np.asarray(stored[()], np.float64)
    if converted:
        data = data * float(stored.attrs.get("conversion", 1.0)) + float(
            stored.attrs.get("offset", 0.0)
        )
    if "starting_time" not in series:
        raise ValueError(f"{series.name}: expected a starting_time with a rate, came none")
    rate = float(series["starting_time"].attrs["rate"])
    check_positive(f"{series.name}, rate [Hz] of its starting_time", rate)
    return data, rate


def _may_be_long(stored: _Stored) -> bool:
    return stored.name is None or "long square" in stored.name.lower()


def _amplitude(sweep: Sweep) -> float:
    return float(sweep.current[round(sweep.t_on / sweep.dt)])


def _crossings(sweep: Sweep) -> int:
    above = sweep.voltage > 0.0  # mV as stored
    return int(np.sum(above[1:] & ~above[:-1]))


def _text(group, key: str) -> str | None:
    if key not in group:
        return None
    value = group[key][()]
    value = value.ravel()[0] if isinstance(value, np.ndarray) else value
    return value.decode() if isinstance(value, bytes) else str(value)


def _pipeline_version(file) -> tuple[int, int]:
    words = file.get("general/generated_by")
    words = [] if words is None else [w.decode() if isinstance(w, bytes) else w for w in words[()]]
    version = dict(zip(words[:-1], words[1:], strict=True)).get("version", "0.0")
    found = re.match(r"(\d+)\.(\d+)", str(version))
    return (int(found[1]), int(found[2])) if found else (0, 0)
