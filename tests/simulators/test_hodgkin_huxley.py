"""The Hodgkin–Huxley neuron against published traces and features, its own trace, and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import CELLS
from scipy import stats

from simulators import hodgkin_huxley as hh

LOW = np.array([p.low for p in hh.PARAMETERS])
HIGH = np.array([p.high for p in hh.PARAMETERS])


def prior_draws(n, seed=0):
    return np.random.default_rng(seed).uniform(LOW, HIGH, (n, 8))


@jax.jit
def many(keys, theta):
    """Features of many runs, 128 lanes at a time."""
    return jax.lax.map(lambda a: hh.simulate(*a), (keys, theta), batch_size=128)


def offline(voltage, protocol):
    """The seven features in NumPy and float64, from their definitions."""
    v, dt, time = np.asarray(voltage, float), protocol.dt, np.asarray(protocol.time)
    on, off = float(protocol.t_on), float(protocol.t_off)
    rest, late = v[time < on - dt / 20], v[(time >= 0.9 * on - dt / 20) & (time < on - dt / 20)]
    inside = (time > on + dt / 20) & (time < off - dt / 20)
    w = v[inside]
    d = w - w.mean()
    m2, m3, m4 = (np.mean(d**k) for k in (2, 3, 4))
    peak = np.zeros(len(v), bool)
    peak[1:-1] = (v[:-2] <= v[1:-1]) & (v[1:-1] > v[2:]) & (v[1:-1] > -10)
    at = np.flatnonzero(peak & inside)
    count = len(at[:1]) + np.sum(np.diff(at) > round(0.5 / dt))
    return np.array([count, rest.mean(), late.std(), w.mean(), m2, m3 / m2**1.5, m4 / m2**2])


def recording(data, cell):
    area, sweep, _ = CELLS[cell]
    r = np.load(data(f"allen/cell_{cell}_sweep_{sweep}.npz"))
    voltage = r["voltage_mv"] - 14
    protocol = hh.Protocol(
        r["current_ua"] / area,
        v0=voltage[0],
        t_on=float(r["t_on_ms"]),
        t_off=float(r["t_off_ms"]),
        dt=float(r["dt_ms"]),
    )
    return hh.Trace(voltage, protocol), CELLS[cell].features


@pytest.mark.parametrize("double", [False, True])
def test_published_run_without_noise(data, double, record_property):
    reference, noisy = np.load(data("hh/deterministic.npz")), np.load(data("hh/noisy.npz"))
    sd = noisy["prior_features"].std(0)
    with jax.enable_x64(double):
        keys = jax.random.split(jax.random.key(0), 32)
        theta = jnp.asarray(reference["theta"])
        x = np.asarray(jax.jit(jax.vmap(hh.simulate))(keys, theta))
        voltage = np.asarray(jax.jit(jax.vmap(hh.trace))(keys, theta).voltage)
    np.testing.assert_array_equal(x[:, 0], reference["features"][:, 0])
    gap = np.abs(x - reference["features"])[:, 1:] / sd[1:]
    assert gap.max() < (1e-8 if double else 3e-3), gap.max(0)
    rms = np.sqrt(np.mean((voltage[:, ::10] - reference["voltage_mv"]) ** 2, 1))
    spiking = reference["features"][:, 0] > 0
    record_property("features apart [sd]", float(gap.max()))
    record_property("rms silent, spiking [mV]", f"{rms[~spiking].max()}, {rms[spiking].max()}")
    assert rms[~spiking].max() < (1e-4 if double else 0.01)
    assert rms[spiking].max() < (1e-4 if double else 0.2)


def test_published_distribution_with_noise(data, record_property):
    reference = np.load(data("hh/noisy.npz"))
    keys = jax.random.split(jax.random.key(1), 1000)
    counts = np.asarray(many(keys, reference["prior_theta"].astype(np.float32)))[:, 0]
    off = np.abs(counts - reference["prior_features"][:, 0])
    record_property("spike counts equal, most apart", f"{np.mean(off == 0)}, {off.max()}")
    assert np.mean(off == 0) >= 0.96 and off.max() <= 3, (np.mean(off == 0), off.max())

    keys = jax.random.split(jax.random.key(2), 4096)
    fresh = np.asarray(many(keys, jnp.asarray(prior_draws(4096), jnp.float32)))
    assert np.isfinite(fresh).all()
    p = [
        stats.ks_2samp(a, b).pvalue
        for a, b in zip(fresh.T, reference["prior_features"].T, strict=True)
    ]
    holm = np.sort(p) * np.arange(len(p), 0, -1)
    record_property("Kolmogorov–Smirnov, p after Holm", float(holm.min()))
    assert holm.min() > 0.01, p

    keys = jax.random.split(jax.random.key(3), 1024)
    truth = np.tile(reference["theta_true"].astype(np.float32), (1024, 1))
    ours, theirs = np.asarray(many(keys, truth)).astype(float), reference["repeat_features"]
    assert np.all(ours[:, 0] == 5)
    ours, theirs = ours[:, 1:], theirs[:, 1:]
    error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs))
    z = (ours.mean(0) - theirs.mean(0)) / error
    ratio = ours.std(0) / theirs.std(0)
    record_property("at the truth: largest |z|", float(np.abs(z).max()))
    record_property("at the truth: ratios of sds", f"{ratio.min()} to {ratio.max()}")
    assert np.all(np.abs(z) < 4), z
    assert np.all((ratio > 0.8) & (ratio < 1.3)), ratio


@pytest.mark.parametrize("cell", CELLS)
def test_features_of_recorded_cells(data, cell):
    trace, expected = recording(data, cell)
    x = np.asarray(hh.features(trace))
    assert x[0] == expected[0]
    # The published numbers have four to five digits; the resting sd three or four decimals.
    rounding = np.maximum(5e-5 * np.abs(expected), np.eye(7)[2] * 5.1e-5)
    assert np.all(np.abs(x - expected) <= rounding), x
    np.testing.assert_allclose(x, offline(trace.voltage, trace.protocol), rtol=2e-5)


def test_streamed_features_equal_those_of_the_trace():
    theta = jnp.asarray(prior_draws(256, seed=5), jnp.float32)
    keys = jax.random.split(jax.random.key(5), 256)
    streamed = np.asarray(jax.jit(jax.vmap(hh.simulate))(keys, theta))
    traces = jax.jit(jax.vmap(hh.trace, out_axes=hh.Trace(0, None)))(keys, theta)
    again = np.asarray(jax.vmap(lambda v: hh.features(hh.Trace(v, hh.DEFAULT)))(traces.voltage))
    exact = np.stack([offline(v, hh.DEFAULT) for v in np.asarray(traces.voltage)])
    for x in (streamed, again):
        np.testing.assert_array_equal(x[:, 0], exact[:, 0])
        np.testing.assert_allclose(x, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "duration, dt",
    [
        (37.03, 0.01),
        pytest.param(52.0, 0.02, marks=pytest.mark.slow),
        pytest.param(6.1, 0.1, marks=pytest.mark.slow),
    ],
)
def test_any_length_and_step(duration, dt):
    protocol = hh.step(5.0, t_on=1.0, t_off=duration - 1, duration=duration, dt=dt, v0=-65.0)
    theta = jnp.asarray(hh.NOMINAL, jnp.float32)
    x = hh.simulate(jax.random.key(0), theta, protocol)
    trace = hh.trace(jax.random.key(0), theta, protocol)
    assert trace.voltage.shape == trace.time.shape == trace.current.shape
    assert trace.voltage[0] == -65 and np.isclose(trace.time[-1], duration)
    np.testing.assert_allclose(x, offline(trace.voltage, protocol), rtol=1e-4, atol=1e-5)


def test_a_run_that_diverged_has_no_features_at_all():
    protocol = hh.step(5.0, t_on=2.0, t_off=4.0, duration=6.0, dt=0.05)
    voltage = -70 + np.sin(np.asarray(protocol.time))
    assert np.isfinite(hh.features(hh.Trace(voltage, protocol))).all()
    for bad in (np.nan, np.inf, -np.inf):
        for when in (0, 20, 60, 100):
            broken = np.where(np.arange(len(voltage)) == when, bad, voltage)
            assert np.isnan(hh.features(hh.Trace(broken, protocol))).all()


def test_rows_do_not_depend_on_the_batch():
    theta = jnp.asarray(prior_draws(300, seed=1), jnp.float32)
    keys = jax.random.split(jax.random.key(4), 300)
    protocol = hh.step(4.0, t_on=2.0, t_off=28.0, duration=30.0)

    run = jax.jit(jax.vmap(lambda k, t: hh.simulate(k, t, protocol)))
    whole = np.asarray(run(keys, theta))
    for size in (7, 128):
        parts = [run(keys[i : i + size], theta[i : i + size]) for i in range(0, 2 * size, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole[: 2 * size])
    # Batches of one to three are compiled as scalars, whose sums XLA may contract in another way.
    np.testing.assert_allclose(run(keys[:2], theta[:2]), whole[:2], rtol=2e-6)


def test_cells_share_a_compilation():
    traced = []

    @jax.jit
    def run(key, theta, protocol):
        traced.append(None)
        return hh.simulate(key, theta, protocol)

    def protocol(amplitude, t_on, v0):
        return hh.step(amplitude, t_on=t_on, t_off=18.0, duration=20.0, v0=v0)

    three = [protocol(2.0, 4.0, -70.0), protocol(3.0, 5.5, -66.0), protocol(8.0, 2.0, -80.5)]
    theta = jnp.asarray(hh.NOMINAL, jnp.float32)
    single = [run(jax.random.key(0), theta, p) for p in three]
    assert len(traced) == 1
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *three)
    together = jax.vmap(hh.simulate, (None, None, 0))(jax.random.key(0), theta, stacked)
    np.testing.assert_allclose(together, np.stack(single), rtol=1e-4, atol=1e-5)


# Of a derivative: central, and from above, where the noise σ ≥ 0 is zero.
STENCIL, WEIGHTS = ((-1, 1), (0, 1, 2)), (np.array([-0.5, 0.5]), np.array([-1.5, 2.0, -0.5]))


def test_gradient_equals_central_differences(float64):
    # A silent, a spiking and a fast-spiking neuron, without noise.
    thetas = np.array(
        [hh.NOMINAL, [20, 3, 0.4, 0.3, 900, 55, 0, 80], [70, 9, 0.2, 0.01, 90, 62, 0, 65]]
    )
    thetas[:, 6] = 0
    key = jax.random.key(0)
    f = jax.jit(jax.vmap(lambda t: hh.simulate(key, t)))
    jacobian = np.asarray(jax.jit(jax.vmap(jax.jacrev(lambda t: hh.simulate(key, t))))(thetas))
    assert np.all(jacobian[:, 0] == 0)  # the spike count
    step = 1e-6 * np.maximum(np.abs(hh.NOMINAL), 1e-2)
    for i in range(8):
        at = [np.asarray(f(thetas + k * step[i] * np.eye(8)[i])) for k in STENCIL[i == 6]]
        difference = WEIGHTS[i == 6] @ np.stack(at, axis=1) / step[i]
        scale = np.abs(jacobian).max(2)[:, 1:]
        gap = np.abs(jacobian[:, 1:, i] - difference[:, 1:])
        assert np.all(gap < 1e-4 * np.abs(difference[:, 1:]) + 1e-5 * scale), (i, gap / scale)


@pytest.mark.slow
def test_gradients_are_finite_over_the_prior():
    theta = jnp.asarray(prior_draws(64, seed=2), jnp.float32)
    keys = jax.random.split(jax.random.key(6), 64)
    protocol = hh.step(3.2, t_on=5.0, t_off=35.0, duration=40.0)
    jacobian = jax.vmap(jax.jacrev(lambda t, k: hh.simulate(k, t, protocol)))(theta, keys)
    assert np.isfinite(jacobian).all()


def temporary(f, milliseconds):
    """Bytes of intermediates of f(key, theta, protocol), beside the stimulus and its copy."""
    protocol = hh.step(3.2, t_on=1.0, t_off=9.0, duration=milliseconds)
    protocol = jax.tree.map(jnp.asarray, protocol)
    lowered = jax.jit(f).lower(jax.random.key(0), jnp.asarray(hh.NOMINAL), protocol)
    used = lowered.compile().memory_analysis().temp_size_in_bytes
    return used - 8 * protocol.samples


def test_memory_of_a_run_does_not_grow_with_its_length():
    assert temporary(hh.simulate, 160.0) <= 1.05 * temporary(hh.simulate, 20.0) + 4096


@pytest.mark.slow
def test_memory_of_a_gradient_grows_less_than_its_length():
    def gradient(k, t, p):
        return jax.grad(lambda t: hh.simulate(k, t, p)[3])(t)

    assert temporary(gradient, 160.0) < 4 * temporary(gradient, 20.0)
