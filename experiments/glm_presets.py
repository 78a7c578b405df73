"""How much of everything the study of the linear–nonlinear neuron does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jaxsbi
from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.types import Estimator


class Method(NamedTuple):
    """An algorithm, the density that it trains, and how many rounds share the simulations."""

    algorithm: Algorithm
    estimator: Estimator
    rounds: int = 1


@dataclass(frozen=True)
class Config:
    """How much of everything. budgets: simulations in all of each learned posterior, abc_budgets:
    of the kinds of ABC named; draws: of each posterior, told from as many exact ones."""

    methods: dict[str, Method]
    budgets: tuple[int, ...]
    abc_budgets: tuple[int, ...]
    training: jaxsbi.Training
    draws: int = 10_000
    particles: int = 1000
    calibration: int = 1000
    abc: tuple[str, ...] = ("rejection ABC", "SMC-ABC")


# Chosen on another run of the neuron than those that are reported. nle-once, which learns the
# likelihood in one round, adds about three minutes to a laptop's run.
METHODS = {
    "npe": Method(jaxsbi.npe(), jaxsbi.ensemble(jaxsbi.maf(), members=5)),
    "apt": Method(jaxsbi.apt(), jaxsbi.mdn(components=1), rounds=5),
    "nle": Method(jaxsbi.nle(), jaxsbi.maf(), rounds=5),
    "nle-once": Method(jaxsbi.nle(), jaxsbi.maf()),
}
PRESETS = {
    "smoke": Config(
        methods={
            "npe": Method(jaxsbi.npe(), jaxsbi.mdn(components=1, hidden=(20,))),
        },
        budgets=(500,),
        abc_budgets=(500,),
        training=jaxsbi.Training(weight_decay=0.1, anneal=10, max_epochs=30),
        draws=100,
        particles=100,
        calibration=100,
        abc=("SMC-ABC",),
    ),
    "laptop": Config(METHODS, (1000, 10_000), (10_000, 1_000_000), jaxsbi.Training(), draws=5000),
    "gpu": Config(METHODS, (1000, 10_000, 100_000), (100_000, 10_000_000), jaxsbi.Training()),
    "paper": Config(
        {"npe": Method(jaxsbi.npe(), jaxsbi.mdn(components=1))},
        (10_000,),
        (10_000, 1_000_000),
        jaxsbi.Training(batch_size=100),
    ),
}
# What a preset does otherwise than its name says, for the report.
DEVIATIONS = {
    "paper": "This preset has the paper's network, one Gaussian with 50–50 hidden units, its "
    "10,000 simulations and batches of 100. The optimizer and the rule that ends a training are "
    "this library's."
}
