"""NWB recordings: both layouts give the same sweep in millivolts and microamperes, or one line."""

import h5py
import numpy as np
import pytest
from nwb_files import AREA, RATE, SWEEPS, WRITERS, write_nwb_1, write_nwb_2

from experiments import recordings


@pytest.mark.parametrize("layout", WRITERS)
def test_nwb_gives_the_sweep_in_millivolts_and_microamperes(tmp_path, layout):
    path = tmp_path / "cell_123.nwb"
    WRITERS[layout](path, SWEEPS, RATE)
    recording = recordings.load(path, soma_area=AREA)
    assert (recording.cell, recording.sweep) == ("123", 8)  # the smallest with ten spikes
    assert recording.dt == pytest.approx(0.02)
    assert (recording.t_on, recording.t_off) == pytest.approx((205.0, 804.98))
    assert recording.duration == pytest.approx(205 + 600 + 245 - 0.02, abs=0.05)
    _, volts, amperes = SWEEPS[8]
    first = round((1.0 - 0.205) * RATE)
    kept = slice(first, first + 4 * recording.voltage.size, 4)
    np.testing.assert_allclose(recording.voltage, 1e3 * volts[kept] - 14, rtol=1e-9)
    np.testing.assert_allclose(recording.current, 1e6 * amperes[kept], rtol=1e-9)
    on = (recording.time > recording.t_on - 0.01) & (recording.time < recording.t_off + 0.01)
    np.testing.assert_array_equal(on, recording.current > 0)
    x_o, _ = recordings.observe(recording)
    assert float(x_o[0]) == 12


@pytest.mark.parametrize("rate", [0.0, -200e3, np.nan, np.inf])
@pytest.mark.parametrize("layout", [write_nwb_1, write_nwb_2])
def test_a_sweep_without_a_true_rate_is_refused(tmp_path, layout, rate):
    path = tmp_path / "a.nwb"
    layout(path, {8: SWEEPS[8]}, RATE)
    with h5py.File(path, "r+") as file:
        series = [g for g in file["stimulus/presentation"].values()]
        for group in [*series, *file.get("acquisition/timeseries", file["acquisition"]).values()]:
            group["starting_time"].attrs["rate"] = rate
    with pytest.raises(ValueError, match=r"a.nwb: .*rate \[Hz\] .* expected a number above 0"):
        recordings.load(path, soma_area=AREA)


def test_an_nwb_that_holds_other_things_than_it_should_is_refused(tmp_path):
    path = tmp_path / "a.nwb"
    for name, content in {
        "general/aibs_specimen_id": np.zeros(0),
        "epochs/Sweep_8": 1.0,
        "epochs/Sweep_8/stimulus": h5py.Empty("f"),
    }.items():
        write_nwb_1(path, {8: SWEEPS[8]}, RATE)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = content
        with pytest.raises(ValueError, match="a.nwb: ") as caught:
            recordings.load(path, soma_area=AREA)
        assert "\n" not in str(caught.value)


def test_a_damaged_nwb_is_not_taken_for_a_missing_area(tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="expected a whole .nwb recording"):
        recordings.load(tmp_path / "a.nwb")
    write_nwb_1(tmp_path / "b.nwb", {8: SWEEPS[8]}, RATE)
    with pytest.raises(ValueError, match="soma_area: expected .* of b.nwb .* --soma-area"):
        recordings.load(tmp_path / "b.nwb")


def test_a_named_sweep_is_read_and_a_missing_or_stepless_one_refused(tmp_path):
    path = tmp_path / "a.nwb"
    sweeps = SWEEPS | {11: ("Ramp", SWEEPS[5][1], np.linspace(0, 1e-10, SWEEPS[5][1].size))}
    write_nwb_1(path, sweeps, RATE)
    assert recordings.load(path, sweep=7, soma_area=AREA).sweep == 7
    with pytest.raises(ValueError, match="sweep: a.nwb has no sweep 6; it has 4, 5, 7, 8, 9, 11"):
        recordings.load(path, sweep=6, soma_area=AREA)
    with pytest.raises(ValueError, match="sweep: expected one constant current step"):
        recordings.load(path, sweep=11, soma_area=AREA)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_nwb_is_refused(tmp_path, share):
    path = tmp_path / "a.nwb"
    write_nwb_1(path, {8: SWEEPS[8]}, RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="expected a whole .nwb recording"):
        recordings.load(path, soma_area=AREA)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file["something"] = 1
    with pytest.raises(ValueError, match="expected current-clamp sweeps of an NWB file"):
        recordings.load(tmp_path / "a.nwb", soma_area=AREA)
