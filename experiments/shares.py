"""Shares of runs: how many of how many, and how well that is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

LEVEL = 0.95


class Share(NamedTuple):
    """hits of runs, p̂ = hits / runs."""

    hits: int
    runs: int

    @classmethod
    def of(cls, flags: np.ndarray) -> Share:
        """The share of flags that are set."""
        return cls(int(np.sum(np.asarray(flags) > 0)), int(np.size(flags)))

    @property
    def value(self) -> float:
        return self.hits / self.runs if self.runs else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (1927, J. Am. Stat. Assoc. 22:209); all of [0, 1] of no runs."""
        if not self.runs:
            return 0.0, 1.0
        found = binomtest(self.hits, self.runs).proportion_ci(LEVEL, "wilson")
        return float(found.low), float(found.high)

    @property
    def told(self) -> str:
        """34 % (30 to 38 %, 170 of 500)."""
        low, high = (f"{100 * end:.1f}" for end in self.interval)
        value = f"{100 * self.value:.1f} %" if self.runs else "none"
        return f"{value} ({low} to {high} %, {self.hits:,} of {self.runs:,})"

    @property
    def numbers(self) -> dict[str, Any]:
        """As results.json has it."""
        low, high = self.interval
        return {"share": self.value, "low_95": low, "high_95": high, **self._asdict()}
