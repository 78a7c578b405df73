"""The commands of `jaxsbi`: each returns what it has to tell, as JSON values."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from cyclopts import App

import jaxsbi
from jaxsbi import diagnostics
from jaxsbi.algorithms import FACTORIES as ALGORITHMS
from jaxsbi.compilation import keep_compilations
from jaxsbi.contents import contents, facts, load_run, problem_of, told
from jaxsbi.estimators import FACTORIES as ESTIMATORS
from jaxsbi.files import check_written, read_x, write_draws
from jaxsbi.fingerprints import version
from jaxsbi.fitting import MEMORY
from jaxsbi.opening import label
from jaxsbi.options import Count, Flag, Seed, chosen
from jaxsbi.problems import find_problem
from jaxsbi.training import Training

FRESH = 0x5BC  # what fresh rows' keys are folded with, so that no posterior was trained on them

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
    return {"store": store, "problem": problem, "seed": seed, **facts(filled)}


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
        chosen("--estimator", estimator, ESTIMATORS),
        chosen("--algorithm", algorithm, ALGORITHMS),
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
    return {"out": out, **told(posterior)}


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
    posterior, x_o = load_run(run, problem), read_x(x)
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
    """Is the posterior calibrated? Ranks of true parameters, and coverage, on fresh simulations.

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
    found = problem_of(run) if problem is None else find_problem(problem)
    posterior = load_run(run, found.name)
    key_rows, key_ranks = jax.random.split(jax.random.fold_in(jax.random.key(seed), FRESH))
    theta, x = jaxsbi.simulate(key_rows, found.simulate, found.prior, n, progress=True)
    result = diagnostics.calibrate(key_ranks, posterior, theta, x, samples=samples)
    return {
        "run": run,
        "problem": found.name,
        "rows": len(result.ranks),
        "unserved": result.unserved,
        "p_values": dict(zip(result.names, map(float, result.p_values), strict=True)),
        "coverage": dict(
            zip(map(str, diagnostics.LEVELS), map(float, result.coverage()), strict=True)
        ),
        "coverage_p_value": result.coverage_p_value,
        "calibrated": result.calibrated,
        "verdict": result.verdict,
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
    return contents(path, check)


KEEPING = (simulate, train)
"""The commands that, given again, go on where they were interrupted."""


def setup() -> None:
    """What all commands share: compiled programs are kept for the next one."""
    keep_compilations()
