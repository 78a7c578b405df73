"""The algorithms, each a small value in one engine."""

from jaxsbi.algorithms.algorithm import Algorithm
from jaxsbi.algorithms.npe import npe

__all__ = ["Algorithm", "npe"]
