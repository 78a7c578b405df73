"""The five command voltages against their definition and the published tables."""

import numpy as np
import pytest

from simulators import voltage_clamp
from simulators.voltage_clamp import Clamp, action_potentials, stamps


def test_stamps_are_those_of_the_published_tables(data):
    tables = np.load(data("channels/protocols.npz"))
    for name, duration in (("ramp", 2900), ("ap", 1800)):
        table = tables[f"{name}_time_ms"]
        np.testing.assert_allclose(stamps(duration), table, atol=0.0052)
    assert [len(stamps(t)) for t in (700, 1750, 1800, 2900)] == [27995, 69995, 71995, 115994]


def test_ramps_and_action_potentials_are_the_published_ones(data):
    path = data("channels/protocols.npz")
    tables = np.load(path)
    ramps, train = voltage_clamp.ramps(), action_potentials(path)
    np.testing.assert_allclose(ramps.voltage[0], tables["ramp_voltage_mv"], atol=1e-4)
    np.testing.assert_array_equal(train.voltage[0], tables["ap_voltage_mv"])
    np.testing.assert_allclose([ramps.dt, train.dt], [0.0250010, 0.0250015], atol=1.5e-7)


@pytest.mark.parametrize(
    "make, sweeps, parts",
    [
        ("activation", 16, [(99.975, 599.975, -80.0, 70.0)]),
        ("inactivation", 12, [(99.975, 1599.975, -40, 70), (1599.975, 1649.975, 30, 30)]),
        ("deactivation", 15, [(99.975, 400.0, 70, 70), (400.0, 599.975, -100, 40)]),
    ],
)
def test_step_families(make, sweeps, parts):
    clamp = getattr(voltage_clamp, make)()
    t = stamps(1750 if make == "inactivation" else 700)
    assert clamp.voltage.shape == (sweeps, len(t))
    rest = np.ones(len(t), bool)
    for start, end, low, high in parts:
        during = (t >= start - 1e-6) & (t < end - 1e-6)
        rest &= ~during
        levels = np.linspace(low, high, sweeps)[:, None]
        assert np.all(clamp.voltage[:, during] == levels)
    assert np.all(clamp.voltage[:, rest] == -80)


def test_without_data_the_action_potentials_are_simulated_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSBI_DATA", str(tmp_path))
    with pytest.warns(UserWarning, match="those of a simulated Hodgkin–Huxley neuron"):
        clamp = action_potentials()
    v = clamp.voltage[0]
    assert clamp.voltage.shape == (1, 71995) and v[0] == pytest.approx(-66.1)
    assert 20 <= np.sum((v[:-1] < 0) & (v[1:] >= 0)) <= 34  # 27 in the recording


def write(path, time, voltage):
    np.savez(path, ap_time_ms=time, ap_voltage_mv=voltage)
    return path


def test_files_with_gaps_are_refused(tmp_path):
    t = stamps(1800)
    v = -60 + np.sin(t)
    path = write(tmp_path / "good.npz", t.astype(np.float32), v)
    np.testing.assert_array_equal(action_potentials(path).voltage[0], v)
    cut = np.delete(np.arange(len(t)), slice(4000, 4010))
    with pytest.raises(ValueError, match="has a gap: 10 of 71995 samples are missing, the first"):
        action_potentials(write(tmp_path / "cut.npz", t[cut], v[cut]))
    holes = v.copy()
    holes[[7, 9]] = np.nan
    with pytest.raises(ValueError, match="ap_voltage_mv has a gap: 2 samples are not finite"):
        action_potentials(write(tmp_path / "holes.npz", t, holes))
    for time, volt, words in [
        (np.append(t, 1800.0), np.append(v, 0.0), "71995 stamps .* got 71996 others"),
        (t[::-1], v, "stamps .* in ascending order"),
        (t[:-1], v, "of one shape"),
    ]:
        with pytest.raises(ValueError, match=words):
            action_potentials(write(tmp_path / "other.npz", time, volt))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("text.npz", "absent.npz"):
        with pytest.raises(ValueError, match="^path: expected an .npz with ap_time_ms"):
            action_potentials(tmp_path / name)


def test_damaged_files_are_refused(data, tmp_path):
    whole, path = data("channels/protocols.npz").read_bytes(), tmp_path / "damaged.npz"
    for damaged in (whole[: len(whole) // 2], whole[:-40], whole[:10], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="^path: expected an .npz with ap_time_ms") as error:
            action_potentials(path)
        assert "\n" not in str(error.value)
    words = write(tmp_path / "words.npz", np.array(["a", "b"]), np.array(["c", "d"]))
    with pytest.raises(ValueError, match="real numbers of one shape"):
        action_potentials(words)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(dt=0.0), "^dt: expected a positive"),
        (dict(voltage=np.zeros(9)), r"^mine: expected voltages \(sweeps, n\)"),
        (dict(voltage=np.array([[0.0, np.nan, 1.0]])), "^mine: .* 1 of 3 .* at sample 1; cut"),
    ],
)
def test_bad_clamps_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Clamp(**(dict(voltage=np.zeros((1, 9)), dt=0.025, name="mine") | change))
