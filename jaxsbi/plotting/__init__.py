"""Figures of posteriors and of their checks: arrays and results in, a matplotlib Figure out.

Of θ: `pairs`, `conditional_pairs`, `marginals`, `correlations`, `paths`; `reach` of them.
Of x: `predictive`, `traces`, `bands`. Of checks: `ranks`, `ecdf`, `coverage`. Of an inference:
`losses`, `ledger`.

A figure is a printed page at most, 7 by 9.2 inches; `save` writes it as PNG and SVG. matplotlib
comes with the extra `plot` and is imported when a figure is made.
"""

from jaxsbi.plotting.canvas import save
from jaxsbi.plotting.checks import coverage, ecdf, predictive, ranks
from jaxsbi.plotting.correlations import correlations
from jaxsbi.plotting.histories import ledger, losses
from jaxsbi.plotting.parameters import reach
from jaxsbi.plotting.posteriors import conditional_pairs, marginals, pairs
from jaxsbi.plotting.trails import paths
from jaxsbi.plotting.voltages import bands, traces

__all__ = [
    "bands",
    "conditional_pairs",
    "correlations",
    "coverage",
    "ecdf",
    "ledger",
    "losses",
    "marginals",
    "pairs",
    "paths",
    "predictive",
    "ranks",
    "reach",
    "save",
    "traces",
]
