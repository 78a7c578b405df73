"""What lies in the folders that the commands write: stores, runs and posteriors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jaxsbi.keeping import POSTERIOR, RUN, read_ledger, read_run
from jaxsbi.opening import label_of, open_store
from jaxsbi.posteriors import Posterior
from jaxsbi.problems import Problem, find_problem
from jaxsbi.serialization import CONTENT
from jaxsbi.storage import load
from jaxsbi.stores import Fault, Store
from jaxsbi.writers import is_remote


def contents(path: str, check: bool) -> dict[str, Any]:
    """What a folder holds, as JSON values; check: read every chunk of a store too."""
    if (Path(path) / RUN).exists():
        settings = read_run(path)
        found: dict[str, Any] = {"kind": "run", "run": path}
        found |= {k: settings.get(k) for k in ("call", "name", "algorithm", "estimator")}
        if (Path(path) / POSTERIOR).exists():
            return {**found, "finished": True, **told(load_run(path, None))}
        return {**found, "finished": False, "trainings": read_ledger(path)}
    if (Path(path) / CONTENT).exists():
        return {"kind": "posterior", "posterior": path, **told(load_run(path, None))}
    store = open_store(path)
    campaign = store.header["campaign"]
    found = {
        "kind": "store", "store": path, **facts(store), "simulator": campaign["name"],
        "problem": label_of(path), "x": campaign["simulator"]["x"],
        "parameters": campaign["prior"]["names"], "key": campaign["key"],
        "versions": campaign["versions"],
    }  # fmt: skip
    if check:
        faults = [fault for fault in store.faults() if isinstance(fault, Fault)]
        found["damaged"] = {str(fault.chunk): fault.why for fault in faults}
    return found


def facts(store: Store) -> dict[str, Any]:
    """How far a store is."""
    return {
        "rows": len(store),
        "asked_for": store.target,
        "chunk": store.chunk,
        "bytes": len(store) * store.row_bytes,
    }


def told(posterior: Posterior) -> dict[str, Any]:
    """What a posterior is of, and what its rounds took."""
    rounds = [
        {
            "drawn": r.drawn, "valid": r.valid, "used": r.used, "epochs": r.epochs,
            "best_loss": r.best_loss, "train_seconds": round(r.train_seconds, 1),
        }
        for r in posterior.history.rounds
    ]  # fmt: skip
    return {"parameters": list(posterior.prior.names), "amortised": posterior.amortised,
            "rounds": rounds}  # fmt: skip


def load_run(run: str, problem: str | None) -> Posterior:
    """The posterior of a finished run, or of a folder of its own."""
    path = Path(run)
    if (path / RUN).exists():
        if not (path / POSTERIOR).exists():
            raise ValueError(f"RUN {run} is not finished; the command that began it goes on")
        path = path / POSTERIOR
    prior = None if problem is None else find_problem(problem).prior
    return load(path, prior=prior)


def problem_of(run: str) -> Problem:
    """The problem that filled the store that a run was trained on."""
    if os.path.isdir(run) and not os.path.exists(os.path.join(run, RUN)):
        raise ValueError(f"--problem must be given, module:name: RUN {run} is no run")
    name = read_run(run).get("name") if os.path.isdir(run) else None
    found = None
    try:
        found = label_of(name) if name else None
    except ValueError:
        place = name if is_remote(name) else os.path.abspath(name)
        raise ValueError(
            f"--problem must be given, module:name: the run's store {name} was not found, looked "
            f"for at {place}; or go to the folder that the run was begun from"
        ) from None
    if not found:
        raise ValueError("--problem must be given, module:name: the run's store names none")
    return find_problem(found)
