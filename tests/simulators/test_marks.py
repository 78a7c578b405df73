"""Marks of spikes and bursts in pictures: as many, and as long, as the features say."""

import jax
import numpy as np
import pytest
import rhythm

from simulators import hodgkin_huxley as hh
from simulators import stg
from simulators._drawings import DRAWINGS
from simulators._marks import bursts, spikes

plt = pytest.importorskip("matplotlib.pyplot")
LASTING = 1500.0  # ms, of which a fifth is burn-in
CLOCK = stg.Protocol(LASTING, LASTING / 5)


@pytest.mark.parametrize("t_on, t_off", [(0.3, 11.9), (0.6, 11.7), (1.15, 7.0)])
def test_marked_spikes_are_those_that_count(t_on, t_off):
    # A noisy plateau: many maxima, some at the window's edges, some just a dead time apart. In
    # floats 3 · 0.1 > 0.3, so a sample at the edge is inside the window by its time alone.
    protocol = hh.step(1.0, t_on=t_on, t_off=t_off, duration=12.0, dt=0.1)
    for seed in range(40):
        v = np.random.default_rng(seed).normal(-8, 8, protocol.samples)
        v[[2, 3, 4, 5, 6, 7]] = [-30, 20, -30, -30, 20, -30]
        at = spikes(v, protocol)
        assert len(at) == hh.features(hh.Trace(v, protocol))[0]
        assert np.all((v[at - 1] <= v[at]) & (v[at] > v[at + 1]) & (v[at] > -10))
        assert np.all((at > 10 * t_on + 0.1) & (at < 10 * t_off - 0.1))
        assert np.all(np.diff(at) > 5)


def trains(seed):
    """V (3, n): bursts of 25 to 65 ms of spikes every 5 ms, their gaps about 150 ms."""
    random, n = np.random.default_rng(seed), CLOCK.samples
    v = np.full((3, n), -60.0)
    for row in v:
        at = random.integers(0, 4000)
        while at < n:
            for _ in range(random.integers(6, 15)):
                row[at : at + 3] = [0, 20, 0][: n - at]
                at += 200
                if at >= n:
                    break
            at += 5801 + random.integers(-2, 2) if random.uniform() < 0.5 else 8000
    return v


@pytest.mark.parametrize("seed", range(3))
def test_marked_bursts_are_those_that_count(seed):
    v = trains(seed)
    found = bursts(v, CLOCK)
    for row, marked in zip(v, found, strict=True):
        expected, _ = rhythm.bursts(row, CLOCK.dt, CLOCK.start, CLOCK.samples)
        assert marked == [(CLOCK.start + a, CLOCK.start + b) for a, b in expected]
        assert len(marked) > 0
    x = stg.features(stg.Trace(v, CLOCK))
    lengths = [np.mean([b - a for a, b in marked]) * CLOCK.dt for marked in found]
    np.testing.assert_allclose(x[1:4], lengths, rtol=1e-5)


def test_the_circuit_is_drawn_with_its_bursts():
    figure = DRAWINGS["stg"](plt, jax.random.key(0), stg.NOMINAL, LASTING)
    run = stg.trace(jax.random.key(0), stg.NOMINAL, CLOCK)
    for panel, name, v in zip(figure.axes, stg.NEURONS, np.asarray(run.voltage), strict=True):
        drawn, *marks = panel.lines
        np.testing.assert_array_equal(drawn.get_ydata(), v)
        expected, _ = rhythm.bursts(v, CLOCK.dt, CLOCK.start, CLOCK.samples)
        ends = (CLOCK.start + np.array(expected)) * CLOCK.dt / 1000
        np.testing.assert_allclose([m.get_xdata() for m in marks], ends)
        mean = 1000 * np.mean([np.ptp(m.get_xdata()) for m in marks])
        assert panel.get_title(loc="right").startswith(f"burst {mean:.0f} ms"), name
    plt.close("all")


def test_the_neuron_is_drawn_with_its_spikes():
    figure = DRAWINGS["hodgkin_huxley"](plt, jax.random.key(1), hh.NOMINAL)
    v, marks = figure.axes[0].lines[:2]
    count = hh.simulate(jax.random.key(1), hh.NOMINAL)[0]
    assert len(marks.get_xdata()) == count > 0 and marks.get_label() == f"{count:.0f} spikes"
    assert np.all(np.isin(marks.get_ydata(), v.get_ydata()))
    plt.close("all")
