"""The algorithms, each a small value in one engine."""

from typing import Any

from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.algorithms.apt import apt
from jaxsbi.algorithms.nle import nle
from jaxsbi.algorithms.npe import npe
from jaxsbi.algorithms.nre import nre
from jaxsbi.algorithms.snpe_a import snpe_a
from jaxsbi.algorithms.snpe_b import snpe_b
from jaxsbi.algorithms.tsnpe import tsnpe

FACTORIES = {factory.__name__: factory for factory in (apt, nle, npe, nre, snpe_a, snpe_b, tsnpe)}


def from_spec(spec: dict[str, Any]) -> Algorithm:
    """The algorithm that wrote `spec`."""
    settings = dict(spec)
    name = settings.pop("name")
    if name not in FACTORIES:
        raise ValueError(f"spec names the algorithm {name!r}, expected one of {list(FACTORIES)}")
    return FACTORIES[name](**settings)


__all__ = [
    "FACTORIES",
    "Algorithm",
    "apt",
    "from_spec",
    "nle",
    "npe",
    "nre",
    "snpe_a",
    "snpe_b",
    "tsnpe",
]
