"""The algorithms, each a small value in one engine."""

from typing import Any

from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.algorithms.npe import npe

FACTORIES = {"npe": npe}


def from_spec(spec: dict[str, Any]) -> Algorithm:
    """The algorithm that wrote `spec`."""
    settings = dict(spec)
    name = settings.pop("name")
    if name not in FACTORIES:
        raise ValueError(f"spec names the algorithm {name!r}, expected one of {list(FACTORIES)}")
    return FACTORIES[name](**settings)


__all__ = ["FACTORIES", "Algorithm", "from_spec", "npe"]
