"""jaxsbi: posteriors of mechanistic models from simulations, compiled by JAX throughout."""

from jaxsbi import diagnostics
from jaxsbi.algorithms import apt, npe, snpe_a, snpe_b, tsnpe
from jaxsbi.embeddings import cnn, deepset, mlp, rnn
from jaxsbi.ensembles import ensemble
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
    "cnn",
    "deepset",
    "diagnostics",
    "ensemble",
    "fit",
    "gaussian",
    "host",
    "infer",
    "load",
    "maf",
    "mdn",
    "mlp",
    "npe",
    "nsf",
    "predict",
    "rnn",
    "simulate",
    "snpe_a",
    "snpe_b",
    "tsnpe",
]
