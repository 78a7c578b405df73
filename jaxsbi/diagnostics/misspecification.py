"""Misspecification: is x_o where simulations are? No posterior is right for an x that is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxsbi.diagnostics.features import (
    Summary,
    far_out,
    feature_names,
    observed_and_simulated,
)
from jaxsbi.diagnostics.significance import CHANCE, holm, in_words


@dataclass(frozen=True)
class Misspecification:
    """How far out observations lie among simulations.

    p_values: (b,), the share of simulations as far from their nearest neighbours as x_o is.
    tails: (b, k), of each feature alone: twice the smaller share of simulations beyond x_o; NaN
        where it is undefined in x_o.
    """

    names: tuple[str, ...]
    p_values: Float[np.ndarray, " b"]
    tails: Float[np.ndarray, "b k"]
    simulations: int

    def rejected(self, level: float = CHANCE) -> np.ndarray:
        """Observations outside the simulations, at a family-wise level (Holm): (b,)."""
        return holm(self.p_values, level)

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        out, b = self.rejected(), len(self.p_values)
        least = in_words(float(self.p_values.min()))
        if not out.any():
            which = "x_o lies" if b == 1 else f"all {b} observations lie"
            return f"{which} where simulations are ({least})"
        tails = np.nan_to_num(self.tails[out], nan=1.0).min(axis=0)
        extreme = [self.names[i] for i in np.argsort(tails)[:3] if tails[i] <= CHANCE]
        by = f"extreme in {', '.join(extreme)}" if extreme else "by a combination of features"
        which = "x_o lies" if b == 1 else f"{out.sum()} of {b} observations lie"
        return f"misspecified: {which} where no simulations are, {by} ({least})"


def misspecification(
    x_o: PyTree[Array],
    x: PyTree[Float[Array, "n ..."]],
    *,
    names: Sequence[str] | None = None,
    summary: Summary | None = None,
) -> Misspecification:
    """P(a simulation lies as far from its nearest neighbours as x_o does), x ~ p(x).

    Features are brought to one scale, their tails tamed, and whitened by one half of the
    simulations; the other half's mean distances to their ten nearest neighbours in the first are
    the null. An undefined (NaN) feature is a place of its own, which the same feature undefined in
    simulations makes near.

    x: simulations from the prior, or from the posterior for a sharper question.
    x_o: one observation, or a batch, judged each alone; many of one kind together are judged by
        `mmd(x, x_o)`, the test of Schmitt et al. 2023 (arXiv:2112.08866).
    names: of the features. summary: one x ↦ features to judge by, such as the posterior's own,
        `posterior.conditional.context`; errors that it does not show are not seen.

    Blind to: a model wrong in what leaves x_o among its simulations, noise too wide for one; and
    with few simulations of many features, to all but gross distances.
    """
    observed, _, simulated = observed_and_simulated(x_o, x, summary)
    names = feature_names(names, observed.shape[1])
    return Misspecification(
        names, far_out(observed, simulated), tails(observed, simulated), len(simulated)
    )


def tails(
    observed: Float[np.ndarray, "b k"], simulated: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "b k"]:
    """Two-sided p-value of each observed feature among those simulations that define it."""
    defined = np.sum(~np.isnan(simulated), axis=0)
    at_least = np.array([np.sum(simulated >= one, axis=0) for one in observed])
    at_most = np.array([np.sum(simulated <= one, axis=0) for one in observed])
    share = (1 + np.minimum(at_least, at_most)) / (1 + defined)
    return np.where(np.isnan(observed), np.nan, np.minimum(2 * share, 1.0))
