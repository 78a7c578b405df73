"""How much of everything the study of compensations does."""

from __future__ import annotations

from dataclasses import dataclass

from experiments import stg_presets
from experiments.presets import settings_of

ARMS = 3
"""Compensated, alone, opposed: what the second of two conductances does when the first changes."""


@dataclass(frozen=True)
class Config:
    """How much of everything. samples, points: draws and cells along each parameter of conditional
    correlations; strongest: pairs of parameters that are changed in so many circuits; steps: by how
    much the first of a pair is, in the prior's standard deviations.

    A parameter's range is 3.5 of them: by longer steps few circuits can be changed both ways.
    """

    samples: int
    points: int
    inference: stg_presets.Config
    strongest: int = 10
    circuits: int = 20
    steps: tuple[float, ...] = (0.5, 1.0, 1.5)

    @property
    def simulations(self) -> tuple[int, ...]:
        """Of each round of the inference, and of the check at most."""
        checks = (ARMS * len(self.steps) + 1) * self.strongest * self.circuits
        return *self.inference.simulations, checks

    @property
    def settings(self) -> dict[str, object]:
        """What tells the run from others, of the inference too."""
        own = {n: v for n, v in vars(self).items() if n != "inference"}
        return own | {"inference": settings_of(self.inference)}


def _of(preset: str, samples: int, points: int, **more: object) -> Config:
    return Config(samples, points, stg_presets.PRESETS[preset], **more)


PRESETS = {
    "smoke": _of("smoke", 2, 5, strongest=2, circuits=4, steps=(1.0,)),
    "laptop": _of("laptop", 100, 20),
    "overnight": _of("overnight", 200, 30, strongest=20, circuits=40),
    "gpu": _of("gpu", 500, 50, strongest=20, circuits=100),
    "paper": _of("paper", 500, 50, strongest=20, circuits=100),
}
