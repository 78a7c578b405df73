"""Streamed bursts, cycles and plateaus against lists of bursts, on trains made to be awkward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rhythm

from simulators import stg

CLOCK = stg.Protocol(duration=6000.0, burn_in=300.0, dt=0.1)


@pytest.fixture(scope="module")
def summarise():
    """Outcome of voltages (rows, 3, n), in one compilation."""
    return jax.jit(jax.vmap(lambda v: stg.summarise(stg.Trace(v, CLOCK))))


def train(rng, regular):
    """A voltage whose spikes come in bursts with gaps at, just below and just above the limits."""
    v, t = np.full(CLOCK.samples, -55.0), rng.uniform(0, 800)
    period = rng.uniform(500, 1200)
    while t < CLOCK.duration:
        awkward = [0.2, 0.3, 0.1, 0.1, 0.15, 0.05, 0.05, 0.05]
        gaps = rng.choice(
            [5.0, 20, 40, 40.1, 60, 149.9, 150, 150.1],
            size=rng.integers(2, 6) if regular else rng.integers(1, 9),
            p=[0, 0.2, 0.2, 0.2, 0.4, 0, 0, 0] if regular else awkward,
        )
        spikes = t + np.r_[0, np.cumsum(gaps)]
        for spike in spikes:
            i, width = round(spike / CLOCK.dt), rng.integers(0, 4)
            top = v[i : i + width + 1]
            top[:] = 20 + rng.integers(0, 2, len(top))
            if rng.random() < 0.3:
                v[i + width + 1 : i + width + 1 + rng.integers(1, 300)] = -20  # a plateau
        quiet = rng.choice([149.9, 150, 150.1, 200, rng.uniform(150, 900)])
        t = t + period * rng.uniform(0.95, 1.05) if regular else spikes[-1] + quiet
    return v


def trains(rows, seed):
    rng = np.random.default_rng(seed)
    v = np.stack([[train(rng, row % 2 == 0) for _ in range(3)] for row in range(rows)])
    for row in range(0, rows, 3):  # one train, shifted: mostly triphasic
        shift = rng.integers(10_000, 40_000)
        v[row, 0] = train(rng, True)
        v[row, 1], v[row, 2] = np.roll(v[row, 0], shift), np.roll(v[row, 0], 2 * shift)
    for row in range(0, rows, 5):  # starts that coincide, or nearly
        v[row, 1] = v[row, 0]
    for row in range(0, rows, 7):
        v[row, 2] = np.roll(v[row, 0], rng.integers(-3, 4))
    return v.astype(np.float32)


def test_streamed_equals_lists_of_bursts(summarise):
    v = trains(128, seed=0)
    streamed = summarise(jnp.asarray(v))
    listed = [rhythm.features(row, CLOCK.dt, CLOCK.start, CLOCK.samples) for row in v]
    expected = np.stack([x for x, _ in listed])
    triphasic = np.isfinite(expected[:, 4])
    assert 10 < triphasic.sum() < 100 and 2 < sum(p for _, p in listed) < 100
    np.testing.assert_allclose(streamed.features, expected, rtol=1e-6)
    np.testing.assert_array_equal(streamed.pyloric, [p for _, p in listed])


def voltage(*spikes, plateau=(0, 0)):
    """−55 mV with spikes of one sample at times in ms, and −20 mV over a stretch of time."""
    v = np.full(CLOCK.samples, -55.0, np.float32)
    v[round(plateau[0] / CLOCK.dt) : round(plateau[1] / CLOCK.dt)] = -20
    v[np.rint(np.array(spikes) / CLOCK.dt).astype(int)] = 20
    return v


def burst(t, duration):
    return tuple(np.linspace(t, t + duration, 3 + int(duration // 100)))


def regular(offset, duration, extra=()):
    return voltage(*(s for k in range(5) for s in burst(500 + 1000 * k + offset, duration)), *extra)


CASES = {
    "rhythm": (regular(0, 200), regular(450, 180), regular(700, 240)),
    # LP's and PY's bursts outlast PM's next start: they still belong to the cycle they began in.
    "long": (regular(0, 200), regular(450, 700), regular(500, 720)),
    "PY first": (regular(0, 200), regular(700, 240), regular(450, 180)),
    "dropped": (regular(0, 200), regular(450, 40.0), regular(700, 240)),
    "silent": (voltage(), voltage(3000.0), voltage(100.0, 120.0, 140.0, 160.0)),
    "plateau": (
        voltage(*burst(1000, 60), *burst(3000, 60), 5000.0, plateau=(1000.0, 1030.0)),
        voltage(*burst(1000, 60), *burst(3000, 60), plateau=(3060.1, 3400.0)),
        voltage(*burst(1000, 60), 3000.0, plateau=(2000.0, 2700.0)),
    ),
}


def test_features_of_simple_rhythms(summarise):
    out = summarise(jnp.asarray(np.stack([np.stack(v) for v in CASES.values()])))
    x = dict(zip(CASES, np.asarray(out.features, float), strict=True))
    pyloric = dict(zip(CASES, np.asarray(out.pyloric), strict=True))
    time = [1000, 200, 180, 240, 250, 70, 450, 700]
    phases = [0.2, 0.18, 0.24, 0.25, 0.07, 0.45, 0.7]
    np.testing.assert_allclose(x["rhythm"], [*time, *phases, 2.5, 2.5, 2.5], rtol=1e-5)
    np.testing.assert_allclose(x["long"][:8], [1000, 200, 700, 720, 250, -650, 450, 500], rtol=1e-5)
    assert pyloric["rhythm"] and pyloric["long"] and not pyloric["PY first"]
    assert np.isfinite(x["PY first"]).all()  # triphasic all the same
    nan = np.isnan(x["dropped"])
    np.testing.assert_array_equal(np.flatnonzero(nan), [2, 4, 5, 6, 7, 9, 11, 12, 13, 14, 17 - 1])
    assert np.isnan(x["silent"]).all() and not pyloric["silent"]
    # 30 ms in one of two bursts; one after the last spike of the last burst; one before the last
    # spike of all, which is in no burst.
    np.testing.assert_allclose(x["plateau"][15:], [15, 2.5, 700], rtol=0.02)


def test_window_cuts_what_is_outside(summarise):
    # Spikes up to 300 ms are burn-in: the first burst that counts starts at 350 ms.
    v = voltage(200.0, 250.0, 300.0, 350.0, 400.0, 450.0)
    x = np.asarray(summarise(jnp.asarray(np.stack([v] * 3))[None]).features)[0]
    np.testing.assert_allclose(x[1:4], 100, rtol=1e-6)
