"""How much of everything the study of potassium channels does."""

from __future__ import annotations

from dataclasses import dataclass

import jaxsbi
from jaxsbi.types import Estimator

CLAMPS = ("activation", "inactivation", "deactivation", "action potentials", "ramps")


@dataclass(frozen=True)
class Config:
    """How much of everything. channels: to be explained, at most; detailed: of them, shown one by
    one; clamps: the protocols that they are seen under; draws, fresh: of the checks."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    channels: int = 361
    detailed: int = 4
    clamps: tuple[str, ...] = CLAMPS
    draws: int = 1000
    fresh: int = 1000


PRESETS = {
    "smoke": Config(
        simulations=200,  # as many as draws, so that they share a program
        estimator=jaxsbi.mdn(components=1, hidden=(20,)),
        training=jaxsbi.Training(weight_decay=0.1, anneal=10, max_epochs=30),
        channels=12,
        detailed=2,
        clamps=CLAMPS[3:],
        draws=200,
        fresh=200,
    ),
    "laptop": Config(
        simulations=50_000,
        estimator=jaxsbi.nsf(hidden=(128, 128)),
        training=jaxsbi.Training(
            learning_rate=3e-3, weight_decay=(1.0, 0.1), anneal=80, max_epochs=160
        ),
    ),
    "gpu": Config(
        simulations=500_000,
        estimator=jaxsbi.nsf(hidden=(128, 128)),
        training=jaxsbi.Training(
            learning_rate=3e-3, weight_decay=0.1, batch_size=2000, anneal=80, max_epochs=160
        ),
    ),
    "paper": Config(
        simulations=1_000_000,
        estimator=jaxsbi.maf(hidden=(250, 250)),
        training=jaxsbi.Training(weight_decay=0.01, batch_size=100),
    ),
}
# What a preset does otherwise than its name says, for the report.
DEVIATIONS = {
    "paper": "This preset has the paper's 1,000,000 simulations in one round, its flow of 5 blocks "
    "with 250–250 hidden units and its batches of 100. The basis of the features is fitted to the "
    "responses of the fitted models, not to those of the original ones, and the optimizer and the "
    "rule that ends a training are this library's."
}
