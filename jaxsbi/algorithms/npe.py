"""NPE: neural posterior estimation, q(z | x) fitted to joint draws from the prior.

Papamakarios & Murray 2016 (NeurIPS); Gonçalves et al. 2020 (eLife 9:e56261), one round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxsbi.algorithms.algorithm import Algorithm


@dataclass(frozen=True)
class NPE(Algorithm):
    """What `npe` returns."""

    name: ClassVar[str] = "npe"
    sequential: ClassVar[bool] = False


def npe() -> Algorithm:
    """Amortised posterior estimation: argmin_q −E log q(z | x) over z ~ p(z), x ~ p(x | z).

    Further rounds draw from the prior again. Rows whose simulation failed as a whole are dropped:
    for an x that did not fail the posterior is the same.
    """
    return NPE()
