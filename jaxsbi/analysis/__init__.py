"""Analysis: what a posterior says of the mechanism, through its density and its draws alone.

`condition`: densities and draws of some parameters given the others. `conditional_correlations`
and `marginal_correlations`. `path` of high probability between two θ, and `orthogonal_path`.
`active_subspace` of the posterior or of a feature, by its `regression`. `derived` quantities.
"""

from jaxsbi.analysis.conditionals import Conditional, Slice, condition
from jaxsbi.analysis.correlations import (
    Correlations,
    conditional_correlations,
    marginal_correlations,
)
from jaxsbi.analysis.derived import Derived, derived
from jaxsbi.analysis.paths import Path, orthogonal_path, path
from jaxsbi.analysis.sensitivity import Regression, Subspace, active_subspace, regression

__all__ = [
    "Conditional",
    "Correlations",
    "Derived",
    "Path",
    "Regression",
    "Slice",
    "Subspace",
    "active_subspace",
    "condition",
    "conditional_correlations",
    "derived",
    "marginal_correlations",
    "orthogonal_path",
    "path",
    "regression",
]
