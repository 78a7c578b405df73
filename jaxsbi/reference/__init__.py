"""Baselines without a network: ABC for any simulator, NUTS and grids for known likelihoods."""

from jaxsbi.reference.exact import Chains, Grid, grid, nuts
from jaxsbi.reference.rejection import Particles, rejection_abc, smc_abc

__all__ = ["Chains", "Grid", "Particles", "grid", "nuts", "rejection_abc", "smc_abc"]
