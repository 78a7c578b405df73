"""The channels to be explained: published ones, or draws of the prior."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jaxsbi
from simulators import channels

NEAR = 0.02
"""Share of the prior's range by which channels must differ in one parameter to be told apart."""
FAMILIES = {
    "delayed rectifier": r"kdr|^kd",
    "M current": r"km(?!l)|^im(_|min|$)|kv7",
    "Kv": r"^s?kv(?!7)",
    "inward rectifier": r"kir|inward|^kh\d?$",
    "other": "",
}
"""Families by what is in the name of a model file; the first that fits."""
DRAWN = "draws of the prior"
LOW, HIGH = (np.array([getattr(p, end) for p in channels.PARAMETERS]) for end in ("low", "high"))


class Channels(NamedTuple):
    """Names and θ (n, 8) of channels; published: whether they are models from the literature."""

    names: tuple[str, ...]
    theta: np.ndarray
    published: bool

    @property
    def families(self) -> tuple[str, ...]:
        """Of each channel, by its name."""
        return tuple(family_of(name) if self.published else DRAWN for name in self.names)

    @property
    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The first row (m,) of each θ, and of each row the number (n,) of its θ among these."""
        _, first, number = np.unique(self.theta, axis=0, return_index=True, return_inverse=True)
        return first, number.ravel()

    @property
    def inside(self) -> np.ndarray:
        """Which lie inside the prior's box (n,)."""
        return np.all((self.theta >= LOW) & (self.theta <= HIGH), axis=1)

    def examples(self, most: int) -> np.ndarray:
        """Rows inside the prior that differ clearly, those of which there are most copies first."""
        first, number = self.distinct
        copies = np.bincount(number)
        chosen: list[int] = []
        for row in first[np.argsort(-copies, kind="stable")]:
            apart = np.abs(self.theta[row] - self.theta[chosen]) / (HIGH - LOW)
            if self.inside[row] and np.all(apart.max(axis=1, initial=0.0) > NEAR):
                chosen.append(int(row))
        return np.array(chosen[:most], int)

    def some(self, most: int) -> Channels:
        """At most so many of them, evenly over all."""
        rows = np.linspace(0, len(self.names) - 1, min(most, len(self.names))).astype(int)
        return Channels(tuple(self.names[i] for i in rows), self.theta[rows], self.published)


def family_of(name: str) -> str:
    """The family that a model file such as 2488_kv.mod is of."""
    bare = re.sub(r"^\d+_|\.mod$", "", name)
    return next(family for family, pattern in FAMILIES.items() if re.search(pattern, bare, re.I))


def published(path: Path) -> Channels:
    """The channel models of a file."""
    return Channels(*channels.fits(path), True)


def drawn(key: jax.Array, prior: jaxsbi.Prior, n: int) -> Channels:
    """Channels drawn from the prior."""
    theta = np.asarray(prior.sample(key, n), float)
    return Channels(tuple(f"draw {i + 1}" for i in range(n)), theta, False)
