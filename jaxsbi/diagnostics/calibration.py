"""Ranks and coverage: does the truth lie among posterior draws as one of them would?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxsbi.arguments import check_count, check_key, check_real
from jaxsbi.diagnostics.rows import Beside, beside, everywhere, judged_rows, left_out, region_of
from jaxsbi.diagnostics.significance import CHANCE, holm, uniformity
from jaxsbi.types import PRNGKey

LEVELS = (0.5, 0.8, 0.95)
"""Credible levels whose coverage is told unless others are asked for."""
GAP = 0.05
"""Share by which coverage may be off before a verdict says so."""


@dataclass(frozen=True)
class Coverage:
    """Share of true parameters inside the regions of highest density of credible `levels` (l,).

    p_value: of all levels at once; unserved, outside: rows left out, as in `Calibration`.
    """

    levels: Float[np.ndarray, " l"]
    shares: Float[np.ndarray, " l"]
    p_value: float
    rows: int
    unserved: int = 0
    outside: int = 0

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        points = 100 * (self.shares - self.levels)
        worst = int(np.argmax(np.abs(points)))
        told = (
            f"the region of {100 * self.levels[worst]:.3g} % holds the truth in "
            f"{100 * self.shares[worst]:.3g} % of {self.rows} cases"
        )
        if self.p_value <= CHANCE:
            word = "too narrow" if points[worst] < 0 else "too wide"
            told = f"{word}, more than by chance: {told}"
        else:
            told = f"as nominal, but for what chance explains: {told}"
        return told + left_out(self.unserved, self.outside, self.rows)


@dataclass(frozen=True)
class Calibration:
    """Simulation-based calibration and expected coverage of one posterior over many x.

    ranks: (n, d), the number of `samples` posterior draws below each true parameter.
    p_values: (d,), Kolmogorov–Smirnov of the ranks against the uniform law.
    credibility: (n,), the share of posterior draws with a higher density than the truth: the
        smallest credible region of highest density that holds it.
    unserved: rows left out because the posterior serves no such x: their features are undefined in
        a pattern that no row of its training had.
    outside: rows left out because their θ lies outside the truncated prior.
    """

    names: tuple[str, ...]
    samples: int
    ranks: Int[np.ndarray, "n d"]
    p_values: Float[np.ndarray, " d"]
    credibility: Float[np.ndarray, " n"]
    unserved: int = 0
    outside: int = 0

    def rejected(self, level: float = CHANCE) -> Bool[np.ndarray, " d"]:
        """Parameters whose uniformity is rejected at a family-wise level (Holm)."""
        return holm(self.p_values, level)

    def coverage(self, levels: Sequence[float] = LEVELS) -> Float[np.ndarray, " l"]:
        """Share of true parameters inside the region of highest density of each level."""
        return np.mean(self.credibility[:, None] <= np.asarray(levels), axis=0)

    @property
    def coverage_p_value(self) -> float:
        """Kolmogorov–Smirnov of the credibility: of the coverage of all levels at once.

        It sees what no parameter's ranks do, a wrong correlation for one.
        """
        ranks = np.rint(self.credibility * self.samples)
        return float(uniformity(ranks[:, None], self.samples)[0])

    @property
    def gap(self) -> float:
        """The largest |coverage − level| over LEVELS."""
        return float(np.max(np.abs(self.coverage() - LEVELS)))

    @property
    def calibrated(self) -> bool:
        """Whether ranks and coverage are off by no more than chance (1 %), nor by 5 points."""
        by_chance = self.coverage_p_value > CHANCE
        return not np.any(self.rejected()) and by_chance and self.gap <= GAP

    @property
    def verdict(self) -> str:
        """One sentence a reader can act on."""
        return self._judgement + left_out(self.unserved, self.outside, len(self.credibility))

    @property
    def _judgement(self) -> str:
        wrong = [name for name, hit in zip(self.names, self.rejected(), strict=False) if hit]
        if wrong:
            return f"not calibrated: ranks of {', '.join(wrong)} are not uniform (Holm, 1 %)"
        points = f"{100 * self.gap:.1f} points"
        if not self.calibrated:
            more = ", more than by chance" * (self.coverage_p_value <= CHANCE)
            return f"ranks are uniform, but coverage is off by up to {points}{more}"
        return f"calibrated: uniform ranks, coverage within {points} of nominal"


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

    A posterior refined for one x_o has no such law to keep, but by `tsnpe` it has: over x from the
    prior truncated to its region. Rows outside are left out; `truncated_joint` draws inside.

    Blind to: an error of one x that another's cancels, for the law is one over all x; the prior in
    place of the posterior, which is calibrated too; ranks, to all that marginals do not show; and
    coverage, to what leaves the density's ranks as they are. LC2ST sees those, at one x.
    Talts et al. 2018 (arXiv:1804.06788); Hermans et al. 2022 (TMLR).
    """
    check_key(key)
    samples = check_count("samples", samples, 2)
    rows = judged_rows(check_judged(posterior), theta, x)
    found = beside(key, everywhere(posterior), rows, samples, _ranked, densities=True)
    ranks, credibility = found
    return Calibration(
        posterior.prior.names, samples, ranks, uniformity(ranks, samples), credibility,
        rows.unserved, rows.outside,
    )  # fmt: skip


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
) -> Coverage:
    """Expected coverage of the regions of highest density of the given credible levels."""
    if np.ndim(levels) != 1 or not len(levels):
        raise ValueError(f"levels must be a list such as (0.5, 0.95), got {levels!r}")
    levels = [check_real("levels", level, 0.0, 1.0) for level in levels]
    found = calibrate(key, posterior, theta, x, samples=samples)
    return Coverage(
        np.asarray(levels), found.coverage(levels), found.coverage_p_value,
        len(found.credibility), found.unserved, found.outside,
    )  # fmt: skip


def check_judged(posterior: Any) -> Any:
    """The posterior; a ValueError that says what to use unless a law over many x holds for it."""
    if getattr(posterior, "amortised", None) or region_of(posterior) is not None:
        return posterior
    if hasattr(posterior, "amortised"):
        got = (
            "one that holds for its own x_o only; jaxsbi.diagnostics.lc2st tests it there, and one "
            "by jaxsbi.tsnpe() can be calibrated over jaxsbi.diagnostics.truncated_joint"
        )
    else:
        got = repr(posterior)
    raise ValueError(f"posterior must be an amortised one, as jaxsbi.npe gives, got {got}")


@jax.jit
def _ranked(found: Beside) -> tuple[Array, Array]:
    ranks = jnp.sum(found.draws < found.theta[:, None], axis=1)
    return ranks, jnp.mean(found.log_prob_draws > found.log_prob_theta[:, None], axis=1)
