"""What the study of the pyloric circuit explains: a recorded rhythm, or one that is made up."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.arguments import cut, why
from simulators import stg

RECORDED = Path("stg") / "experimental_features.csv"
FEATURE_NAMES = tuple(f.name for f in stg.FEATURES)
TIMED = 15
"""The features before the plateaus, which electrodes outside a cell do not see."""
SCATTER = np.array(
    [279, 133, 113, 150, 109, 60, 169, 216, 0.040, 0.059, 0.054, 0.065, 0.034, 0.054, 0.060]
)
"""Standard deviations of the first 15 across preparations, as published with the paper."""
TRIES = 50


class Options(NamedTuple):
    """data: the folder of recordings."""

    data: Path | None = None


class Rhythm(NamedTuple):
    """x_o (18,), and the circuit θ (31,) behind it, if it is known."""

    name: str
    title: str
    x_o: jax.Array
    truth: np.ndarray | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"x_o": dict(zip(FEATURE_NAMES, map(float, self.x_o), strict=True))}


def observe(key: jax.Array, data: Path | None) -> Rhythm:
    """The recorded rhythm where the folder of recordings has it; else a simulated one."""
    if data is not None and (data / RECORDED).exists():
        return Rhythm("recorded", "the recorded rhythm", read(data / RECORDED))
    return nominal(key)


def read(path: Path) -> jax.Array:
    """The 18 features of a file of lines feature,value, in the simulator's order."""
    expected = f"{path.name}: expected {len(FEATURE_NAMES)} lines feature,value under a header"
    try:
        lines = list(csv.reader(path.read_text().splitlines()))[1:]
        names, values = zip(*((name, float(value)) for name, value in lines), strict=True)
    except OSError as error:
        raise ValueError(f"--data {cut(path)}: {expected}, came none ({why(error)})") from None
    except ValueError as error:
        raise ValueError(f"--data {cut(path)}: {expected}, came {error}") from None
    found = tuple(map(_plain, names))
    if found != tuple(map(_plain, FEATURE_NAMES)) or not np.all(np.isfinite(values)):
        raise ValueError(
            f"--data {cut(path)}: {expected}, all finite, in the order of stg.FEATURES, came "
            f"{', '.join(names)[:200]}; mend the file"
        )
    return jnp.asarray(values, float)


def _plain(name: str) -> str:
    """A feature's name without its unit and without what joins its words."""
    words = name.replace("-", "_").replace(" ", "_").split("_")
    return " ".join(w for w in words if w not in ("ms",))


def within_scatter(x: np.ndarray, x_o: np.ndarray) -> np.ndarray:
    """|x_i − x_o,i| ≤ sd_i across preparations, for x (…, 18) and the first 15 features (…, 15);
    a feature that is undefined is not within."""
    return np.abs(np.asarray(x)[..., :TIMED] - np.asarray(x_o)[:TIMED]) <= SCATTER


def nominal(key: jax.Array, protocol: stg.Protocol = stg.DEFAULT) -> Rhythm:
    """The first run of the nominal circuit that is pyloric and has all features."""
    theta, run = jnp.asarray(stg.NOMINAL), jax.jit(stg.outcome)
    for row in range(TRIES):
        found = run(jax.random.fold_in(key, row), theta, protocol)
        if found.pyloric and jnp.all(jnp.isfinite(found.features)):
            return Rhythm("nominal", "a simulated rhythm", found.features, np.asarray(theta))
    raise ValueError(f"protocol: expected a pyloric rhythm in {TRIES} runs of the nominal circuit, "
                     "came none; simulate longer")  # fmt: skip
