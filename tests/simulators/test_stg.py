"""The pyloric network against published traces and features, its own trace, and NumPy."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rhythm

from simulators import stg

LOW, HIGH = (np.array([getattr(p, side) for p in stg.PARAMETERS]) for side in ("low", "high"))
SHORT = stg.Protocol(duration=300.0, burn_in=50.0)
LANES = 128


def prior_draws(n, seed=0):
    return np.random.default_rng(seed).uniform(LOW, HIGH, (n, 31))


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.fixture(scope="module")
def outcomes():
    """Outcomes of many circuits under the default protocol, 128 at a time on every core."""
    one = jax.jit(jax.vmap(stg.outcome))

    def run(keys, theta):
        n, fill = len(theta), -len(theta) % LANES
        theta = jnp.asarray(np.pad(theta, ((0, fill), (0, 0)), mode="edge"), jnp.float32)
        keys = keys[np.r_[np.arange(n), np.zeros(fill, int)]]
        one(keys[:LANES], theta[:LANES])
        with ThreadPoolExecutor(2) as pool:
            parts = pool.map(
                lambda i: jax.block_until_ready(one(keys[i : i + LANES], theta[i : i + LANES])),
                range(0, n + fill, LANES),
            )
            return jax.tree.map(lambda *a: np.concatenate(a)[:n], *parts)

    return run


def test_bounds_are_the_published_prior(data):
    reference = np.load(data("stg/circuits.npz"))
    np.testing.assert_allclose(LOW, reference["prior_low"], rtol=1e-12)
    np.testing.assert_allclose(HIGH, reference["prior_high"], rtol=1e-12)
    assert np.all((stg.NOMINAL > LOW) & (stg.NOMINAL < HIGH))


def spikes(v):
    return 1 + np.flatnonzero((v[1:-1] > -10) & (v[1:-1] >= v[:-2]) & (v[1:-1] > v[2:]))


@pytest.fixture(scope="module")
def quiet(data):
    """V (4, 3, n) of the published circuits without noise over 3 s, by precision."""
    theta = np.load(data("stg/deterministic.npz"))["theta"]
    clock = stg.Protocol(duration=3000.0, burn_in=1000.0, noise=0.0)

    def run(double):
        with jax.enable_x64(double):
            f = jax.jit(jax.vmap(lambda k, t: stg.trace(k, t, clock).voltage))
            return np.asarray(f(keys(4), jnp.asarray(theta, float)), float)

    return {double: run(double) for double in (True, False)}


def test_published_run_without_noise(data, quiet, record_property):
    reference = np.load(data("stg/deterministic.npz"))["voltage_mv"]
    rms = np.sqrt(np.mean((quiet[True][:, :, ::20] - reference) ** 2, 2))
    record_property("rms [mV]", float(rms.max()))
    assert rms.max() < 1e-3, rms


def burst_starts(v):
    return np.array([a for a, _ in rhythm.bursts(v, 0.025, 0, len(v))[0]])


def test_single_precision_keeps_time(quiet, record_property):
    first = slice(0, 40_000)
    rms = np.sqrt(np.mean((quiet[False] - quiet[True])[:, :, first] ** 2, 2))
    record_property("rms [mV]", float(rms.max()))
    assert rms.max() < 1, rms
    late = []
    traces = (quiet[double].reshape(12, -1) for double in (False, True))
    for single, double in zip(*traces, strict=True):
        for events in (spikes, burst_starts):
            at, expected = events(single), events(double)
            assert len(at) == len(expected) > 0
            late.append(np.abs(at - expected).max() * 0.025)
    record_property("spikes and bursts apart [ms]", float(max(late)))
    assert max(late) < 1.5, late


def compare(theta, seed, clock):
    """Streamed, replayed and listed outcomes of the same runs must agree; returns the last."""
    streamed = jax.jit(jax.vmap(lambda k, t: stg.outcome(k, t, clock)))
    traced = jax.jit(jax.vmap(lambda k, t: stg.trace(k, t, clock).voltage))
    replayed = jax.jit(jax.vmap(lambda v: stg.summarise(stg.Trace(v, clock))))
    n, size, every = len(theta), min(len(theta), 32), []
    for i in range(0, n, size):
        k, t = keys(n, seed)[i : i + size], jnp.asarray(theta[i : i + size], jnp.float32)
        a, v = streamed(k, t), traced(k, t)
        b = replayed(v)
        np.testing.assert_array_equal(a.features, b.features)
        np.testing.assert_array_equal(a.pyloric, b.pyloric)
        for row, x, flag in zip(np.asarray(v), a.features, a.pyloric, strict=True):
            expected, pyloric = rhythm.features(row, clock.dt, clock.start, clock.samples)
            np.testing.assert_allclose(x, expected, rtol=1e-6)
            assert flag == pyloric
            every.append(expected)
    return np.stack(every)


def test_streamed_features_equal_those_of_the_trace(data):
    reference = np.load(data("stg/circuits.npz"))
    theta = np.concatenate([reference["path_theta"][::10], prior_draws(20)])
    x = compare(theta, 1, stg.Protocol(duration=2500.0, burn_in=100.0))
    assert np.isfinite(x[:4]).all() and np.isnan(x[4:]).any(0)[4]


@pytest.mark.slow
def test_streamed_features_equal_those_of_the_trace_in_full(data):
    reference = np.load(data("stg/circuits.npz"))
    theta = [reference["path_theta"], reference["orthogonal_theta"], prior_draws(320, seed=7)]
    x = compare(np.concatenate(theta), 2, stg.DEFAULT)
    assert 0.3 < np.isfinite(x[53:, 0]).mean() < 0.56


@pytest.mark.slow
def test_published_distribution_with_noise(data, outcomes, record_property):
    reference, repeats = np.load(data("stg/circuits.npz")), 12
    path, aside = reference["path_theta"], reference["orthogonal_theta"]
    theta = np.repeat(np.concatenate([path, aside]), repeats, axis=0)
    out = outcomes(keys(len(theta), 3), theta)
    x = out.features.reshape(53, repeats, 18).astype(float)
    pyloric = out.pyloric.reshape(53, repeats)
    along, first, last = (pyloric[part].mean() for part in (np.s_[:40], np.s_[40:45], np.s_[-5:]))
    record_property("pyloric on the path", float(along))
    record_property("pyloric on the orthogonal path, first and last", f"{first:.3f}, {last:.3f}")
    assert along >= 0.88 and first >= 0.40 and last <= 0.25, pyloric.mean(1)
    for j in range(15):
        z = []
        for ours, theirs in zip(x[:40, :, j], reference["path_features"][:, :, j], strict=True):
            ours, theirs = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
            if min(len(ours), len(theirs)) < 4:
                continue
            error = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
            z.append((ours.mean() - theirs.mean()) / error)
        z = np.array(z)
        name = stg.FEATURES[j].name
        assert len(z) >= 30, name
        scaled, rms = abs(z.mean()) * np.sqrt(39), np.sqrt(np.mean(z**2))
        record_property(name, f"|mean z| √39 = {scaled:.2f}, rms z = {rms:.2f}")
        assert scaled < 4 and 0.7 < rms < 1.6, (name, scaled, rms)


def test_rows_do_not_depend_on_the_batch_and_bad_rows_are_nan():
    theta = jnp.asarray(prior_draws(64, 3), jnp.float32).at[5, 0].set(-1.0).at[9, 30].set(jnp.nan)
    clock = stg.Protocol(duration=700.0, burn_in=0.0)
    run = jax.jit(jax.vmap(lambda k, t: stg.outcome(k, t, clock)))
    whole = run(keys(64), theta)
    part = run(keys(64)[32:], theta[32:])
    np.testing.assert_array_equal(whole.features[32:], part.features)
    bad = np.isin(np.arange(64), [5, 9])
    assert np.isnan(whole.features[bad]).all() and not whole.pyloric[bad].any()
    assert np.isfinite(whole.features[~bad]).any(1).mean() > 0.3


def temporary(milliseconds, rows=64):
    clock = stg.Protocol(duration=milliseconds, burn_in=10.0)
    run = jax.jit(jax.vmap(lambda k, t: stg.outcome(k, t, clock)))
    lowered = run.lower(keys(rows), jnp.zeros((rows, 31), jnp.float32))
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_of_a_run_does_not_grow_with_its_length():
    short, long = temporary(500.0), temporary(2000.0)
    assert abs(long / short - 1) < 0.05, (short, long)


BAD_PROTOCOLS = [
    ("dt", dict(dt=0.0)),
    ("dt", dict(dt=0.13)),  # sodium's activation takes 0.12 ms
    ("dt", dict(dt=0.06, temperature=293.0)),
    ("duration, burn_in", dict(duration=100.0)),
    ("duration, burn_in", dict(burn_in=-1.0)),
    ("duration", dict(duration=1000.03)),
    ("duration", dict(duration=5e5)),
    ("temperature", dict(temperature=20.0)),
    ("noise", dict(noise=-1.0)),
]


@pytest.mark.parametrize("name, change", BAD_PROTOCOLS)
def test_bad_protocols_are_refused(name, change):
    with pytest.raises(ValueError, match=f"^{name}: expected .* got"):
        stg.Protocol(**change)


def test_bad_arguments_are_refused():
    key, theta = keys(1)[0], stg.NOMINAL
    with pytest.raises(ValueError, match=r"^theta: expected shape \(31,\) .* got \(30,\)"):
        stg.simulate(key, theta[:30], SHORT)
    with pytest.raises(ValueError, match="^theta: expected g_Kd PM ≥ 0 .* got -2"):
        stg.simulate(key, np.r_[theta[:5], -2.0, theta[6:]], SHORT)
    with pytest.raises(ValueError, match="^theta: expected ln g PM-LP glut between .* got nan"):
        stg.trace(key, np.r_[theta[:24], np.nan, theta[25:]], SHORT)
    with pytest.raises(ValueError, match="^protocol: expected"):
        stg.simulate(key, theta, 11_000.0)
    with pytest.raises(ValueError, match="^protocol.temperature: expected one number"):
        stg.simulate(key, theta, stg.Protocol(temperature=jnp.full(3, 283.0)))
    with pytest.raises(ValueError, match=r"^trace.voltage: expected shape \(3, 12000\)"):
        stg.features(stg.Trace(jnp.zeros((3, 5)), SHORT))
    with pytest.raises(ValueError, match="^trace: expected"):
        stg.features(jnp.zeros((3, 12000)))
