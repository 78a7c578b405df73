"""How much of everything the Hodgkin–Huxley study does, from a test to the paper's budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jaxsbi
from experiments.presets import settings_of
from jaxsbi.types import Estimator


class Density(NamedTuple):
    """What is learned of a neuron, and how it is trained."""

    estimator: Estimator
    training: jaxsbi.Training


DENSITIES = {
    "smoke": Density(
        jaxsbi.mdn(components=1, hidden=(20,)),
        jaxsbi.Training(weight_decay=0.1, anneal=10, max_epochs=30),
    ),
    "laptop": Density(
        jaxsbi.nsf(layers=3, hidden=(50, 50)),
        jaxsbi.Training(learning_rate=0.01, weight_decay=0.01, max_epochs=60, anneal=30),
    ),
    "gpu": Density(
        jaxsbi.nsf(hidden=(128, 128)),
        jaxsbi.Training(weight_decay=0.01, batch_size=2000, max_epochs=100),
    ),
    "paper": Density(
        jaxsbi.maf(layers=5, hidden=(50, 50)),
        jaxsbi.Training(weight_decay=0.01, batch_size=500),
    ),
}
"""By preset; all studies of neurons share them, but for a smaller one of this study's smoke run."""


@dataclass(frozen=True)
class Config:
    """How much of everything: simulations per observation, the density and how it is trained.

    refinement: simulations of each later round, which refine a recorded cell's posterior;
    likelihood and refining: the density that those learn, and how it is trained.
    """

    simulations: int
    cell_simulations: int
    refinement: tuple[int, ...]
    estimator: Estimator
    training: jaxsbi.Training
    likelihood: Estimator
    refining: jaxsbi.Training
    calibration: int = 1000
    posterior_samples: int = 1000

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as plain values: what tells the posteriors of two configurations apart."""
        return settings_of(self)


PRESETS = {
    "smoke": Config(
        simulations=500,
        cell_simulations=500,
        refinement=(200,),
        estimator=jaxsbi.mdn(components=1),
        training=jaxsbi.Training(anneal=10, max_epochs=30),
        likelihood=jaxsbi.maf(layers=1, hidden=(16,)),
        refining=jaxsbi.Training(anneal=10, max_epochs=30),
        calibration=200,
    ),
    "laptop": Config(
        simulations=30_000,  # equal sizes, so that both trainings share one compilation
        cell_simulations=30_000,
        refinement=(6_000, 5_000, 5_000),
        **DENSITIES["laptop"]._asdict(),
        likelihood=jaxsbi.maf(layers=5, hidden=(50, 50)),
        refining=jaxsbi.Training(learning_rate=0.01, weight_decay=0.01, max_epochs=60, anneal=30),
    ),
    "gpu": Config(
        simulations=1_000_000,
        cell_simulations=250_000,
        refinement=(40_000, 30_000, 30_000),
        **DENSITIES["gpu"]._asdict(),
        likelihood=jaxsbi.maf(layers=5, hidden=(128, 128)),
        refining=jaxsbi.Training(weight_decay=0.01, batch_size=500, max_epochs=100),
        posterior_samples=5000,
    ),
    "paper": Config(  # but for the cells: see DEVIATIONS
        simulations=100_000,
        cell_simulations=125_000,
        refinement=(125_000,),
        **DENSITIES["paper"]._asdict(),
        likelihood=jaxsbi.maf(layers=5, hidden=(50, 50)),
        refining=jaxsbi.Training(weight_decay=0.01, batch_size=500),
        posterior_samples=5000,
    ),
}

# What a preset does otherwise than its name says, for the report.
DEVIATIONS = {
    "paper": "This preset is the paper's budget for the synthetic neuron: one round of 100,000 "
    "simulations, a masked autoregressive flow of 5 blocks, 50–50 hidden units, batches of 500. "
    "For the recorded cells it is the paper's number of simulations, two rounds of 125,000, but "
    "with flows of that size, and the second round learns the likelihood, from draws of the first "
    "one's posterior (NLE); there one Gaussian, 100–100 hidden units and importance-weighted "
    "losses (SNPE-B). The optimizer and the rule that ends a training are this library's."
}
