"""How much of everything the study of receptive fields does."""

from __future__ import annotations

from dataclasses import dataclass

import jaxsbi
from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.types import Estimator


@dataclass(frozen=True)
class Config:
    """How much of everything. simulations: of each round; draws: of the posterior, told from as
    many exact ones, which are chosen among proposals of the last of several adaptations; predicted:
    draws that are simulated anew; frames, pixels: of the video."""

    simulations: int
    estimator: Estimator
    training: jaxsbi.Training
    algorithm: Algorithm = jaxsbi.apt()
    rounds: int = 2
    draws: int = 1000
    proposals: int = 40_000
    adaptations: int = 7
    predicted: int = 200
    frames: int = 12_000
    pixels: int = 41


# the field may lie anywhere; SMALL averages 3 × 3 pixels first, a period of cell 6 is eleven
SMALL = jaxsbi.cnn(channels=(16, 32, 32), shrink=3, pool=(1, 2, 1), heads=8)
LARGE = jaxsbi.cnn(channels=(32, 64, 64), shrink=2, pool=(1, 2, 1), heads=16, features=100)
# the paper's network, with a mean where it takes a maximum, and 2 × 2 pixels after each layer
DEEP = jaxsbi.cnn(channels=(16, 16, 32, 32, 32), width=3, features=50)
PRESETS = {
    "smoke": Config(
        simulations=200,
        estimator=jaxsbi.maf(1, (16,), jaxsbi.cnn((4,), 3, 8, heads=2)),
        training=jaxsbi.Training(weight_decay=0.1, anneal=5, max_epochs=10),
        draws=100,
        proposals=2000,
        predicted=40,
        frames=6000,
        pixels=11,
    ),
    "laptop": Config(
        simulations=10_000,
        estimator=jaxsbi.nsf(embedding=SMALL),
        training=jaxsbi.Training(weight_decay=0.3, batch_size=100, max_epochs=60),
    ),
    "gpu": Config(
        simulations=100_000,
        estimator=jaxsbi.nsf(embedding=LARGE),
        training=jaxsbi.Training(weight_decay=0.1, batch_size=500, max_epochs=60),
        draws=5000,
        proposals=200_000,
        predicted=1000,
    ),
    "paper": Config(
        simulations=10_000,
        estimator=jaxsbi.maf(embedding=DEEP),
        training=jaxsbi.Training(weight_decay=0.1, batch_size=100),
        algorithm=jaxsbi.apt(atoms=99),
        draws=5000,
        proposals=200_000,
        predicted=1000,
    ),
}
# What a preset does otherwise than its name says, for the report.
DEVIATIONS = {
    "paper": "This preset has the paper's two rounds of 10,000 simulations, its layers, 99 atoms "
    "and batches of 100. It pools by means after each convolution, trains its second round on the "
    "simulations of both, and the optimizer and the rule that ends a training are this library's."
}
