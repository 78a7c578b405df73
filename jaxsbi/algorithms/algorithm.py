"""The seam between the engine and an algorithm: five pure functions over rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxsbi.types import Loss


class Algorithm(NamedTuple):
    """What distinguishes one method of inference from another; training knows none of it.

    name: as users write it.
    sequential: whether rounds after the first draw from a proposal made for one x_o.
    init(key, estimator, dim, moments): the conditional density, with fresh weights.
    first_loss: the `Loss` of the first round, whose rows come from the prior.
    loss: the `Loss` of later rounds.
    propose(conditional, prior, x_o): the next round's proposal `draw(key, row) -> θ`, as a pytree.
    posterior(conditional, prior, x_o, **record): the posterior of the trained density.
    """

    name: str
    sequential: bool
    init: Callable[..., Any]
    first_loss: Loss
    loss: Loss
    propose: Callable[..., Any]
    posterior: Callable[..., Any]
