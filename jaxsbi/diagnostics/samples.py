"""Two samples: are they of one density? By classifiers, and by the distance of kernel means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from jaxsbi.arguments import check_count
from jaxsbi.diagnostics.significance import CHANCE, exceedance, in_words

LEAST_SAMPLE = 10
"""Rows of each sample below which a test says nothing."""
FOLDS = 5
"""Of the cross-validation of classifiers."""
MOST_PAIRED = 5000
"""Rows of each sample at most in a kernel matrix: one of 400 MB."""
WIDTHS = (0.25, 0.5, 1.0, 2.0)
"""Widths of the kernels summed, in units of the median distance."""


@dataclass(frozen=True)
class C2ST:
    """Mean five-fold accuracy of two classifiers told to tell two samples apart; 0.5 is perfect.

    rows: of both samples together.
    """

    mlp: float
    rf: float
    rows: int = 0

    @property
    def worst(self) -> float:
        return max(self.mlp, self.rf)

    @property
    def p_value(self) -> float:
        """P(an accuracy as high by guessing), of both classifiers (Bonferroni).

        Classifiers of different folds learn from shared rows, so that the mean accuracy varies by
        more than the binomial ¼/n: by ¼/n (1 + k/(k − 1)), rather too much than too little. Samples
        of unequal sizes are told apart by their sizes alone, and have none. Nadeau & Bengio 2003
        (Mach. Learn. 52:239).
        """
        sd = np.sqrt(0.25 / self.rows * (1 + FOLDS / (FOLDS - 1)))
        return float(min(1.0, 2 * stats.norm.sf((self.worst - 0.5) / sd)))

    @property
    def verdict(self) -> str:
        kind = "indistinguishable" if self.worst < 0.52 else "distinguishable"
        return f"{kind}: C2ST {self.mlp:.3f} (MLP), {self.rf:.3f} (random forest)"


@dataclass(frozen=True)
class MMD:
    """Squared distance of two samples' kernel means, unbiased: 0 in the mean for equals.

    null: (m,), the same of random divisions of the rows; p_value: exact.
    """

    squared: float
    null: Float[np.ndarray, " m"]
    p_value: float

    @property
    def verdict(self) -> str:
        kind = "distinguishable" if self.p_value <= CHANCE else "indistinguishable"
        return f"{kind}: MMD² {self.squared:.2g} ({in_words(self.p_value)})"


def c2st(
    reference: Float[Array, "n d"], samples: Float[Array, "n d"], *, jobs: int | None = None
) -> C2ST:
    """Classifier two-sample test by a multilayer perceptron and by a random forest.

    Both samples are standardised by the reference. Each classifier is blind to errors that the
    other sees, so both are always reported; to differences finer than the rows resolve both are.
    The settings are those of the published benchmark (Lueckmann et al. 2021, AISTATS). `jobs`:
    processes that score folds in parallel. Lopez-Paz & Oquab 2017 (arXiv:1610.06545).
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    first, second = _pair(reference, samples)
    centre, spread = first.mean(axis=0), first.std(axis=0, ddof=1)
    points = (np.concatenate([first, second]) - centre) / np.where(spread > 0, spread, 1.0)
    labels = np.repeat([0, 1], [len(first), len(second)])
    folds = KFold(n_splits=FOLDS, shuffle=True, random_state=1)
    width = 10 * first.shape[1]
    classifiers = (
        MLPClassifier(
            activation="relu", hidden_layer_sizes=(width, width), solver="adam",
            max_iter=10_000, random_state=1,
        ),
        RandomForestClassifier(random_state=1),
    )  # fmt: skip
    with threadpool_limits(1, "blas"):  # matrices are small: more threads only wait for each other
        scores = [
            np.mean(cross_val_score(c, points, labels, cv=folds, scoring="accuracy", n_jobs=jobs))
            for c in classifiers
        ]
    return C2ST(*map(float, scores), rows=len(points))


def mmd(
    reference: Float[Array, "n d"],
    samples: Float[Array, "m d"],
    *,
    permutations: int = 999,
    seed: int = 0,
) -> MMD:
    """MMD² = E k(x, x') − 2 E k(x, y) + E k(y, y'), tested by dividing the rows at random.

    k sums Gaussian kernels of ¼ to 2 times the median distance of the rows, which are standardised
    by both samples together; of samples above 5000 rows, the first 5000 count. The null costs one
    matrix product: divisions are columns of signs.

    Blind to: differences much finer than the median distance, or in few of many dimensions.
    Gretton, Borgwardt, Rasch, Schölkopf & Smola 2012 (JMLR 13:723); Schmitt et al. 2023
    (arXiv:2112.08866) test observations so, many at once, against simulations.
    """
    check_count("permutations", permutations, 19)
    first, second = (sample[:MOST_PAIRED] for sample in _pair(reference, samples))
    rows = np.concatenate([first, second])
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    rng = np.random.default_rng(seed)
    belongs = np.repeat([1.0, 0.0], [len(first), len(second)])
    divisions = np.stack([belongs, *(rng.permutation(belongs) for _ in range(permutations))], 1)
    squared = np.asarray(_squared(jnp.asarray(rows, float), jnp.asarray(divisions, float)))
    return MMD(float(squared[0]), squared[1:], float(exceedance(squared[0], squared[1:])))


@jax.jit
def _squared(rows: Float[Array, "n d"], divisions: Float[Array, "n m"]) -> Float[Array, " m"]:
    """MMD² of each division (1: first sample, 0: second)."""
    kernel = kernel_matrix(squared_distances(rows, rows))
    kernel = kernel - jnp.diag(jnp.diagonal(kernel))
    n = jnp.sum(divisions[:, 0])
    m = rows.shape[0] - n
    seen = kernel @ divisions
    within = jnp.sum(divisions * seen, axis=0)
    between = jnp.sum((1 - divisions) * seen, axis=0)
    others = jnp.sum(kernel) - within - 2 * between
    return within / (n * (n - 1)) - 2 * between / (n * m) + others / (m * (m - 1))


def squared_distances(
    first: Float[Array, "n d"], second: Float[Array, "m d"]
) -> Float[Array, "n m"]:
    """|a_i − b_j|²."""
    squares = jnp.sum(first**2, axis=1)[:, None] + jnp.sum(second**2, axis=1)
    return jnp.maximum(squares - 2 * jnp.dot(first, second.T, precision="highest"), 0.0)


def kernel_matrix(squared: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """Mean of Gaussian kernels of several widths about the median distance."""
    median = jnp.median(squared[::7, ::7]) + 1e-30
    return sum(jnp.exp(-squared / (2 * width**2 * median)) for width in WIDTHS) / len(WIDTHS)


def _pair(reference: Any, samples: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = _sample("reference", reference), _sample("samples", samples)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"samples must have {first.shape[1]} columns like the reference, got {second.shape[1]}"
        )
    return first, second


def _sample(name: str, values: Any) -> Float[np.ndarray, "n d"]:
    try:
        sample = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a finite (n, d) array, got {values!r}") from None
    if sample.ndim != 2 or len(sample) < LEAST_SAMPLE or not np.all(np.isfinite(sample)):
        raise ValueError(
            f"{name} must be a finite (n, d) array of at least {LEAST_SAMPLE} rows, "
            f"got shape {sample.shape}"
        )
    return sample
