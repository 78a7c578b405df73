"""The sbibm benchmark: C2ST of posteriors on ten tasks, beside published scores and `sbi`.

    python benchmarks/sbibm.py --task two_moons sir --simulations 1000 10000 --peer sbi \\
        --out sbibm.jsonl

Every library gets the same simulations, and its samples of observations 1 to 5 are told from the
reference's by both classifiers (see `_c2st`), in processes beside the training. An amortised
algorithm trains once for all observations, a sequential one for each, its budget split over the
rounds. One JSON line per score; what the file holds already is not done again, and samples wait in
a folder beside it. At the end, and with --table alone, tables: means over the observations.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import numpy as np
from rich.console import Console

import jaxsbi
from benchmarks import _measure
from benchmarks._c2st import CLASSIFIERS, cached_c2st
from benchmarks._sbibm_summary import summary
from benchmarks._sbibm_table import tables
from benchmarks._tasks import TASKS, Task, observation
from jaxsbi.estimators import from_spec

ALGORITHMS = tuple(
    name
    for name in ("npe", "apt", "snpe_a", "snpe_b", "tsnpe", "nle", "nre")
    if hasattr(jaxsbi, name)
)
PEERS = {"sbi": "default", "sbi-nsf": "nsf"}
SAMPLES = 10_000


class Run(NamedTuple):
    """What is trained: the fields that, with an observation, tell one set of samples."""

    task: str
    algorithm: str
    simulations: int
    rounds: int
    estimator: str
    seed: int
    library: str

    @property
    def folder(self) -> str:
        return "-".join(str(part) for part in self).replace(" ", "_").replace("/", "_")


Sampled = tuple[np.ndarray, dict[str, float]]
"""Samples (n, d) of a posterior, and what they cost."""


def sample_jaxsbi(run: Run, task: Task, observations: list[np.ndarray]) -> Iterator[Sampled]:
    """One observation's after the other."""
    algorithm = getattr(jaxsbi, run.algorithm)()
    options = {
        "algorithm": algorithm,
        "rounds": run.rounds,
        "simulations": run.simulations // run.rounds,
        "estimator": estimator_of(run.estimator),
    }
    key, key_sample = jax.random.key(run.seed), jax.random.key(run.seed + 1)
    groups = [[x] for x in observations] if algorithm.sequential else [observations]
    for group in groups:
        x_o = group[0] if algorithm.sequential else None
        posterior = jaxsbi.infer(key, task.simulate, task.prior, x_o, **options)
        began = time.perf_counter()
        draws = [
            np.asarray(posterior.sample(key_sample, SAMPLES, x=None if x is x_o else x))
            for x in group
        ]
        rounds = posterior.history.rounds
        names = ("simulate_seconds", "compile_seconds", "train_seconds", "epochs")
        cost = {name: sum(getattr(r, name) for r in rounds) for name in names}
        cost["sample_seconds"] = time.perf_counter() - began
        yield from ((theta, cost) for theta in draws)


def sample_peer(run: Run, task: Task, observations: list[np.ndarray]) -> list[Sampled]:
    """The same from `sbi`, of the very simulations that `jaxsbi.infer` draws from the seed."""
    from benchmarks import _peers_sbi

    key_rows, _ = jax.random.split(jax.random.key(run.seed))
    theta, x = jaxsbi.simulate(key_rows, task.simulate, task.prior, run.simulations)
    estimator = None if run.estimator == "default" else run.estimator
    draws, cost = _peers_sbi.npe(task.prior, theta, x, observations, SAMPLES, run.seed, estimator)
    return [(theta, cost) for theta in draws]


def estimator_of(text: str) -> Any:
    """`nsf`, or a specification such as {"name": "nsf", "layers": 5}."""
    spec = json.loads(text) if text.startswith("{") else {"name": text}
    return from_spec(spec)


def samples_of(run: Run, numbers: list[int], folder: Path) -> dict[int, tuple[np.ndarray, dict]]:
    """Samples and their cost by observation, from the folder as far as they lie there."""
    paths = {number: folder / run.folder / f"obs_{number}.npz" for number in numbers}
    missing = [number for number, path in paths.items() if not path.exists()]
    if missing:
        task = TASKS[run.task]()
        observations = [observation(run.task, number).x for number in missing]
        make = sample_jaxsbi if run.library == "jaxsbi" else sample_peer
        for number, (theta, cost) in zip(missing, make(run, task, observations), strict=True):
            paths[number].parent.mkdir(parents=True, exist_ok=True)
            unfinished = paths[number].with_suffix(".part")
            with unfinished.open("wb") as file:
                np.savez(file, theta=theta, cost=json.dumps(cost))
            unfinished.replace(paths[number])
    result = {}
    for number, path in paths.items():
        with np.load(path, allow_pickle=False) as stored:
            result[number] = stored["theta"], json.loads(str(stored["cost"]))
    return result


def runs(arguments: argparse.Namespace) -> Iterator[Run]:
    """What was asked for: ours before the peers, in the order of budgets and tasks."""
    for simulations, task in itertools.product(arguments.simulations, arguments.task):
        for name in arguments.algorithm:
            rounds = arguments.rounds if getattr(jaxsbi, name)().sequential else 1
            if simulations % rounds:
                raise SystemExit(
                    f"--simulations must be a multiple of --rounds, {rounds}, for {name}, got "
                    f"{simulations}: every round draws as many"
                )
            yield Run(
                task, name, simulations, rounds, arguments.estimator, arguments.seed, "jaxsbi"
            )
        for peer in arguments.peer:
            yield Run(task, "npe", simulations, 1, PEERS[peer], arguments.seed, "sbi")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The finished lines of a file; a line cut by a crash is passed over."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            print(f"{path}: a cut line is passed over", file=sys.stderr)
    return lines


def mend(path: Path) -> None:
    """End a line cut by a crash, so that the next one starts on its own."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a") as file:
            file.write("\n")


def identity(line: dict[str, Any]) -> tuple:
    return tuple(line[name] for name in (*Run._fields, "observation", "classifier"))


def measure(arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> None:
    mend(arguments.out)
    done = {identity(line) for line in lines_of(arguments.out)}
    scores: dict[Future, dict[str, Any]] = {}
    folder = arguments.out.with_suffix(".samples")
    for run in list(runs(arguments)):  # all are checked before the first begins
        wanted = [
            line
            for number in arguments.observations
            for name in arguments.classifiers
            if identity(line := {**run._asdict(), "observation": number, "classifier": name})
            not in done
        ]
        if not wanted:
            continue
        samples = samples_of(run, sorted({line["observation"] for line in wanted}), folder)
        machine = _measure.machine("jaxsbi", "sbi", "flax", "scikit-learn", "torch")
        for line in wanted:
            theta, costs = samples[line["observation"]]
            reference = observation(run.task, line["observation"]).reference
            score = pool.submit(cached_c2st, reference, theta, line["classifier"], arguments.cache)
            scores[score] = {"benchmark": "sbibm", **line, **costs, "machine": machine}
        write(arguments.out, scores, [score for score in scores if score.done()])
    write(arguments.out, scores, as_completed(list(scores)))


def write(path: Path, scores: dict[Future, dict[str, Any]], finished: Iterable[Future]) -> None:
    """Append the lines of finished scores, and forget them."""
    for score in finished:
        line = {**scores.pop(score), "c2st": score.result()}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        told = (
            "{library}: {task} {algorithm} {simulations}, observation {observation}: {classifier}"
        )
        print(told.format(**line), f"{line['c2st']:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--algorithm", nargs="*", default=["npe"], choices=ALGORITHMS)
    parser.add_argument("--simulations", nargs="+", type=int, default=[1000])
    parser.add_argument("--observations", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--estimator", default="nsf", help='a name, or {"name": "nsf", …} as JSON')
    parser.add_argument("--rounds", type=int, default=10, help="of sequential algorithms")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", nargs="*", default=[], choices=PEERS, help="also run sbi's NPE")
    parser.add_argument("--classifiers", nargs="+", default=CLASSIFIERS, choices=CLASSIFIERS)
    parser.add_argument("--processes", type=int, default=_measure.cores(), help="that score")
    parser.add_argument("--cache", type=Path, default=Path("c2st-cache"), help="folder of scores")
    parser.add_argument("--out", type=Path, default=Path("sbibm.jsonl"), help="JSON lines")
    parser.add_argument("--table", action="store_true", help="only print the tables of --out")
    parser.add_argument("--summary", action="store_true", help="only print the README's of --out")
    arguments = parser.parse_args()
    if arguments.summary:
        print(*summary(lines_of(arguments.out)), sep="\n")
        return
    if not arguments.table:
        processes = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.processes, mp_context=processes) as pool:
            measure(arguments, pool)
    Console().print(*tables(lines_of(arguments.out)), sep="\n")


if __name__ == "__main__":
    main()
