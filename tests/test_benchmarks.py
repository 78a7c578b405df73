"""The benchmark counts, compares like with like, and writes lines that a program can read."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from simulators import channels, stg
from simulators._basis import COMPONENTS, Basis
from simulators._gating import approach
from simulators._stages import staged
from simulators.voltage_clamp import steps

ROOT = Path(__file__).resolve().parents[1]


def test_exponentials_are_counted_as_they_are_evaluated():
    from benchmarks import _floor

    def f(x):
        _ = jnp.exp(3 * x)  # dead: the compiler drops it
        inner = staged(lambda a: approach(jnp.exp(a)), jnp.float32(1), x)  # 4 and 4
        total, _ = lax.scan(lambda s, _: (jnp.exp(s) - 1, None), inner.sum(), length=5)  # 5
        return total + jax.jit(lambda a: jnp.log(a).sum())(x)  # 4

    counted = _floor.elementary(f, jnp.ones(4, jnp.float32))
    assert counted == {"exp": 4 + 5, "approach": 4, "log": 4}


def test_the_plain_scan_of_a_channel_computes_what_the_solver_does():
    pytest.importorskip("numba")
    from benchmarks import _peers_channels

    random = np.random.default_rng(0)
    clamps = (
        steps("family", 20.0, 5.0, (np.array([-40.0, 0.0, 40.0]), 15.0)),
        steps("single", 10.0, 2.0, (50.0, 8.0)),
    )
    functions = tuple(
        np.linalg.qr(random.standard_normal((c.samples * c.sweeps, COMPONENTS)))[0].reshape(
            c.samples, c.sweeps, COMPONENTS
        )
        for c in clamps
    )
    protocol = channels.Protocol(clamps, Basis(functions, ("family", "single")))
    protocol = jax.tree.map(lambda a: jnp.asarray(a, float), protocol)
    key, theta = jax.random.key(3), jnp.asarray(channels.NOMINAL, jnp.float32)
    ours = channels.simulate(key, theta, protocol)
    plain = jax.jit(_peers_channels.plain)(key, theta, protocol)
    np.testing.assert_allclose(plain, ours, rtol=1e-5, atol=1e-5)
    quiet = channels.Protocol(protocol.clamps, protocol.basis, jnp.zeros(()))
    loop = _peers_channels.channels(theta[None], _peers_channels.arguments(quiet))[0]
    np.testing.assert_allclose(loop, channels.simulate(key, theta, quiet), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_plain_scan_of_the_circuit_computes_what_the_solver_does():
    pytest.importorskip("numba")
    from benchmarks import _peers_stg

    protocol = stg.Protocol(4000.0, 1000.0)
    key, theta = jax.random.key(3), jnp.asarray(stg.NOMINAL, jnp.float32)
    ours = stg.simulate(key, theta, protocol)
    plain = jax.jit(_peers_stg.plain)(key, theta, protocol)
    assert np.isfinite(ours).sum() > 10
    np.testing.assert_allclose(plain, ours, rtol=1e-4)


def run(*options, out):
    command = [sys.executable, str(ROOT / "benchmarks" / "simulators.py"), *options]
    command += ["--repeats", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines == [json.loads(line) for line in done.stdout.splitlines()]
    return lines


def check(lines, batches):
    numba, *others = lines
    ours = [line for line in others if line["what"] == "simulate"]
    assert [line["batch"] for line in ours] == batches
    for line in ours:
        each = numba["ns_per_neuron_step"] / line["ns_per_neuron_step"]
        assert line["ratio"] == pytest.approx(each) and line["peak_bytes_per_call"] > 0
    (best,) = (line for line in others if line["what"] == "best batch")
    rates = [1e3 / line["ms_per_simulation"] for line in ours]
    assert best["simulations_per_second"] == pytest.approx(max(rates))
    (norm, *_) = (line for line in others if line["what"].startswith("gradient's norm"))
    assert norm["finite_share"] == 1 and 0 < norm["median"] <= norm["p90"]


@pytest.mark.slow
def test_a_small_run_of_the_receptive_field(tmp_path):
    pytest.importorskip("numba")
    small = ("--model", "glm", "--batch", "4", "16", "--simulations", "64")
    lines = run(*small, out=tmp_path / "lines.jsonl")
    check(lines, [4, 16])
    (same,) = (line for line in lines if line["what"] == "numba against simulate")
    assert same["largest_z_of_the_mean"] < 5
    (precise,) = (line for line in lines if line["what"].startswith("float32"))
    assert all(gap["p99"] < 1e-5 for gap in precise["features"].values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "batch", "only"),
    [("stg", "16", "scan"), ("channels", "2", "agreement"), ("gabor", "4", "agreement")],
)
def test_the_other_models_are_measured_too(model, batch, only, tmp_path):
    pytest.importorskip("numba")
    small = ("--model", model, "--batch", batch, "--simulations", batch, "--measure", only)
    lines = run(*small, out=tmp_path / "lines.jsonl")
    assert {line["model"] for line in lines} == {model}
    assert "seconds" in lines[-1]


@pytest.mark.slow
def test_a_small_run_of_the_neuron(tmp_path):
    pytest.importorskip("numba")
    small = ("--model", "hodgkin_huxley", "--batch", "8", "--simulations", "32")
    lines = run(*small, out=tmp_path / "lines.jsonl")
    check(lines, [8])
    (same,) = (line for line in lines if line["what"] == "numba against simulate")
    assert same["median_in_prior_sds"] < 1e-3 and same["equal_spike_counts"] > 0.9
    (floor,) = (line for line in lines if line["what"].startswith("floor"))
    assert floor["taken_per_neuron_step"] == {"exp": 2, "approach": 5}
    lengths = [line["simulated_ms"] for line in lines if line["what"] == "memory"]
    peaks = [line["peak_bytes_per_call"] for line in lines if line["what"] == "memory"]
    longer = 4 * round(180 / 0.01)  # bytes of the current, which is an argument
    assert lengths == [60, 240] and peaks[1] <= peaks[0] + longer
