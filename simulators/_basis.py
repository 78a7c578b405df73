"""Principal components of the responses of many channels: orthonormal functions of time.

One column per channel, its flattened response standardised over samples; the functions are the
first score vectors of these columns, scaled to unit norm, so they are orthogonal to constants too.
"""

from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from ._archives import read

COMPONENTS = 10


class Basis(eqx.Module):
    """Functions φ_k of (sample, sweep), one array (n, sweeps, 10) for each protocol, dynamic.

    Σ φ_k φ_l = δ_kl and Σ φ_k = 0 over the samples of all sweeps.
    """

    functions: tuple[jax.Array | np.ndarray, ...]
    names: tuple[str, ...] = eqx.field(static=True)

    def save(self, path: str | Path) -> None:
        """Write an .npz, about 75 MB for the standard protocols; `load` reads it."""
        arrays = {f"functions_{i}": np.asarray(f) for i, f in enumerate(self.functions)}
        with open(path, "wb") as file:
            np.savez(file, names=np.array(self.names), **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Basis":
        """The basis of a file that `save` wrote; ValueError if it holds something else."""
        words = dict(expected="a file that Basis.save wrote", remedy="save it again")
        (names,) = read(path, "names", **words)
        names = tuple(str(name) for name in np.ravel(names))
        functions = read(path, *(f"functions_{i}" for i in range(len(names))), **words)
        for name, function in zip(names, functions, strict=True):
            _check_function(f"{path}: {name}", function)
        return cls(functions, names)


def _check_function(name: str, function: np.ndarray) -> None:
    """ValueError unless the columns of (n, sweeps, 10) are orthonormal and orthogonal to 1."""
    if function.ndim != 3 or function.shape[2] != COMPONENTS or function.dtype.kind != "f":
        raise ValueError(
            f"{name}: expected functions (n, sweeps, {COMPONENTS}), got {function.dtype} of shape "
            f"{function.shape}"
        )
    columns = function.reshape(-1, COMPONENTS)
    gram = np.zeros((COMPONENTS + 1, COMPONENTS + 1))
    for rows in np.array_split(columns, 1 + len(columns) // 100_000):
        wide = np.concatenate([rows, np.full((len(rows), 1), len(columns) ** -0.5)], axis=1)
        gram += wide.astype(float).T @ wide.astype(float)
    gap = np.abs(gram - np.eye(COMPONENTS + 1)).max()
    if not gap < 1e-4:
        raise ValueError(
            f"{name}: expected orthonormal functions, orthogonal to constants, got a product that "
            f"is off by {gap:.1e}; fit the basis again"
        )


def principal(name: str, responses: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """φ (n, sweeps, 10) in float32 from responses (channels, n, sweeps), labelled for errors."""
    channels, *shape = responses.shape
    flat = responses.reshape(channels, -1)
    pieces = np.array_split(np.arange(flat.shape[1]), 1 + flat.shape[1] // 50_000)
    mean = np.mean(flat, axis=1, dtype=float)
    gram = np.zeros((channels, channels))
    for piece in pieces:
        gap = flat[:, piece[0] : piece[-1] + 1] - mean[:, None]
        gram += gap @ gap.T
    sd = np.sqrt(np.diag(gram))
    flawed = ~(sd > 0)  # constant, or not finite
    if flawed.any():
        raise ValueError(
            f"thetas: expected channels with a finite, varying response, the one to {name} of "
            f"{', '.join(np.asarray(labels)[flawed][:3])} is not; leave these out"
        )
    values, vectors = np.linalg.eigh(gram / np.outer(sd, sd))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    if len(values) < COMPONENTS or not values[-1] > 1e-10 * values[0]:
        raise ValueError(
            f"thetas: expected at least {COMPONENTS} channels with linearly independent responses "
            f"to {name}, got {channels} of rank {int(np.sum(values > 1e-10 * values[0]))}"
        )
    # An eigenvector's sign is free: let the largest weight be positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(COMPONENTS)])
    weights = vectors / sd[:, None] / np.sqrt(values)
    phi = np.empty((flat.shape[1], COMPONENTS), np.float32)
    for piece in pieces:
        phi[piece] = (flat[:, piece[0] : piece[-1] + 1] - mean[:, None]).T @ weights
    return phi.reshape(*shape, COMPONENTS)
