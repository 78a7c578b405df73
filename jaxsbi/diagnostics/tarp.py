"""TARP: does the truth lie as far from a random point as posterior draws do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxsbi import triangular
from jaxsbi.arguments import check_count, check_key
from jaxsbi.diagnostics.calibration import LEVELS, check_judged
from jaxsbi.diagnostics.rows import Beside, beside, everywhere, judged_rows, left_out
from jaxsbi.diagnostics.significance import CHANCE, in_words, uniformity
from jaxsbi.priors import Prior
from jaxsbi.types import PRNGKey


@dataclass(frozen=True)
class TARP:
    """Tests of accuracy with random points.

    credibility: (n, 1 + d), the share of `samples` posterior draws that lie nearer to a random
        point than the truth does, uniform if the posterior is exact: to a point among the draws,
        and to d points far off in as many directions, each the same for all rows.
    p_values: (1 + d,), Kolmogorov–Smirnov of each column against the uniform law.
    unserved, outside: rows left out, as in `Calibration`.
    """

    samples: int
    credibility: Float[np.ndarray, "n m"]
    p_values: Float[np.ndarray, " m"]
    unserved: int = 0
    outside: int = 0

    @property
    def p_value(self) -> float:
        """Of all columns together (Bonferroni)."""
        return float(min(1.0, len(self.p_values) * np.min(self.p_values)))

    def coverage(self, levels: Sequence[float] = LEVELS) -> Float[np.ndarray, " l"]:
        """Share of true parameters in the balls about the near points that hold each level."""
        return np.mean(self.credibility[:, :1] <= np.asarray(levels), axis=0)

    @property
    def excess(self) -> float:
        """∫ (coverage(α) − α) dα: below 0 the truth lies farther out than the draws."""
        return 0.5 - float(np.mean(self.credibility[:, 0]))

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        p = in_words(self.p_value)
        if self.p_value > CHANCE:
            said = f"no error found: the truth lies among the draws ({p})"
        elif self.p_values[0] > CHANCE / len(self.p_values):
            said = f"wrong: the truth lies to one side of the draws, or unlike them along it ({p})"
        elif self.excess < 0:
            said = f"wrong: the truth lies farther out than the draws, too narrow or shifted ({p})"
        else:
            said = f"wrong: the truth lies nearer than the draws, too wide ({p})"
        return said + left_out(self.unserved, self.outside, len(self.credibility))


def tarp(
    key: PRNGKey,
    posterior: Any,
    theta: Float[Array, "n d"],
    x: PyTree[Float[Array, "n ..."]],
    *,
    samples: int = 500,
) -> TARP:
    """P(|θ_j − r| < |θ* − r|) is uniform over joint draws (θ*, x), θ_j ~ q(· | x), r random.

    The near point is one more draw of the posterior; a ball about it shows widths. Balls about far
    points are half-spaces; they show shifts. Distances are taken in z along the axes of draws and
    truth together, with unit variance along each: no density is needed, all parameters count
    alike, and the test sees errors of their correlations.

    Rows as in `calibrate`. Blind to: an error of one x that another's cancels; the prior in place
    of the posterior; errors that leave the distances from its own draws as they are.
    Lemos, Coogan, Hezaveh & Perreault-Levasseur 2023 (ICML, arXiv:2302.03026).
    """
    check_key(key)
    rows = judged_rows(check_judged(posterior), theta, x)
    prior = posterior.prior
    samples = check_count("samples", samples, 2 * prior.dim + 2)
    key_draws, key_directions = jax.random.split(key)
    directions = jax.random.orthogonal(key_directions, prior.dim)
    nearer = partial(_nearer, prior, directions)
    ranks = beside(key_draws, everywhere(posterior), rows, samples + 1, nearer)
    p_values = uniformity(ranks, samples)
    return TARP(samples, ranks / samples, p_values, rows.unserved, rows.outside)


def whitened(z: Float[Array, "m d"], by: Float[Array, "s d"] | None = None) -> Float[Array, "m d"]:
    """z in coordinates in which `by`, or z itself, has mean 0 and covariance I."""
    by = z if by is None else by
    centre = jnp.mean(by, axis=0)
    covariance = jnp.atleast_2d(jnp.cov(by, rowvar=False))
    spread = jnp.sqrt(jnp.diagonal(covariance)) + 1e-30
    correlation = covariance / spread / spread[:, None] + 1e-6 * jnp.eye(z.shape[-1])
    return triangular.solve(triangular.cholesky(correlation), ((z - centre) / spread).T).T


@jax.jit
def _nearer(prior: Prior, directions: Float[Array, "d d"], found: Beside) -> Float[Array, "b m"]:
    def one(truth: Array, draws: Array) -> Array:
        # truth and draws on one footing: any of them might be the truth
        u = whitened(prior.to_z(jnp.concatenate([truth[None], draws])))
        squared = jnp.sum((u - u[-1]) ** 2, axis=1, keepdims=True)
        distances = jnp.concatenate([squared, u @ directions], axis=1)[:-1]
        return jnp.sum(distances[1:] < distances[0], axis=0)

    return jax.vmap(one)(found.theta, found.draws)
