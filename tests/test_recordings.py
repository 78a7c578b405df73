"""Recordings: their features are the published ones; what is no recording is refused."""

import io
import tokenize
import zipfile

import jax
import numpy as np
import pytest
from published import CELLS

from experiments import recordings
from experiments.samples import find_step
from simulators import hodgkin_huxley as hh

AREA = 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_features_of_a_recording_are_the_published_ones(data, cell):
    published = CELLS[cell]
    recording = recordings.load(data(f"allen/cell_{cell}_sweep_{published.sweep}.npz"))
    x_o, protocol = recordings.observe(recording)
    apart = np.abs(np.asarray(x_o) - published.features)
    np.testing.assert_array_less(apart, 1.02 * published.half_digits)
    np.testing.assert_allclose(protocol.current, recording.current / recording.soma_area)
    assert float(protocol.v0) == recording.voltage[0]
    assert recording.soma_area == pytest.approx(published.area, rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_table_in_the_repository_has_the_published_features(cell):
    published = CELLS[cell]
    name = f"cell {cell}, sweep {published.sweep}"
    observation = next(o for o in recordings.read_features() if o.name == name)
    apart = np.abs(np.asarray(observation.x_o) - published.features)
    np.testing.assert_array_less(apart, 1.02 * published.half_digits)


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


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_recording_is_refused(tmp_path, share):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="expected a whole .npz recording"):
        recordings.load(path, soma_area=AREA)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="came no such file"):
        recordings.load(tmp_path / "none.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match="expected a recording named .npz or .nwb, came '.csv'"):
        recordings.load(tmp_path / "a.csv")
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


LYING = b"\x93NUMPY\x01\x00"


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }", MemoryError),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,", tokenize.TokenError),
    ],
)
def test_an_archive_whose_header_lies_is_refused(tmp_path, header, error):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays(voltage_mv=None))
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "a") as archive:
        length = len(header).to_bytes(2, "little")
        archive.writestr("voltage_mv.npy", LYING + length + header + bytes(80))
    with np.load(path) as file, pytest.raises((error, ValueError)):
        file["voltage_mv"]
    with pytest.raises(ValueError, match="a.npz: expected a whole .npz recording"):
        recordings.load(path)


def test_a_name_that_the_system_refuses_is_told_in_one_short_line():
    with pytest.raises(ValueError, match="expected a recording .*File name too long") as caught:
        recordings.load("n" * 300 + ".npz")
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"t_on_ms": 0.02}, "resting sd"),
        ({"voltage_mv": np.full(5000, -60.0)}, "skewness, kurtosis"),
    ],
)
def test_a_recording_that_leaves_a_feature_undefined_is_refused_by_its_name(
    tmp_path, changes, names
):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(ValueError, match=f"cell 7, sweep 3: .* came one without {names};"):
        recordings.observe(recordings.load(tmp_path / "a.npz"))


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
