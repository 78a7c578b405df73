"""Figures of posteriors and of their checks. Arrays in, a matplotlib Figure out.

A figure is 7 inches wide at most, a printed page; `save` writes it as PNG and SVG. matplotlib
comes with the extra `plot` and is imported when a figure is made.
"""

from jaxsbi.plotting.canvas import save
from jaxsbi.plotting.checks import coverage, loss_curves, predictive, sbc_ranks
from jaxsbi.plotting.posteriors import marginals, pair_plot
from jaxsbi.plotting.voltages import traces

__all__ = [
    "coverage",
    "loss_curves",
    "marginals",
    "pair_plot",
    "predictive",
    "save",
    "sbc_ranks",
    "traces",
]
