"""Keeping: the folder in which an inference lies, so that it goes on where it was interrupted.

simulations/ is a store of all rounds' rows; trainings/NAME has the checkpoints of a training, with
the ledger of the rounds until then; posterior/ is what came of it; run.json says whose it is.
What was simulated or trained is read back, and what follows from it is computed again: so it ends
in the same bits as an inference that nothing interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, PyTree

from jaxsbi.algorithms import Algorithm
from jaxsbi.campaigns import of_campaign, writing
from jaxsbi.checkpoints import Checkpoint
from jaxsbi.digests import digest, tree_digest
from jaxsbi.extras import needed
from jaxsbi.filling import fill
from jaxsbi.fingerprints import PROGRAMS, check_same, of_prior, versions
from jaxsbi.ledger import Ledger
from jaxsbi.opening import open_store
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.progress import Reporter, termination
from jaxsbi.storage import load
from jaxsbi.stores import Store
from jaxsbi.training import Training, adam
from jaxsbi.types import Data, Estimator, PRNGKey, Simulator
from jaxsbi.writers import RECORD, is_remote, only_writer

LONG = 1000
RUN, SIMULATIONS, TRAININGS, POSTERIOR = "run.json", "simulations", "trainings", "posterior"


class Keep:
    """The folder of one inference, open for this process alone."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder, self.settings = folder, settings
        self._open: list[Checkpoint] = []

    def training(self, number: int, history: Ledger | None, drawn: Any, what: str) -> Checkpoint:
        """Where a round's training is kept, with the ledger so far and what the round has drawn."""
        facts = {
            "drawn": drawn._asdict(),
            "rounds": [] if history is None else history.to_dict()["rounds"],
        }
        self._open.append(Checkpoint(self._folder(number, what), facts))
        return self._open[-1]

    def drawn(self, number: int) -> dict[str, Any] | None:
        """What a round had drawn, once there is a checkpoint of its training."""
        checkpoint = Checkpoint(self._folder(number, "density"))
        facts = checkpoint.told()
        checkpoint.close()
        return None if facts is None else facts.get("drawn")

    def _folder(self, number: int, what: str) -> Path:
        return self.folder / TRAININGS / f"round-{number + 1:02}-{what}"

    def read(self, first: int, n: int) -> tuple[np.ndarray, PyTree] | None:
        """Rows first … first + n − 1, or None unless all of them are there and whole."""
        try:
            store = open_store(self.folder / SIMULATIONS)
            return store.read(first, first + n) if n else None
        except ValueError:
            return None

    def simulate(
        self,
        key: PRNGKey,
        simulate: Simulator,
        prior: Prior,
        x: PyTree[jax.ShapeDtypeStruct],
        draw: Partial,
        first: int,
        n: int,
        batch: int | None,
        reporter: Reporter,
    ) -> tuple[Array, PyTree[Array]]:
        """As `simulation.run`, of what is not yet there."""
        campaign = of_campaign(key, simulate, prior, x)
        with (
            termination(),
            writing(self.folder / SIMULATIONS, campaign, prior.dim, x, first + n) as writer,
        ):
            fill(writer, key, simulate, draw, first, first + n, batch, reporter)
            found = writer.store.read(first, first + n)
        return jax.tree.map(jnp.asarray, found)

    def finished(
        self, prior: Prior, estimator: Estimator, start: Estimator | None = None
    ) -> Posterior | None:
        """The posterior, where all rounds are done."""
        path = self.folder / POSTERIOR
        if not path.exists():
            return None
        try:
            return load(path, prior=prior, estimator=estimator, start=start)
        except ValueError:
            shutil.rmtree(path)  # cut or altered: what it follows from is there
            return None

    def finish(self, posterior: Posterior) -> None:
        """Keep a posterior whose training nobody interrupted."""
        if not posterior.history[-1].interrupted:
            posterior.save(self.folder / POSTERIOR)

    def close(self) -> None:
        for checkpoint in self._open:
            checkpoint.close()


@contextmanager
def keeping(out: str | os.PathLike | None, settings: dict[str, Any]) -> Iterator[Keep | None]:
    """The folder `out` for this process alone, new or of the same run; None without one.

    Raises ValueError for a folder of another run, of something else, or of a writer that lives.
    """
    if out is None:
        yield None
        return
    if not isinstance(out, str | os.PathLike) or not str(out) or is_remote(out):
        raise ValueError(f"out must be the name of a folder, got {out!r}")
    needed("zarr", "store", "out=")
    needed("orbax.checkpoint", "store", "out=")
    folder = Path(out)
    settings = json.loads(json.dumps(settings))
    try:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out {out} must be a folder, but it is a file; choose another")
        folder.mkdir(parents=True, exist_ok=True)
        _check_own(folder, settings)
        with only_writer(folder):
            _check_own(folder, settings)
            part = folder / f"{RUN}.part"
            part.write_text(json.dumps(settings, indent=1) + "\n")
            os.replace(part, folder / RUN)
            keep = Keep(folder, settings)
            try:
                yield keep
            finally:
                keep.close()
    except OSError as error:
        raise ValueError(
            f"out {out} cannot be written: {error.strerror or error}; what is there is kept: mend "
            "that, and the same call goes on"
        ) from error


def _check_own(folder: Path, settings: dict[str, Any]) -> None:
    if not (folder / RUN).exists():
        if set(os.listdir(folder)) - {RECORD, f"{RUN}.part"}:
            raise ValueError(f"out {folder} is not empty and holds no run; choose a new folder")
        return
    check_same(read_run(folder), settings, f"out {folder}")


def read_run(folder: str | os.PathLike) -> dict[str, Any]:
    """Whose run a folder holds. A ValueError where that cannot be read."""
    try:
        found = json.loads((Path(folder) / RUN).read_text())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"out {folder} holds no run: {RUN} is missing, cut or altered")
    return found


def read_ledger(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """What the checkpoints of a folder tell: for each training its rounds before, and its draws."""
    told = []
    for path in sorted((Path(folder) / TRAININGS).glob("*")):
        checkpoint = Checkpoint(path)
        facts = checkpoint.told()
        checkpoint.close()
        if facts is not None:
            told.append({"training": path.name, **facts})
    return told


def settings_of(
    call: str,
    key: PRNGKey,
    prior: Prior,
    algorithm: Algorithm,
    estimator: Estimator,
    training: Training,
    x_o: Data | None,
    **more: Any,
) -> dict[str, Any]:
    """What makes two inferences the same."""
    return {
        "call": call,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "prior": of_prior(prior),
        "algorithm": algorithm.spec(),
        "estimator": estimator.spec(),
        "training": _training(training),
        "x_o": None if x_o is None else _observed(x_o),
        **more,
        "versions": versions("jaxsbi", "numpy", "flax", "optax", *PROGRAMS),
    }


def _observed(x_o: Data) -> Any:
    """Its numbers, None where undefined, or a digest of many: a file may round them in two ways."""
    leaves = [np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(x_o)]
    if sum(leaf.size for leaf in leaves) > LONG:
        return tree_digest(x_o)
    return [None if np.isnan(value) else float(value) for leaf in leaves for value in leaf]


def _training(training: Training) -> dict[str, Any]:
    """Its numbers, and an optimizer of the user's own by the program of its update."""
    found = {f.name: getattr(training, f.name) for f in fields(training) if f.name != "optimizer"}
    if training.optimizer is adam(training.learning_rate):
        return {**found, "optimizer": "adam"}
    one = jnp.zeros(3)
    update = jax.make_jaxpr(training.optimizer.update)(one, training.optimizer.init(one), one)
    return {**found, "optimizer": digest(str(update).encode())}


def rows_digest(rows: Any) -> str:
    """What tells rows that were handed in from others: their numbers, or their campaign."""
    if isinstance(rows, Store):
        campaign = {k: v for k, v in rows.header["campaign"].items() if k != "versions"}
        return digest(json.dumps(campaign, sort_keys=True).encode(), str(len(rows)).encode())
    return tree_digest(rows)
