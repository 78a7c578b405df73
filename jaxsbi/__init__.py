"""jaxsbi: posteriors of mechanistic models from simulations, compiled by JAX throughout."""

from jaxsbi import diagnostics, reference
from jaxsbi.algorithms import apt, nle, npe, nre, snpe_a, snpe_b, tsnpe
from jaxsbi.estimators import maf, mdn, nsf
from jaxsbi.priors import Prior, box, gaussian
from jaxsbi.rounds import fit, infer
from jaxsbi.simulation import host, predict, simulate
from jaxsbi.storage import load
from jaxsbi.training import Training

__all__ = [
    "Prior",
    "Training",
    "apt",
    "box",
    "diagnostics",
    "fit",
    "gaussian",
    "host",
    "infer",
    "load",
    "maf",
    "mdn",
    "nle",
    "npe",
    "nre",
    "nsf",
    "predict",
    "reference",
    "simulate",
    "snpe_a",
    "snpe_b",
    "tsnpe",
]
