"""What an analysis needs of a posterior: its density at one x, a function of θ, and θ's scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxsbi.arguments import as_theta
from jaxsbi.observations import refuse_batch
from jaxsbi.posteriors import Posterior
from jaxsbi.priors import Prior
from jaxsbi.types import Data

DRAWS = 20_000
"""Prior draws by which parameters without bounds are scaled."""


class Scales(NamedTuple):
    """The prior's range [low, high], and the standard coordinates u = (θ − centre) / scale.

    Between bounds they are the bounds, the middle and the standard deviation (high − low)/√12;
    elsewhere the extremes, the median and half the central 68 % of draws of the prior.
    """

    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]
    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class _Opaque:
    """log p(θ) of a posterior that is no pytree: compiled programs are kept by object."""

    posterior: Any
    x: Data | None

    def __call__(self, theta: Array) -> Array:
        given = () if self.x is None else (self.x,)
        return self.posterior.log_prob(theta, *given)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, _Opaque) and other.posterior is self.posterior
        return same and other.x is self.x

    def __hash__(self) -> int:
        return hash((id(self.posterior), id(self.x)))


def density_of(posterior: Any, x: Data | None = None) -> Partial:
    """θ (n, d) ↦ log p(θ | x) (n,) up to a constant, −inf outside the support: to be handed to jit.

    Two posteriors of one kind share a compiled program.
    """
    check_posterior(posterior)
    if not isinstance(posterior, Posterior):
        return Partial(_Opaque(posterior, x))
    x, batched = posterior._observation(x)
    refuse_batch("x", batched)
    return Partial(_density, posterior.bare, x)


def _density(posterior: Posterior, x: Data, theta: Array) -> Array:
    # not a chain posterior's own, which would need its evidence
    return Posterior.log_prob(posterior, theta, x)


def draws_of(key: Array, posterior: Any, n: int, x: Data | None) -> Float[Array, "n d"]:
    """θ_i ~ p(θ | x), i < n."""
    return posterior.sample(key, n) if x is None else posterior.sample(key, n, x)


def check_posterior(posterior: Any) -> None:
    """A ValueError unless posterior has a prior, log_prob and sample."""
    missing = [name for name in ("prior", "log_prob", "sample") if not hasattr(posterior, name)]
    if missing:
        raise ValueError(
            f"posterior must have {', '.join(missing)}, as those of jaxsbi.infer have, got "
            f"{type(posterior).__name__}"
        )


def scales(prior: Prior) -> Scales:
    """The prior's range and standard coordinates."""
    low, high = (np.asarray(end, float) for end in prior.bounds)
    bounded = np.isfinite(low)
    if bounded.all():
        return Scales(low, high, (low + high) / 2, (high - low) / np.sqrt(12))
    draws = np.asarray(_draws(prior), float)
    below, centre, above = np.quantile(draws, [0.1587, 0.5, 0.8413], axis=0)
    with np.errstate(invalid="ignore"):
        return Scales(
            np.where(bounded, low, draws.min(axis=0)),
            np.where(bounded, high, draws.max(axis=0)),
            np.where(bounded, (low + high) / 2, centre),
            np.where(bounded, (high - low) / np.sqrt(12), (above - below) / 2),
        )


@jax.jit
def _draws(prior: Prior) -> Array:
    return prior.sample(jax.random.key(0), DRAWS)


def as_limits(limits: Any, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (d,), of a grid: the prior's range unless given."""
    if limits is None:
        known = scales(prior)
        return known.low, known.high
    try:
        low, high = (np.broadcast_to(np.asarray(end, float), (prior.dim,)) for end in limits)
    except (TypeError, ValueError):
        low = high = np.full(1, np.nan)
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(low < high)):
        raise ValueError(
            f"limits must be (low, high) with low < high, numbers or ({prior.dim},) each, got "
            f"{limits!r}"
        )
    return low, high


def as_point(name: str, theta: Any, posterior: Any) -> Float[Array, " d"]:
    """θ (d,) in the prior's support; a ValueError otherwise."""
    theta = as_theta(theta, posterior.prior.dim, name)
    if theta.ndim != 1 or not bool(posterior.prior.in_support(theta)):
        raise ValueError(
            f"{name} must be one θ ({posterior.prior.dim},) in the prior's support, got "
            f"{np.asarray(theta).tolist()}"
        )
    return theta


def indices(name: str, chosen: Any, prior: Prior) -> tuple[int, ...]:
    """The places of parameters given by name; a ValueError for a name that is none."""
    chosen = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    unknown = [one for one in chosen if one not in prior.names]
    if unknown or not chosen or len(set(chosen)) != len(chosen):
        raise ValueError(
            f"{name} must name different parameters among {', '.join(prior.names)}, got "
            f"{', '.join(map(repr, unknown or chosen)) or 'none'}"
        )
    return tuple(prior.names.index(one) for one in chosen)
