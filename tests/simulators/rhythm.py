"""The 18 features of a pyloric rhythm in NumPy, from lists of bursts."""

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


def longest_plateau(v, stride):
    """Samples in the longest run above −30 mV that is over before the end."""
    best = run = 0
    for high in v[::stride] > -30:
        if high:
            run += 1
        else:
            best, run = max(best, run), 0
    return best


def mean(values):
    return np.mean(values) if len(values) else np.nan


def features(voltage, dt, start, stop):
    """(18 features, pyloric) of voltages (3, n)."""
    found = [bursts(v, dt, start, stop) for v in voltage]
    pm, lp, py = (b for b, _ in found)
    period = mean(np.diff([a for a, _ in pm])) * dt if len(pm) > 1 else np.nan
    durations = [mean([b - a for a, b in kept]) * dt for kept, _ in found]

    stride, plateaus = max(1, round(0.25 / dt)), []
    for v, (kept, last) in zip(voltage, found, strict=True):
        w = v[start:stop]
        ends = ([a for a, _ in kept] + [last])[1:]
        runs = [longest_plateau(w[a:e], stride) for (a, _), e in zip(kept, ends, strict=True)]
        value = mean(runs) * stride * dt
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
