"""C2ST: how well a classifier tells an algorithm's samples from the reference's; 0.5 is perfect.

Both sets are standardised by the reference's mean and standard deviation (ddof 1); the score is
the mean accuracy over `KFold(5, shuffle=True, random_state=1)`. MLP is the classifier of the 2021
benchmark, RF that of the numbers published since: each is blind to errors the other sees, and
scores of different classifiers are never compared. Friedman 2003; Lopez-Paz & Oquab 2017,
arXiv:1610.06545. This module knows no JAX, so that scoring processes start quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

CLASSIFIERS = ("RF", "MLP")
FOLDS = KFold(5, shuffle=True, random_state=1)


def classifier(name: str, dim: int) -> ClassifierMixin:
    """The classifier of that name for samples of `dim` numbers."""
    if name == "RF":
        return RandomForestClassifier(random_state=1)
    return MLPClassifier(
        activation="relu",
        hidden_layer_sizes=(10 * dim, 10 * dim),
        solver="adam",
        max_iter=10_000,
        random_state=1,
    )


def c2st(reference: np.ndarray, samples: np.ndarray, name: str) -> float:
    """Accuracy of the classifier `name` between reference and samples, both (n, d)."""
    reference, samples = (np.asarray(a, np.float32) for a in (reference, samples))
    if reference.shape != samples.shape or reference.ndim != 2:
        raise ValueError(
            f"samples must have the reference's shape (n, d) {reference.shape}, "
            f"got {samples.shape}; draw as many"
        )
    if name not in CLASSIFIERS:
        raise ValueError(f"name must be one of {CLASSIFIERS}, got {name!r}")
    mean, sd = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    rows = np.concatenate([(reference - mean) / sd, (samples - mean) / sd])
    labels = np.repeat([0, 1], len(reference))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(
            classifier(name, rows.shape[1]), rows, labels, cv=FOLDS, scoring="accuracy"
        )
    return float(np.mean(scores))


def cached_c2st(
    reference: np.ndarray, samples: np.ndarray, name: str, folder: str | os.PathLike
) -> float:
    """`c2st`, remembered in `folder` under a digest of both arrays and scikit-learn's version."""
    digest = hashlib.sha256(f"{name} {sklearn.__version__}".encode())
    for array in (reference, samples):
        array = np.ascontiguousarray(array, np.float32)
        digest.update(str(array.shape).encode() + array.tobytes())
    path = Path(folder) / f"{digest.hexdigest()[:32]}.json"
    try:
        return float(json.loads(path.read_text())["c2st"])
    except (OSError, ValueError, KeyError, TypeError):  # absent, or cut while it was written
        score = c2st(reference, samples, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps({"c2st": score, "classifier": name}))
    unfinished.replace(path)
    return score
