"""LC2ST: is the posterior right at x_o, judged by simulations that came out much like it?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxsbi.arguments import check_count, check_key
from jaxsbi.diagnostics.features import LEAST_ROWS, Summary, Whitened, feature_rows
from jaxsbi.diagnostics.rows import BLOCK, Beside, Rows, beside, everywhere, judged_rows
from jaxsbi.diagnostics.samples import squared_distances
from jaxsbi.diagnostics.significance import CHANCE, exceedance, in_words
from jaxsbi.diagnostics.tarp import whitened
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey

RIDGE = 50.0
"""Of the classifier: directions that fewer pairs than about this many show are smoothed away."""


@dataclass(frozen=True)
class LC2ST:
    """Local classifier two-sample test of a posterior at one observation.

    statistic: mean over posterior draws at x_o of (P̂(truth | θ, x_o) − ½)², 0 for an exact one.
    null: (m,), the same where truths and draws are exchanged at random; p_value: exact if the
        posterior is at the x of all rows.
    rows: simulations used, the nearest to x_o.
    """

    statistic: float
    null: Float[np.ndarray, " m"]
    p_value: float
    rows: int

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        kind = "wrong" if self.p_value <= CHANCE else "no error found"
        told = np.sqrt(self.statistic)
        return (
            f"{kind} at x_o: truth and draws are told apart by {100 * told:.1f} points of "
            f"probability ({in_words(self.p_value)}, {self.rows:,} nearest simulations)"
        )


def lc2st(
    key: PRNGKey,
    posterior: Any,
    theta: Float[Array, "n d"],
    x: PyTree[Float[Array, "n ..."]],
    *,
    x_o: Data | None = None,
    nearest: int = 1000,
    samples: int = 200,
    permutations: int = 499,
    summary: Summary | None = None,
) -> LC2ST:
    """E over θ ~ q(· | x_o) of (P(truth | θ, x_o) − ½)², by a classifier of (θ*, x) and (θ ~ q, x).

    Any posterior can be tested so, one refined for its x_o too: rows are the `nearest` to x_o
    among draws (θ*, x) of p(θ) p(x | θ), for one by `tsnpe` of `truncated_joint`. The classifier is
    a Gaussian kernel machine, ridge regression on the differences of pairs of a truth and a draw,
    over x and over z in coordinates in which the posterior of each x has mean 0 and covariance I,
    by `samples` draws. Its fit is linear in the labels, so that all the nulls, in which each truth
    is exchanged with its draw or not, cost one factorisation. Give many rows: the more there are,
    the nearer the nearest.

    Blind to: errors finer than about a posterior's width, such as tails; errors that rows near x_o
    do not show, and where the posterior changes within the reach of the rows, what that blurs.
    summary: one x ↦ features in which nearness is judged.
    Linhart, Gramfort & Rodrigues 2023 (NeurIPS, arXiv:2306.03580).
    """
    check_key(key)
    if not hasattr(posterior, "sample") or not hasattr(posterior, "prior"):
        raise ValueError(f"posterior must have a prior and sample, got {posterior!r}")
    check_count("permutations", permutations, 19)
    check_count("nearest", nearest, LEAST_ROWS)
    prior = posterior.prior
    check_count("samples", samples, 2 * prior.dim + 3)
    rows = judged_rows(posterior, theta, x)
    if len(rows.theta) < LEAST_ROWS:
        raise ValueError(
            f"theta must hold at least {LEAST_ROWS} rows to judge by, got {len(rows.theta)}"
        )
    at_x_o = _one(getattr(posterior, "x_o", None) if x_o is None else x_o)
    rows, distances, place = _nearest(rows, at_x_o, nearest, summary)
    key_rows, key_here, key_null = jax.random.split(key, 3)
    serving = everywhere(posterior)
    pairs = beside(key_rows, serving, rows, samples + 1, partial(_pairs, prior))
    # x_o many times, as many as rows in a block, so that the program that drew beside them serves
    copies = jax.tree.map(lambda leaf: jnp.repeat(leaf, BLOCK, axis=0), at_x_o)
    draws = serving.sample(key_here, samples + 1, copies).reshape(-1, prior.dim)
    here = _own_coordinates(prior, draws[: max(1000, samples)])
    signs = jax.random.rademacher(key_null, (len(place), permutations), float)
    signs = jnp.concatenate([jnp.ones((len(place), 1)), signs], axis=1)
    values = np.asarray(_statistics(jnp.asarray(pairs), jnp.asarray(place), here, signs))
    p_value = float(exceedance(values[0], values[1:]))
    return LC2ST(float(values[0]), values[1:], p_value, len(place))


def _one(x_o: Data | None) -> Data:
    """x_o as a batch of one."""
    if x_o is None:
        raise ValueError("x_o must be given: this posterior was made without one")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], x_o)


def _nearest(
    rows: Rows, x_o: PyTree[Array], nearest: int, summary: Summary | None
) -> tuple[Rows, Array, Array]:
    """The rows nearest to x_o, and their features less its, in units of their median distance."""
    features = feature_rows(rows.x, summary)
    observed = feature_rows(x_o, summary)
    if observed.shape[1] != features.shape[1]:
        raise ValueError(
            f"x_o must be like a row of x, {features.shape[1]} numbers, got {observed.shape[1]}"
        )
    whiten = Whitened.by(features)
    away = whiten(features) - whiten(observed)
    distances = np.linalg.norm(away, axis=1)
    order = np.sort(np.argsort(distances, kind="stable")[:nearest])
    theta, x = jax.tree.map(lambda leaf: leaf[order], (rows.theta, rows.x))
    away, distances = away[order], distances[order]
    return Rows(theta, x, rows.unserved, rows.outside), distances, away / np.median(distances)


@jax.jit
def _pairs(prior: Prior, found: Beside) -> Float[Array, "b 2 d"]:
    """Truth and last draw of each row, whitened by its other draws."""

    def one(truth: Array, draws: Array) -> Array:
        z = prior.to_z(jnp.concatenate([truth[None], draws]))
        return whitened(jnp.stack([z[0], z[-1]]), by=z[1:-1])

    return jax.vmap(one)(found.theta, found.draws)


@jax.jit
def _own_coordinates(prior: Prior, draws: Float[Array, "s d"]) -> Float[Array, "s d"]:
    return whitened(prior.to_z(draws))


@jax.jit
def _statistics(
    pairs: Float[Array, "n 2 d"],
    place: Float[Array, "n k"],
    here: Float[Array, "s d"],
    signs: Float[Array, "n m"],
) -> Float[Array, " m"]:
    """The statistic for each column of signs: +1 where a truth is taken for a truth.

    f = Σ_i c_i [k(·, truth_i) − k(·, draw_i)] is P̂ − ½, fitted to f(truth_i) − f(draw_i) = ±1.
    """
    truth, draw, d = pairs[:, 0], pairs[:, 1], pairs.shape[2]

    def kernel(first: Array, second: Array) -> Array:
        return jnp.exp(-squared_distances(first, second) / (2 * d))

    near = jnp.exp(-squared_distances(place, place) / 2)
    crossed = kernel(truth, draw)
    of_pairs = near * (kernel(truth, truth) + kernel(draw, draw) - crossed - crossed.T)
    system = of_pairs + RIDGE * jnp.eye(len(truth))
    at_x_o = jnp.exp(-jnp.sum(place**2, axis=1) / 2)
    seen = (kernel(here, truth) - kernel(here, draw)) * at_x_o
    coefficients = jax.scipy.linalg.solve(system, signs, assume_a="pos")
    return jnp.mean((seen @ coefficients) ** 2, axis=0)
