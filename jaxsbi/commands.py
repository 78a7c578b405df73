"""The commands of `jaxsbi`: each returns what it has to tell, as JSON values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from cyclopts import App, Parameter

import jaxsbi
from jaxsbi import diagnostics
from jaxsbi.algorithms import FACTORIES as ALGORITHMS
from jaxsbi.compilation import keep_compilations
from jaxsbi.estimators import FACTORIES as ESTIMATORS
from jaxsbi.files import check_written, read_x, write_draws
from jaxsbi.fingerprints import version
from jaxsbi.fitting import MEMORY
from jaxsbi.keeping import POSTERIOR, RUN, read_ledger, read_run
from jaxsbi.opening import label, label_of
from jaxsbi.posteriors import Posterior
from jaxsbi.problems import Problem, find_problem
from jaxsbi.serialization import CONTENT
from jaxsbi.stores import Fault
from jaxsbi.training import Training

SEEDS = 2**32  # jax.random.key takes a seed modulo this
FRESH = 0x5BC  # what fresh rows' keys are folded with, so that no posterior was trained on them


def _count(_: Any, tokens: Any) -> int:
    """A whole number, 1e6 among them."""
    text = tokens[0].value
    try:
        value = float(text)
        if value != int(value) or not 0 <= value < 2**53:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"expected a whole number such as 5000 or 1e6, came {text!r}") from None
    return int(value)


def _seed(kind: Any, tokens: Any) -> int:
    value = _count(kind, tokens)
    if value >= SEEDS:
        raise ValueError(f"expected a seed below {SEEDS}, came {value}")
    return value


Seed = Annotated[int, Parameter(converter=_seed)]
Count = Annotated[int, Parameter(converter=_count)]
Flag = Annotated[bool, Parameter(negative="")]

app = App(
    name="jaxsbi",
    help="""Which parameters of a model could have made this recording?

    A problem is a Python object with a simulator and a prior; its name is module:name, or a module
    alone, such as simulators.hodgkin_huxley. Four commands lead from it to parameters:

    jaxsbi simulate simulators.hodgkin_huxley --n 1e5 --store sims

    jaxsbi train --store sims --out run

    jaxsbi diagnose run

    jaxsbi sample run --x cell.json --n 1000 --out theta.csv

    Whatever is interrupted goes on with the same command. --json prints results for machines.
    """,
    version=lambda: version("jaxsbi"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command()


@app.command
def simulate(
    problem: str,
    /,
    *,
    n: Count,
    store: str,
    seed: Seed = 0,
    chunk: Count | None = None,
    batch: Count | None = None,
    json: Flag = False,
) -> dict[str, Any]:
    """Draw parameters from the prior and simulate them, into a store on disk.

    Row i depends on the seed and on i alone. The same command goes on where it was interrupted,
    and one with a larger --n adds rows.

    Parameters
    ----------
    problem
        What to simulate: module:name, an object with simulate and prior (or PARAMETERS).
    n
        Rows in all, such as 1e6.
    store
        Folder of the store, or an address of fsspec such as s3://bucket/name.
    seed
        Seed of every random number.
    chunk
        Rows per chunk of a new store.
    batch
        Rows simulated at once; changes speed and memory, no number.
    json
        Print the result as JSON.
    """
    found = find_problem(problem)
    filled = jaxsbi.simulate(
        jax.random.key(seed), found.simulate, found.prior, n, store=store, chunk=chunk,
        batch=batch, progress=True,
    )  # fmt: skip
    label(store, problem)
    return {"store": store, "problem": problem, "seed": seed, **_facts(filled)}


@app.command
def train(
    *,
    store: str,
    out: str,
    estimator: str = "nsf",
    algorithm: str = "npe",
    max_epochs: Count = Training.max_epochs,
    batch_size: Count = Training.batch_size,
    seed: Seed = 0,
    memory: Count = MEMORY,
    problem: str | None = None,
    json: Flag = False,
) -> dict[str, Any]:
    """Train the posterior of any observation on a store, into a folder with its checkpoints.

    A store that does not fit into --memory is streamed. The same command goes on where it was
    interrupted, and ends in the same weights.

    Parameters
    ----------
    store
        What `jaxsbi simulate` filled.
    out
        Folder of the run: checkpoints, ledger, posterior.
    estimator
        The density: nsf, maf, mdn or flow_matching.
    algorithm
        npe for posteriors; nle for likelihoods, nre for likelihood ratios.
    max_epochs
        Passes over the rows at most.
    batch_size
        Rows per step.
    seed
        Seed of every random number.
    memory
        Bytes of rows that may lie in memory.
    problem
        module:name, needed only where its prior is a distribution of your own.
    json
        Print the result as JSON.
    """
    choices = (
        _chosen("--estimator", estimator, ESTIMATORS),
        _chosen("--algorithm", algorithm, ALGORITHMS),
    )
    training = Training(
        max_epochs=max_epochs, batch_size=batch_size, anneal=min(Training.anneal, max_epochs)
    )
    posterior = jaxsbi.fit(
        jax.random.key(seed), store=store, estimator=choices[0](), algorithm=choices[1](),
        training=training, memory=memory, out=out,
        prior=None if problem is None else find_problem(problem).prior,
    )  # fmt: skip
    if posterior.history[-1].interrupted:
        raise KeyboardInterrupt
    return {"out": out, **_told(posterior)}


@app.command
def sample(
    run: str,
    /,
    *,
    x: str,
    n: Count,
    out: str,
    seed: Seed = 0,
    problem: str | None = None,
    json: Flag = False,
) -> dict[str, Any]:
    """Draw parameters that could have made an observation, into a file.

    Parameters
    ----------
    run
        Folder of a run, or of a posterior.
    x
        The observation: .npy, .npz, .json, .csv or .txt; null or nan where a feature is undefined.
    n
        Draws.
    out
        A new file: .csv, .npz (with log densities) or .npy.
    seed
        Seed of every random number.
    problem
        module:name, needed only where its prior is a distribution of your own.
    json
        Print the result as JSON.
    """
    path = check_written(out)
    posterior, x_o = _load(run, problem), read_x(x)
    if not n:
        raise ValueError("--n must be at least 1, got 0")
    theta = posterior.sample(jax.random.key(seed), n, x_o)
    if theta.ndim != 2:
        raise ValueError(f"--x {x} must hold one observation, got {len(theta)}")
    log_prob = posterior.log_prob(theta, x_o)
    names = posterior.prior.names
    write_draws(path, np.asarray(theta), np.asarray(log_prob), names)
    mean, sd = np.mean(theta, axis=0), np.std(theta, axis=0)
    return {
        "out": out,
        "draws": n,
        "parameters": {
            name: {"mean": float(m), "sd": float(s)}
            for name, m, s in zip(names, mean, sd, strict=True)
        },
    }


@app.command
def diagnose(
    run: str,
    /,
    *,
    n: Count = 1000,
    samples: Count = 500,
    problem: str | None = None,
    seed: Seed = 1,
    json: Flag = False,
) -> dict[str, Any]:
    """Is the posterior calibrated? Ranks of true parameters, on fresh simulations.

    Parameters
    ----------
    run
        Folder of a run.
    n
        Fresh simulations.
    samples
        Posterior draws for each of them.
    problem
        module:name to simulate; by default the one that filled the run's store.
    seed
        Seed of the fresh simulations.
    json
        Print the result as JSON.
    """
    found = _problem_of(run) if problem is None else find_problem(problem)
    posterior = _load(run, found.name)
    key_rows, key_ranks = jax.random.split(jax.random.fold_in(jax.random.key(seed), FRESH))
    theta, x = jaxsbi.simulate(key_rows, found.simulate, found.prior, n, progress=True)
    result = diagnostics.calibrate(key_ranks, posterior, theta, x, samples=samples)
    low = diagnostics.holm(result.p_values, 0.05)
    return {
        "run": run,
        "problem": found.name,
        "rows": len(result.ranks),
        "unserved": result.unserved,
        "p_values": dict(zip(result.names, map(float, result.p_values), strict=True)),
        "calibrated": not bool(np.any(low)),
    }


@app.command
def inspect(path: str, /, *, check: Flag = False, json: Flag = False) -> dict[str, Any]:
    """What a store, a run or a posterior holds, and how far it is.

    Parameters
    ----------
    path
        Folder, or address of a store.
    check
        Read every chunk of a store and name those that were damaged.
    json
        Print the result as JSON.
    """
    if (Path(path) / RUN).exists():
        settings = read_run(path)
        found: dict[str, Any] = {"kind": "run", "run": path}
        found |= {k: settings.get(k) for k in ("call", "name", "algorithm", "estimator")}
        if (Path(path) / POSTERIOR).exists():
            return {**found, "finished": True, **_told(_load(path, None))}
        return {**found, "finished": False, "trainings": read_ledger(path)}
    if (Path(path) / CONTENT).exists():
        return {"kind": "posterior", "posterior": path, **_told(_load(path, None))}
    store = jaxsbi.open_store(path)
    campaign = store.header["campaign"]
    found = {
        "kind": "store", "store": path, **_facts(store), "simulator": campaign["name"],
        "problem": label_of(path), "x": campaign["simulator"]["x"],
        "parameters": campaign["prior"]["names"], "key": campaign["key"],
        "versions": campaign["versions"],
    }  # fmt: skip
    if check:
        faults = [fault for fault in store.faults() if isinstance(fault, Fault)]
        found["damaged"] = {str(fault.chunk): fault.why for fault in faults}
    return found


def _facts(store: jaxsbi.stores.Store) -> dict[str, Any]:
    return {
        "rows": len(store),
        "asked_for": store.target,
        "chunk": store.chunk,
        "bytes": len(store) * store.row_bytes,
    }


def _told(posterior: Posterior) -> dict[str, Any]:
    rounds = [
        {
            "drawn": r.drawn, "valid": r.valid, "used": r.used, "epochs": r.epochs,
            "best_loss": r.best_loss, "train_seconds": round(r.train_seconds, 1),
        }
        for r in posterior.history.rounds
    ]  # fmt: skip
    return {"parameters": list(posterior.prior.names), "amortised": posterior.amortised,
            "rounds": rounds}  # fmt: skip


def _chosen(option: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}, got {name!r}")
    return known[name]


def _load(run: str, problem: str | None) -> Posterior:
    path = Path(run)
    if (path / RUN).exists():
        if not (path / POSTERIOR).exists():
            raise ValueError(f"RUN {run} is not finished; the command that began it goes on")
        path = path / POSTERIOR
    prior = None if problem is None else find_problem(problem).prior
    return jaxsbi.load(path, prior=prior)


def _problem_of(run: str) -> Problem:
    """The problem that filled the store that a run was trained on."""
    name = read_run(run).get("name") if os.path.isdir(run) else None
    found = None
    try:
        found = label_of(name) if name else None
    except ValueError:
        pass  # the store is not there any more
    if not found:
        raise ValueError("--problem must be given, module:name: the run's store names none")
    return find_problem(found)


def setup() -> None:
    """What all commands share: compiled programs are kept for the next one."""
    keep_compilations()
