"""Recordings: the published features, both NWB layouts, the database, and what is refused."""

import http.server
import io
import json
import re
import threading
from decimal import Decimal

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import allen, recordings
from experiments.samples import find_step
from simulators import hodgkin_huxley as hh

# Gonçalves et al. 2020, six cells: count, rest mean, rest sd, mean, variance, skewness, kurtosis.
PUBLISHED = {
    "509881736_sweep_39": "25 -81.131 .0870 -52.978 157.61 3.9325 19.156",
    "518290966_sweep_57": "12 -86.619 .0582 -59.743 73.567 5.7112 49.658",
    "526950199_sweep_37": "22 -79.454 .0435 -59.355 118.89 5.3234 34.070",
    "532571720_sweep_42": "18 -90.050 .0443 -55.199 130.44 4.6210 29.031",
    "534524026_sweep_29": "25 -75.732 .0884 -58.576 143.22 4.7270 26.793",
    "566517779_sweep_46": "20 -74.103 .0894 -58.752 99.876 5.6100 40.260",
}
AREA = 1e-4


def published(cell):
    """Values, and half a unit of the last digit that is given."""
    digits = [Decimal(word) for word in PUBLISHED[cell].split()]
    half = [0.5 * 10.0 ** d.as_tuple().exponent for d in digits]
    return np.array([float(d) for d in digits]), np.array(half)


@pytest.mark.parametrize("cell", PUBLISHED)
def test_features_of_a_recording_are_the_published_ones(data, cell):
    recording = recordings.load(data(f"allen/cell_{cell}.npz"))
    x_o, protocol = recordings.observe(recording)
    expected, half = published(cell)
    np.testing.assert_array_less(np.abs(np.asarray(x_o) - expected), 1.02 * half)
    np.testing.assert_allclose(protocol.current, recording.current / recording.soma_area)
    assert float(protocol.v0) == recording.voltage[0]


@pytest.mark.parametrize("cell", PUBLISHED)
def test_the_table_in_the_repository_has_the_published_features(cell):
    name = "cell {}, {} {}".format(*cell.split("_"))
    observation = next(o for o in recordings.read_features() if o.name == name)
    expected, half = published(cell)
    np.testing.assert_array_less(np.abs(np.asarray(observation.x_o) - expected), 1.02 * half)


def test_the_table_is_what_the_command_makes_of_the_recordings(data):
    written = io.StringIO()
    recordings.write_features(data("allen"), written)
    made, kept = written.getvalue().splitlines(), recordings.FEATURES_CSV.read_text().splitlines()
    assert made[0] == kept[0] and len(made) == len(kept)
    for line, other in zip(made[1:], kept[1:], strict=True):
        a, b = (np.array([float(word) for word in row.split(",")]) for row in (line, other))
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_a_cell_from_the_table_gets_the_protocol_of_its_recording(data):
    for observation in recordings.read_features():
        _, cell, _, sweep = observation.name.replace(",", "").split()
        recording = recordings.load(data(f"allen/cell_{cell}_sweep_{sweep}.npz"))
        _, protocol = recordings.observe(recording)
        assert jax.tree.structure(observation.protocol) == jax.tree.structure(protocol)
        for ours, theirs in zip(
            jax.tree.leaves(observation.protocol), jax.tree.leaves(protocol), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


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
WRITERS = {
    "NWB 1.1": write_nwb_1,
    "NWB 1.0": lambda *a: write_nwb_1(*a, version="1.0"),
    "NWB 2": write_nwb_2,
}


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


@pytest.mark.parametrize(
    "current, found",
    [
        ([0] * 200 + [2] * 300 + [0] * 100, (200, 499)),
        ([0] * 20 + [1] * 10 + [0] * 200 + [-2] * 300, (230, 529)),  # after a test pulse
        ([0] * 600, None),
        ([0] * 200 + [2] * 100 + [0] * 50 + [2] * 100, None),  # a train
        ([0] * 200 + list(range(1, 300)), None),  # a ramp
        ([0] * 200 + [2] * 100 + [3] * 200 + [0] * 50, None),  # a staircase
    ],
)
def test_find_step_takes_one_constant_step_and_nothing_else(current, found):
    assert find_step(np.array(current, float), 1.0) == found


# What an .npz recording may look like, and what is wrong with it.


def arrays(**changes):
    time = np.arange(5000) * 0.02
    current = np.where((time >= 20) & (time < 80), 1e-4, 0.0)
    voltage = -60 + 5 * np.sin(time)
    whole = {
        "voltage_mv": voltage.astype(np.float32),
        "current_ua": current,
        "dt_ms": 0.02,
        "t_on_ms": 20.0,
        "t_off_ms": 79.98,
        "soma_area_cm2": AREA,
        "cell_id": 7,
        "sweep": 3,
    }
    return {k: v for k, v in (whole | changes).items() if v is not None}


def test_times_come_from_the_step_where_the_file_has_none(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(t_on_ms=None, t_off_ms=None))
    recording = recordings.load(tmp_path / "a.npz")
    assert (recording.t_on, recording.t_off) == pytest.approx((20.0, 79.98))
    assert recording.name == "cell 7, sweep 3"
    np.testing.assert_allclose(recording.voltage[0], -60 - 14)


def with_nan():
    voltage = arrays()["voltage_mv"].copy()
    voltage[17:20] = np.nan
    return voltage


RAMP = np.linspace(0, 1e-4, 5000)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"voltage_mv": None}, "without voltage_mv .it has: current_ua"),
        (
            {"voltage_mv": with_nan()},
            "voltage_mv: .* 3 of 5000 that .* first at index 17",
        ),
        ({"current_ua": np.zeros(4000)}, "equally many samples, came 5000 and 4000"),
        ({"voltage_mv": np.full((2, 5), -60.0)}, r"shape \(n,\), came \(2, 5\)"),
        ({"t_on_ms": None, "current_ua": RAMP}, "t_on_ms and t_off_ms, or one constant"),
        ({"t_on_ms": 90.0}, "0 < t_on < t_off ≤ 99.98"),
        ({"dt_ms": 0.0, "t_on_ms": 1.0}, "dt_ms: expected a number above 0"),
        ({"dt_ms": -0.02, "t_on_ms": None}, "dt_ms: expected a number above 0, came -0.02"),
        ({"current_ua": np.zeros(0), "t_on_ms": None}, r"current_ua: .*\(n,\), came \(0,\)"),
        ({"current_ua": RAMP * np.nan, "t_on_ms": None}, "current_ua: .* 5000 of 5000 that are"),
        ({"voltage_mv": np.zeros(0)}, r"voltage_mv: .*\(n,\), came \(0,\)"),
        ({"dt_ms": "fast"}, "dt_ms: expected real numbers, came dtype <U4"),
        ({"dt_ms": [0.02, 0.02]}, "dt_ms: expected one finite number, came "),
        ({"dt_ms": 5.0, "t_off_ms": 800.0}, "dt: expected samples at most 0.1 ms apart"),
        ({"voltage_mv": np.full(5000, "-60")}, "voltage_mv: expected real numbers, came dtype <U3"),
        ({"voltage_mv": np.full(5000, -60 + 1j)}, "voltage_mv: .* came dtype complex128"),
        ({"soma_area_cm2": None}, "soma_area: expected the membrane area of a.npz in cm²"),
        ({"soma_area_cm2": -1.0}, "soma_area: expected a number above 0"),
        ({"voltage_mv": np.full(5000, -0.06)}, "in mV, came 0.06 as its largest"),
        ({"current_ua": 1e6 * RAMP}, "expected µA, and soma_area in cm²"),
    ],
)
def test_a_wrong_recording_is_refused_in_one_line(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        recordings.load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value) and "a.npz" in str(caught.value)


def test_another_sweep_than_the_file_has_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    with pytest.raises(ValueError, match="sweep: expected sweep 4 in a.npz, came sweep 3"):
        recordings.load(tmp_path / "a.npz", sweep=4)


@pytest.mark.parametrize("suffix", [".npz", ".nwb"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_recording_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, **arrays())
    else:
        write_nwb_1(path, {8: SWEEPS[8]}, RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=f"expected a whole {suffix} recording"):
        recordings.load(path, soma_area=AREA)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="came no such file"):
        recordings.load(tmp_path / "none.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match="expected a recording named .npz or .nwb, came '.csv'"):
        recordings.load(tmp_path / "a.csv")
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file["something"] = 1
    with pytest.raises(ValueError, match="expected current-clamp sweeps of an NWB file"):
        recordings.load(tmp_path / "a.nwb", soma_area=AREA)
    np.save(tmp_path / "b", np.zeros(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="expected a whole .npz recording"):
        recordings.load(tmp_path / "b.npz")


@pytest.mark.parametrize("content", [np.random.default_rng(0).bytes(999), b"1,2", b"\x80\x04K"])
def test_a_file_of_anything_is_no_recording_and_no_advice_to_trust_it_is_given(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="expected a whole .npz recording") as caught:
        recordings.load(tmp_path / "a.npz")
    assert "pickle" not in str(caught.value)


def test_a_table_that_is_none_is_refused(tmp_path):
    for text in ("", "cell,sweep\n1,2\n", recordings.FEATURES_CSV.read_text()[:-60]):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match="expected a table of recorded features"):
            recordings.read_features(tmp_path / "t.csv")


def test_the_command_prints_the_table_or_one_line(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **arrays())
    assert recordings.main([str(tmp_path), "--no-cache"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split(",")[2:9] == [f.name for f in hh.FEATURES]
    amplitude = float(row.split(",")[9])
    assert amplitude == pytest.approx(1e-4 / AREA)
    for arguments in ([], [str(tmp_path / "none")]):
        assert recordings.main([*arguments, "--no-cache"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


# The database: a server on this machine answers as the public one does.


class Database(http.server.BaseHTTPRequestHandler):
    cell = {
        "id": 123,
        "ephys_features": [{"tau": 23.4, "ri": 126.0}],
        "ephys_result": {
            "well_known_files": [
                {
                    "download_link": "/api/v2/well_known_file_download/55",
                    "well_known_file_type": {"name": "NWBDownload"},
                }
            ]
        },
    }
    content = b""
    answer = None  # instead of the cell
    file = None  # instead of the recording
    cut = 0  # bytes that are promised but not sent
    tells = True  # how many bytes there are
    asked: list = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/api/v2/data/query.json"):
            found = [self.cell] if "[id$eq123]" in self.path else []
            body = self.answer or json.dumps({"success": True, "msg": found}).encode()
            self.reply(200, body, len(body))
        elif self.path == "/api/v2/well_known_file_download/55":
            body = self.file or self.content
            self.reply(200, body, len(body) + self.cut if self.tells else None)
        else:
            self.reply(404, b"no", 2)

    def reply(self, status, body, length):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "whole.nwb"
    write_nwb_1(path, SWEEPS, RATE)
    handler = type("Handler", (Database,), {"content": path.read_bytes(), "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_downloaded_cell_can_be_observed_and_is_not_fetched_twice(database, tmp_path):
    handler, api = database
    path = allen.download(123, tmp_path / "cells", api)
    assert path.read_bytes() == handler.content
    recording = recordings.load(path)
    assert recording.soma_area == pytest.approx(0.0234 / 126)
    assert recording.name == "cell 123, sweep 8"
    x_o, protocol = recordings.observe(recording)
    assert jnp.all(jnp.isfinite(x_o))
    assert float(np.max(protocol.current)) == pytest.approx(110e-6 / (0.0234 / 126))
    asked = len(handler.asked)
    assert allen.download(123, tmp_path / "cells", api) == path and len(handler.asked) == asked


CUT = allen.SIGNATURE + bytes(1000)


@pytest.mark.parametrize(
    "cell, changes, message",
    [
        (124, {}, "--download: .* has no cell 124 with an NWB file"),
        (-1, {}, "--download: expected a positive whole number, came -1"),
        ("x", {}, "--download: expected a positive whole number, came 'x'"),
        (123, {"file": b"<html>busy</html>"}, "no recording but what begins with b'<html>"),
        (123, {"file": b"<html>", "tells": False}, "no recording but what begins with b'<html>"),
        (123, {"file": CUT, "tells": False}, "no recording but a file that was cut or altered"),
        (123, {"cut": 100}, "download of cell 123: .*came: "),
        (123, {"answer": b"<html>busy</html>"}, "expected ri, tau and an NWB file .*<html>"),
        (123, {"answer": b'{"msg": "error"}'}, "expected ri, tau and an NWB file"),
        (123, {"cell": Database.cell | {"ephys_features": []}}, "expected ri, tau and an NWB"),
        (
            123,
            {"cell": Database.cell | {"ephys_features": [{"tau": 0, "ri": 100.0}]}},
            "ri and tau above 0",
        ),
    ],
)
def test_a_failed_download_says_why_and_leaves_no_recording(
    database, tmp_path, cell, changes, message
):
    handler, api = database
    for name, value in changes.items():
        setattr(handler, name, value)
    with pytest.raises(ValueError, match=message) as caught:
        allen.download(cell, tmp_path, api, timeout=5)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.nwb")) and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("kept", [b"", b"<html>busy</html>", CUT])
def test_a_bad_download_that_was_kept_is_fetched_anew(database, tmp_path, kept):
    handler, api = database
    path = allen.download(123, tmp_path, api)
    path.write_bytes(kept)
    assert allen.download(123, tmp_path, api).read_bytes() == handler.content


def test_without_a_network_there_is_one_clear_error(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Database) as closed:
        port = closed.server_port
    with pytest.raises(ValueError, match=f"127.0.0.1:{port}.*check the network") as caught:
        allen.download(123, tmp_path, f"http://127.0.0.1:{port}", timeout=5)
    assert re.search("refused", str(caught.value))
    with pytest.raises(ValueError, match="api: expected an address with http or https"):
        allen.download(123, tmp_path, "file:///etc")
