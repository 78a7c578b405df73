"""Sampled signals as files hold them: what can be one, and where a current steps."""

from __future__ import annotations

import math

import numpy as np


def check_samples(name: str, values: np.ndarray) -> None:
    """A ValueError unless `values` are finite samples (n,), two at least."""
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"{name}: expected samples of shape (n,), came {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"{name}: expected finite samples, came {bad.size} of {values.size} that are not, the "
            f"first at index {bad[0]}; cut them off or choose another sweep"
        )


def check_positive(name: str, value: float) -> None:
    """A ValueError unless `value` is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number above 0, came {value}")


def find_step(current: np.ndarray, dt: float) -> tuple[int, int] | None:
    """First and last index of the longest run of one constant non-zero current, None without one.

    current: (n,) in any unit, dt [ms]. Nothing may follow the step, and whatever comes before it
    must end 50 ms earlier: a test pulse does; a ramp, a train or a noise current is no step.
    """
    largest = np.max(np.abs(current), initial=0.0)
    if not 0 < largest < np.inf:
        return None
    on = np.flatnonzero(np.abs(current) > 1e-6 * largest)
    jump = (np.diff(on) > 1) | (np.abs(np.diff(current[on])) > 1e-3 * largest)
    edges = np.concatenate([[0], np.flatnonzero(jump) + 1, [len(on)]])
    longest = np.argmax(np.diff(edges))
    step = on[edges[longest] : edges[longest + 1]]
    if step[-1] != on[-1] or len(step) * dt < 1.0:
        return None
    if edges[longest] > 0 and (step[0] - on[edges[longest] - 1]) * dt < 50.0:
        return None
    if np.ptp(current[step]) > 0.01 * abs(np.mean(current[step])):
        return None
    return int(step[0]), int(step[-1])
