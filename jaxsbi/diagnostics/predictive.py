"""Posterior predictive checks: do parameters drawn from the posterior behave like what was seen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from jaxsbi.diagnostics.features import far_out, feature_names, observed_and_simulated
from jaxsbi.diagnostics.misspecification import tails
from jaxsbi.diagnostics.significance import CHANCE, holm, in_words


@dataclass(frozen=True)
class Predictive:
    """Where x_o lies among simulations of posterior draws.

    p_values: (k,), of each feature: twice the smaller share of predictions beyond it.
    agreement: (k,), the share of predictions in which the feature is defined, if it is in x_o,
        and undefined if it is not.
    joint: p-value of all features together, by distances to nearest neighbours.
    """

    names: tuple[str, ...]
    p_values: Float[np.ndarray, " k"]
    agreement: Float[np.ndarray, " k"]
    joint: float
    predictions: int

    def rejected(self, level: float = CHANCE) -> Bool[np.ndarray, " k"]:
        """Features that are not predicted, at a family-wise level (Holm)."""
        return holm(self.p_values, level)

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        missed = [name for name, hit in zip(self.names, self.rejected(), strict=True) if hit]
        if missed:
            return f"not predicted: {', '.join(missed)} (Holm, 1 %)"
        if self.joint <= CHANCE:
            return f"each feature is predicted, all together are not ({in_words(self.joint)})"
        return f"predicted: every feature, and all together ({in_words(self.joint)})"


def predictive(
    x_o: PyTree[Array],
    predicted: PyTree[Float[Array, "n ..."]],
    *,
    names: Sequence[str] | None = None,
) -> Predictive:
    """P(x_i beyond x_o,i), x ~ p(x | θ), θ ~ p(θ | x_o): each feature's, and of all together.

    predicted: simulations of posterior draws, jaxsbi.predict(key, simulate, theta).
    A feature that x_o and the predictions do not define alike counts as missed.

    Blind to: a posterior too narrow, or of a wrong correlation, as long as its draws fit, and one
    that lost a mode; too wide ones are seen by far misses only. x_o was used twice, so p-values of
    good posteriors gather about one half, and false alarms are rarer than the level.
    Gelman, Meng & Stern 1996 (Statistica Sinica 6:733).
    """
    observed, batched, simulated = observed_and_simulated(x_o, predicted)
    if batched:
        raise ValueError("x_o must be one observation, got a batch; check each with its own draws")
    alike = np.isnan(simulated) == np.isnan(observed)
    agreement = alike.mean(axis=0)
    p_values = np.nan_to_num(tails(observed, simulated)[0], nan=1.0)
    pattern = (1 + alike.sum(axis=0)) / (1 + len(simulated))
    p_values = np.where(agreement < 1, np.minimum(1, 2 * np.minimum(p_values, pattern)), p_values)
    joint = float(far_out(observed, simulated)[0])
    names = feature_names(names, observed.shape[1])
    return Predictive(names, p_values, agreement, joint, len(simulated))
