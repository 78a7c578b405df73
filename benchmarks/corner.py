"""Three rounds of each sequential algorithm against posteriors that are known exactly.

    python benchmarks/corner.py --algorithm apt tsnpe --seed 0 1 2 --out corner.jsonl

`linear_gaussian` has a Gaussian posterior; that of `corner` piles up in a corner of a uniform
prior's box. A JSON line per run: both classifiers' C2ST from 5000 draws of each side, and in the
corner, by parameter, the mass within 1 % of the lower and of the upper bound, less the exact one.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

# benchmarks/simulators.py bears the name of a package, so this folder must not be searched first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks import _measure
from benchmarks._exact import CASES, PROBLEMS, reach


def measure(problem: str, case: str, seed: int, rounds: int, simulations: int) -> dict[str, Any]:
    """One inference, and how far its draws are from exact ones."""
    reached = reach(problem, case, seed, rounds, simulations)
    score, history = reached.c2st, reached.posterior.history.rounds
    line = {
        "benchmark": "corner", "problem": problem, "algorithm": case, "rounds": rounds,
        "simulations": simulations, "seed": seed, "c2st": {"mlp": score.mlp, "rf": score.rf},
    }  # fmt: skip
    if reached.off is not None:
        line["off_at_bounds"] = np.round(reached.off, 4).tolist()
    costs = {
        "seconds": reached.seconds,
        "epochs": [r.epochs for r in history],
        "effective": [r.effective for r in history],
        "acceptance": [r.acceptance for r in history],
    }
    return {**line, **costs, "machine": _measure.machine("flax", "distrax", "scikit-learn")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--algorithm", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--simulations", type=int, default=2000, help="per round")
    parser.add_argument("--out", type=Path, help="append the JSON lines to this file too")
    arguments = parser.parse_args()
    for problem in arguments.problem:
        for case in arguments.algorithm:
            for seed in arguments.seed:
                budget = arguments.rounds, arguments.simulations
                _measure.report(measure(problem, case, seed, *budget), arguments.out)


if __name__ == "__main__":
    main()
