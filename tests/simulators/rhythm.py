"""The 18 features of a pyloric rhythm in NumPy, from lists of bursts.

For a voltage near by, moved so little that no event changes its sample, they can be made of times
between samples, where its parabola has its vertex and its chord passes the plateau's level.
"""

import numpy as np


def bursts(v, dt, start, stop):
    """[(first, last)] spikes of the bursts longer than 40 ms, and the last spike, as samples."""
    v = v[start:stop]
    at = 1 + np.flatnonzero((v[1:-1] > -10) & (v[1:-1] >= v[:-2]) & (v[1:-1] >= v[2:]))
    if len(at) == 0:
        return [], None
    cuts = np.flatnonzero(np.diff(at) * dt >= 150 - dt / 20)
    firsts, lasts = at[np.r_[0, cuts + 1]], at[np.r_[cuts, len(at) - 1]]
    kept = [(a, b) for a, b in zip(firsts, lasts, strict=True) if (b - a) * dt > 40 + dt / 20]
    return kept, at[-1]


def vertex(v, i):
    """Time of the crest at sample i [samples], of the parabola through three samples."""
    return i + (v[i - 1] - v[i + 1]) / 2 / (v[i - 1] - 2 * v[i] + v[i + 1])


def passage(v, i, rising, moved):
    """Time at which the chord passes −30 mV last before sample i [samples]."""
    high = v[: i + 1] > -30
    j = np.flatnonzero(high[1:] & ~high[:-1] if rising else high[:-1] & ~high[1:])[-1]
    return j + (-30 - moved[j]) / (moved[j + 1] - moved[j])


def longest_plateau(v, first, end, stride, moved):
    """Samples in the longest run above −30 mV from a first spike, over before the end.

    A whole number of strides; if moved, the time from the passage up, or the spike, to that down.
    """
    best, extent, run, begun = 0, 0.0, 0, first
    for i in range(first, end, stride):
        if v[i] > -30:
            begun, run = begun if run else i, run + 1
        else:
            if run > best and moved is not None:
                at_spike = begun == first
                start = vertex(moved, begun) if at_spike else passage(v, begun, True, moved)
                extent = passage(v, i, False, moved) - start
            best, run = max(best, run), 0
    return best * stride if moved is None else extent


def mean(values):
    return np.mean(values) if len(values) else np.nan


def features(voltage, dt, start, stop, moved=None):
    """(18 features, pyloric) of voltages (3, n); `moved`: take times between samples from these."""
    found = [bursts(v, dt, start, stop) for v in voltage]
    voltage = [v[start:stop] for v in voltage]
    moved = [None] * 3 if moved is None else [v[start:stop] for v in moved]
    timed = [
        [tuple(i if v is None else vertex(v, i) for i in burst) for burst in kept]
        for v, (kept, _) in zip(moved, found, strict=True)
    ]
    pm, lp, py = timed
    period = mean(np.diff([a for a, _ in pm])) * dt if len(pm) > 1 else np.nan
    durations = [mean([b - a for a, b in kept]) * dt for kept in timed]

    stride, plateaus = max(1, round(0.25 / dt)), []
    for v, w, (kept, last) in zip(voltage, moved, found, strict=True):
        ends = ([a for a, _ in kept] + [last])[1:]
        runs = [longest_plateau(v, a, e, stride, w) for (a, _), e in zip(kept, ends, strict=True)]
        value = mean(runs) * dt
        plateaus.append(2.5 if value < 5 else value)

    cycles, triphasic = 0, []
    for (a, b), (c, _) in zip(pm[:-1], pm[1:], strict=True):
        cycles += 1
        mine = [[x for x in kept if a <= x[0] < c] for kept in (lp, py)]
        if all(len(m) == 1 for m in mine):
            triphasic.append(((a, b), mine[0][0], mine[1][0]))
    good = cycles > 0 and len(triphasic) >= 0.9 * cycles - 1e-9
    among = triphasic if good else []
    gaps = [mean([x[0] - p[1] for p, x, _ in among]), mean([y[0] - x[1] for _, x, y in among])]
    delays = [mean([x[0] - p[0] for p, x, _ in among]), mean([y[0] - p[0] for p, _, y in among])]
    gaps, delays = np.multiply(gaps, dt), np.multiply(delays, dt)
    ordered = [x[0] <= y[0] and x[1] <= y[1] and p[1] <= x[0] for p, x, y in among]
    pyloric = good and np.mean(ordered) >= 0.7 - 1e-9
    phases = np.concatenate([durations, gaps, delays]) / period
    return np.array([period, *durations, *gaps, *delays, *phases, *plateaus]), pyloric
