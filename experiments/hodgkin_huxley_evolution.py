"""IBEA: a population of parameters, bred to come near an observation in every feature at once.

Zitzler & Künzli 2004 (PPSN VIII), as in bluepyopt, which the extra `evolution` brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxsbi.extras import needed

MISSING = 250.0
"""How far a feature that a neuron lacks is from the observed one [sd]."""


def distances(x: np.ndarray, x_o: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """|x − x_o| / sd of each feature (n, k)."""
    return np.nan_to_num(np.abs(x - x_o) / sd, nan=MISSING)


def evolve(
    seed: int,
    score: Callable[[np.ndarray], np.ndarray],
    low: Sequence[float],
    high: Sequence[float],
    objectives: int,
    offspring: int,
    generations: int,
) -> np.ndarray:
    """The last generation, parents and offspring, each θ once (n, d).

    score: of θ (n, d) what is to become small (n, objectives); asked for `offspring` of them at
    once, `generations` times at most.
    """
    bluepyopt = needed("bluepyopt", "evolution", "the comparison with a genetic algorithm")
    parameters = [
        bluepyopt.parameters.Parameter(f"theta_{i}", bounds=ends)
        for i, ends in enumerate(zip(map(float, low), map(float, high), strict=True))
    ]
    aims = [bluepyopt.objectives.Objective(f"feature_{i}") for i in range(objectives)]

    class Scored(bluepyopt.evaluators.Evaluator):
        """Individuals are scored all together, by `together`; one by one is asked for too."""

        def init_simulator_and_evaluate_with_lists(self, individual: Sequence[float]) -> list:
            return score(np.array([individual]))[0].tolist()

    def together(_: Any, individuals: Sequence[Sequence[float]]) -> list:
        return score(np.array(individuals)).tolist() if len(individuals) else []

    optimisation = bluepyopt.deapext.optimisations.IBEADEAPOptimisation(
        Scored(objectives=aims, params=parameters),
        seed=seed,
        offspring_size=offspring,
        map_function=together,
    )
    population, *_ = optimisation.run(max_ngen=generations)
    return np.unique(np.array(population), axis=0)
