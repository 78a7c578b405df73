"""Whether rounds for one observation brought the posterior nearer to it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

import jaxsbi
from jaxsbi.posteriors import Posterior
from jaxsbi.types import PRNGKey, Simulator


class Refinement(NamedTuple):
    """Median distance of posterior draws' features from the observed ones, before and after.

    Distance: √(mean_j (x_j − x_o,j)² / s_j²) over the features j, s their sds under the prior.
    """

    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether it came nearer. A region drawn too tightly leaves the right parameters out."""
        return self.after < self.before


def judge(
    key: PRNGKey, simulate: Simulator, x_o: jax.Array, before: Posterior, after: Posterior, n: int
) -> Refinement:
    """From n draws of either posterior and of the prior, simulated anew."""
    key_prior, *keys = jax.random.split(key, 3)
    _, x = jaxsbi.simulate(key_prior, simulate, before.prior, n)
    scale = np.nanstd(np.asarray(x, np.float64), axis=0)

    def distance(key: PRNGKey, posterior: Posterior) -> float:
        key_draw, key_run = jax.random.split(key)
        x = jaxsbi.predict(key_run, simulate, posterior.sample(key_draw, n))
        apart = (np.asarray(x, np.float64) - np.asarray(x_o)) / np.where(scale > 0, scale, 1.0)
        return float(np.nanmedian(np.sqrt(np.nanmean(apart**2, axis=1))))

    return Refinement(*(distance(k, p) for k, p in zip(keys, (before, after), strict=True)))
