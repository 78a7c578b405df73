"""What a run has paid for: made once, kept in its folder, read back when it is taken up again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

import jaxsbi
from experiments.runs import Run
from jaxsbi.diagnostics import C2ST
from jaxsbi.posteriors import Posterior
from jaxsbi.trained import Diverged


def keep_posterior(
    run: Run, stage: str, name: str, rounds: int, infer: Callable[..., Posterior], of: str
) -> Posterior:
    """What `infer(out=…)` gives, saved as posterior/`name`; read back if it has all its rounds.

    Simulations and trainings under way are kept too, so that a run that was killed goes on with
    them. A training that Ctrl-C ended serves this run as it is; the next one goes on with it.
    of: what is inferred, for messages.
    """
    folder = run.folder / "posterior" / name
    if folder.exists():
        posterior = jaxsbi.load(folder)
        if _is_whole(posterior, rounds):
            return posterior
    with run.stage(stage):
        try:
            posterior = infer(out=run.folder / "rounds" / name)
        except Diverged as error:
            raise ValueError(
                f"training for {of}: expected a finite validation loss, came none in any epoch; "
                "try another --seed or --preset, or look at the recording"
            ) from error
    if folder.exists():
        shutil.rmtree(folder)
    posterior.save(folder)
    if posterior.history[-1].interrupted:
        print("training interrupted: this run goes on with what it has learned, Ctrl-C again "
              "ends it; the same command goes on training", flush=True)  # fmt: skip
    elif not _is_whole(posterior, rounds):
        print("not all rounds were finished: this run goes on with those that were", flush=True)
    return posterior


def _is_whole(posterior: Posterior, rounds: int) -> bool:
    return len(posterior.history) == rounds and not posterior.history[-1].interrupted


def keep_arrays(
    run: Run, stage: str, name: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that `make()` gives by name, in arrays/`name`.npz, whole or not at all."""
    path = run.folder / "arrays" / f"{name}.npz"
    if not path.exists():
        with run.stage(stage):
            made = {key: np.asarray(value) for key, value in make().items()}
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **made)
        os.replace(part, path)
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def keep_score(
    run: Run,
    stage: str,
    name: str,
    reference: np.ndarray,
    draws: np.ndarray,
    jobs: int | None = None,
) -> C2ST:
    """Can a classifier tell `draws` from `reference` ones? As arrays/`name`.npz."""

    def score() -> dict[str, np.ndarray]:
        return asdict(jaxsbi.diagnostics.c2st(reference, draws, jobs=jobs))

    kept = keep_arrays(run, stage, name, score)
    return C2ST(**{field: value.item() for field, value in kept.items()})
