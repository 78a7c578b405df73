"""The mode θ* = argmax p(θ | x_o): where it lies at a bound of the prior, or where few draws are.

A density may be highest where it has next to no mass: at a bound, or in a narrow peak beside the
bulk. A report says so, for a mode alone does not show it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import jax
import numpy as np

from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior

AT_BOUND = 0.005
"""Share of the prior's range within which a mode is said to lie at its bound."""
BESIDE = 0.1
"""How near to the mode draws are counted, in widths of their central 95 %."""
FEW = 0.025
"""Share of draws beside the mode below which they are few: in a normal law beyond 2.3 sds."""


def mode_of(posterior: Posterior, key: jax.Array | None = None) -> np.ndarray:
    """argmax_θ p(θ | x_o) (d,), without a warning: a report names the bounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(posterior.map(key=key))


def at_bound(mode: np.ndarray, prior: Prior) -> tuple[str, ...]:
    """The parameters whose mode lies at a bound of the prior."""
    low, high = map(np.asarray, prior.bounds)
    near = np.where(np.isfinite(high - low), AT_BOUND * (high - low), 0.0)
    hit = (mode <= low + near) | (mode >= high - near)
    return tuple(name for name, yes in zip(prior.names, hit, strict=True) if yes)


def beside(mode: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Share of draws (n, d) that lie beside the mode, parameter by parameter (d,)."""
    near = BESIDE * np.ptp(np.quantile(draws, [0.025, 0.975], axis=0), axis=0)
    return np.mean(np.abs(draws - mode) <= near, axis=0)


def sentences(
    mode: np.ndarray, draws: np.ndarray, names: Sequence[str], bounded: Sequence[str]
) -> list[str]:
    """What a reader of the mode must know; bounded: the parameters that are `at_bound`."""
    said, shares = [], beside(mode, draws)
    if bounded:
        said.append(
            f"The mode lies at a bound of the prior in {', '.join(bounded)}: the data would take a "
            "value beyond it, or do not constrain it."
        )
    few = [f"{names[i]} ({100 * shares[i]:.2g} %)" for i in np.flatnonzero(shares < FEW)]
    if few:
        said.append(
            f"The mode lies where little mass is: few posterior draws are near it in "
            f"{', '.join(few)}. The density peaks there, but draws stand for the posterior, not "
            "the mode."
        )
    return said
