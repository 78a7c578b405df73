"""Diagnostics: is the posterior right? Each returns a small result with a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree
from scipy import stats

from jaxsbi.arguments import check_count, check_key, check_real
from jaxsbi.dataset import is_valid
from jaxsbi.observations import as_joint_rows, as_observation, is_served
from jaxsbi.posteriors import Posterior
from jaxsbi.types import PRNGKey

LEVELS = (0.5, 0.8, 0.95)
"""Credible levels whose coverage is told unless others are asked for."""
BLOCK = 50
"""Observations whose posteriors are sampled in one compiled call."""
LEAST_SAMPLE = 10
"""Rows of each sample below which a classifier's accuracy says nothing."""


@dataclass(frozen=True)
class Calibration:
    """Simulation-based calibration and expected coverage of one amortised posterior.

    ranks: (n, d), the number of `samples` posterior draws below each true parameter.
    p_values: (d,), Kolmogorov–Smirnov of the ranks against the uniform law.
    credibility: (n,), the share of posterior draws with a higher density than the truth: the
        smallest credible region of highest density that holds it.
    unserved: rows left out because the posterior serves no such x: their features are undefined in
        a pattern that no row of its training had.
    """

    names: tuple[str, ...]
    samples: int
    ranks: Int[np.ndarray, "n d"]
    p_values: Float[np.ndarray, " d"]
    credibility: Float[np.ndarray, " n"]
    unserved: int = 0

    def rejected(self, level: float = 0.01) -> Bool[np.ndarray, " d"]:
        """Parameters whose uniformity is rejected at a family-wise level (Holm)."""
        return holm(self.p_values, level)

    def coverage(self, levels: Sequence[float] = LEVELS) -> Float[np.ndarray, " l"]:
        """Share of true parameters inside the region of highest density of each level."""
        return np.mean(self.credibility[:, None] <= np.asarray(levels), axis=0)

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        n = len(self.credibility) + self.unserved
        if not self.unserved:
            return self._judgement
        return (
            f"{self._judgement}; {self.unserved:,} of {n:,} rows are left out, their features "
            "undefined in a pattern never seen in training"
        )

    @property
    def _judgement(self) -> str:
        wrong = [name for name, hit in zip(self.names, self.rejected(), strict=False) if hit]
        if wrong:
            return f"not calibrated: ranks of {', '.join(wrong)} are not uniform (Holm, 1 %)"
        gap = np.max(np.abs(self.coverage() - LEVELS))
        if gap > 0.05:
            return f"ranks are uniform, but coverage is off by up to {100 * gap:.0f} points"
        return f"calibrated: uniform ranks, coverage within {100 * gap:.1f} points of nominal"


def calibrate(
    key: PRNGKey,
    posterior: Any,
    theta: Float[Array, "n d"],
    x: PyTree[Float[Array, "n ..."]],
    *,
    samples: int = 500,
) -> Calibration:
    """SBC and expected coverage in one pass over n joint draws (θ, x) ~ p(θ) p(x | θ).

    The rank of a true parameter among posterior draws is uniform, and the truth lies in a region
    of highest density of credibility α with probability α, if the posterior is exact. Rows whose
    simulation failed are left out: the posterior is that of the accepted joint. So are those whose
    undefined features form a pattern that the training never saw; the result counts them.
    Talts et al. 2018 (arXiv:1804.06788); Hermans et al. 2022 (TMLR).
    """
    check_key(key)
    samples = check_count("samples", samples, 2)
    if not getattr(posterior, "amortised", None):
        sequential = hasattr(posterior, "amortised")
        got = "one that holds for its own x_o only" if sequential else repr(posterior)
        raise ValueError(f"posterior must be an amortised one, as jaxsbi.npe gives, got {got}")
    theta, x = as_joint_rows(theta, x, posterior.prior)
    valid = np.flatnonzero(np.asarray(is_valid(x)))
    if valid.size == 0:
        raise ValueError("x must hold at least one valid row, got only failed simulations")
    theta, x = jax.tree.map(itemgetter(valid), (theta, x))
    served = np.flatnonzero(_is_served(posterior, x))
    if served.size == 0:
        raise ValueError(
            "x must hold rows whose undefined features some simulation trained on had too, got "
            f"none among {len(valid)}; simulate them as the posterior's were"
        )
    theta, x = jax.tree.map(itemgetter(served), (theta, x))
    n = len(served)
    padded = -(-n // BLOCK) * BLOCK
    index = np.arange(padded) % n  # whole blocks only, so that one program serves all
    ranks, credibility = [], []
    for first in range(0, padded, BLOCK):
        block = index[first : first + BLOCK]
        truth, x_block = jax.tree.map(itemgetter(block), (theta, x))
        draws = posterior.sample(jax.random.fold_in(key, first), samples, x_block)
        density = posterior.log_prob(jnp.concatenate([truth[:, None], draws], axis=1), x_block)
        ranks.append(np.sum(np.asarray(draws < truth[:, None]), axis=1))
        credibility.append(np.mean(np.asarray(density[:, 1:] > density[:, :1]), axis=1))
    ranks, credibility = np.concatenate(ranks)[:n], np.concatenate(credibility)[:n]
    jitter = np.random.default_rng(0).uniform(size=ranks.shape)
    uniform = (ranks + jitter) / (samples + 1)  # exactly uniform under calibration, without ties
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in uniform.T])
    names, unserved = posterior.prior.names, len(valid) - n
    return Calibration(names, samples, ranks, p_values, credibility, unserved)


def _is_served(posterior: Any, x: PyTree) -> Bool[np.ndarray, " n"]:
    """Rows whose undefined features the posterior can be asked about."""
    if not isinstance(posterior, Posterior) or posterior.masks is None:
        return np.ones(jax.tree.leaves(x)[0].shape[0], bool)
    like = posterior.moments.location
    x, _ = as_observation("x", x, like, trials=posterior.algorithm.trials)
    return is_served(x, like, posterior.masks)


def sbc(
    key: PRNGKey, posterior: Any, theta: Array, x: PyTree, *, samples: int = 500
) -> Calibration:
    """Simulation-based calibration: see `calibrate`; read `.ranks`, `.p_values`, `.rejected()`."""
    return calibrate(key, posterior, theta, x, samples=samples)


def coverage(
    key: PRNGKey,
    posterior: Any,
    theta: Array,
    x: PyTree,
    *,
    levels: Sequence[float] = LEVELS,
    samples: int = 500,
) -> Float[np.ndarray, " l"]:
    """Expected coverage of the regions of highest density of the given credible levels."""
    if np.ndim(levels) != 1 or not len(levels):
        raise ValueError(f"levels must be a list such as (0.5, 0.95), got {levels!r}")
    levels = [check_real("levels", level, 0.0, 1.0) for level in levels]
    return calibrate(key, posterior, theta, x, samples=samples).coverage(levels)


@dataclass(frozen=True)
class C2ST:
    """Mean five-fold accuracy of two classifiers told to tell two samples apart; 0.5 is perfect."""

    mlp: float
    rf: float

    @property
    def worst(self) -> float:
        return max(self.mlp, self.rf)

    @property
    def verdict(self) -> str:
        kind = "indistinguishable" if self.worst < 0.52 else "distinguishable"
        return f"{kind}: C2ST {self.mlp:.3f} (MLP), {self.rf:.3f} (random forest)"


def c2st(
    reference: Float[Array, "n d"], samples: Float[Array, "n d"], *, jobs: int | None = None
) -> C2ST:
    """Classifier two-sample test by a multilayer perceptron and by a random forest.

    Both samples are standardised by the reference. Each classifier is blind to errors that the
    other sees, so both are always reported. The settings are those of the published benchmark
    (Lueckmann et al. 2021, AISTATS). `jobs`: processes that score folds in parallel.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    first, second = _sample("reference", reference), _sample("samples", samples)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"samples must have {first.shape[1]} columns like the reference, got {second.shape[1]}"
        )
    centre, spread = first.mean(axis=0), first.std(axis=0, ddof=1)
    points = (np.concatenate([first, second]) - centre) / np.where(spread > 0, spread, 1.0)
    labels = np.repeat([0, 1], [len(first), len(second)])
    folds = KFold(n_splits=5, shuffle=True, random_state=1)
    width = 10 * first.shape[1]
    classifiers = (
        MLPClassifier(
            activation="relu", hidden_layer_sizes=(width, width), solver="adam",
            max_iter=10_000, random_state=1,
        ),
        RandomForestClassifier(random_state=1),
    )  # fmt: skip
    scores = [
        float(
            np.mean(cross_val_score(c, points, labels, cv=folds, scoring="accuracy", n_jobs=jobs))
        )
        for c in classifiers
    ]
    return C2ST(*scores)


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


def holm(p_values: Float[np.ndarray, " m"], level: float) -> Bool[np.ndarray, " m"]:
    """Which hypotheses Holm's step-down procedure rejects at a family-wise error level."""
    p_values = np.asarray(p_values)
    order = np.argsort(p_values)
    passed = p_values[order] <= level / np.arange(len(order), 0, -1)
    rejected = np.zeros(len(order), bool)
    rejected[order] = np.cumprod(passed).astype(bool)
    return rejected
