"""The basis of a channel's features against NumPy's singular vectors; its files and its input."""

import numpy as np
import pytest
from clamped import currents, near_nominal, short_protocol

from simulators import channels
from simulators._basis import Basis


@pytest.fixture(scope="module")
def protocol():
    return short_protocol()


def test_basis_is_that_of_the_principal_components(protocol):
    thetas = near_nominal(20, seed=9)
    for clamp, phi in zip(protocol.clamps, protocol.basis.functions, strict=True):
        columns = np.stack([currents(t, clamp).T.ravel() for t in thetas], axis=1)
        columns = (columns - columns.mean(0)) / columns.std(0)
        u, s, _ = np.linalg.svd(columns, full_matrices=False)
        flat = phi.reshape(-1, 10).astype(float)
        np.testing.assert_allclose(flat.T @ flat, np.eye(10), atol=1e-5)
        assert np.abs(flat.sum(0)).max() < 1e-3
        # The same functions but for sign, as far as float32 responses tell the components apart.
        strong = int(np.sum(s[:10] > 1e-4 * s[0]))
        agreement = np.abs(np.sum(u[:, :strong] * flat[:, :strong], axis=0))
        assert strong >= 4 and agreement.min() > 0.999, (strong, agreement)


def test_basis_is_saved_and_loaded(protocol, tmp_path):
    path = tmp_path / "basis.npz"
    protocol.basis.save(path)
    again = Basis.load(path)
    assert again.names == ("steps", "ramp")
    for a, b in zip(again.functions, protocol.basis.functions, strict=True):
        np.testing.assert_array_equal(a, b)
    good = path.read_bytes()
    for damaged in (good[: len(good) // 2], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="^path: expected a file that Basis.save wrote, got"):
            Basis.load(path)
    with pytest.raises(ValueError, match="is not there$"):
        Basis.load(tmp_path / "absent.npz")
    for change, words in [
        (lambda f: f[:, :, :9], r"expected functions \(n, sweeps, 10\)"),
        (lambda f: 1.01 * f, "expected orthonormal functions"),
        (lambda f: np.where(f == f[3, 0, 0], np.nan, f), "expected orthonormal functions"),
    ]:
        Basis((protocol.basis.functions[0], change(protocol.basis.functions[1])), again.names).save(
            path
        )
        with pytest.raises(ValueError, match=f"ramp: {words}"):
            Basis.load(path)


def test_a_damaged_file_of_channels_is_refused(data, tmp_path, monkeypatch):
    whole = data(channels.FITS).read_bytes()
    monkeypatch.setenv("JAXSBI_DATA", str(tmp_path))
    monkeypatch.setattr(channels, "standard", lambda: ())
    path = tmp_path / channels.FITS
    path.parent.mkdir()
    for damaged in (whole[: len(whole) // 2], whole[:-40], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match="^path: expected an .npz with theta and names"
        ) as error:
            channels.default_protocol()
        assert "\n" not in str(error.value)


def test_bad_channels_are_refused(protocol):
    with pytest.raises(ValueError, match=r"^thetas: expected shape \(m, 8\)"):
        channels.fit_basis(channels.NOMINAL, protocol.clamps)
    with pytest.raises(ValueError, match="^thetas: expected at least 10 channels .* of rank 3"):
        channels.fit_basis(near_nominal(3), protocol.clamps)
    with pytest.raises(ValueError, match="the one to steps of broken is not; leave these out"):
        broken = np.concatenate([near_nominal(10), [[0, 0, 0, -1, 0, 0, 0, 0]]])
        channels.fit_basis(broken, protocol.clamps, [*"abcdefghij", "broken"])
    for labels in (["a"], [*"abcd"]):
        with pytest.raises(ValueError, match=f"^labels: expected 3, .* got {len(labels)}"):
            channels.fit_basis(near_nominal(3), protocol.clamps, labels)
