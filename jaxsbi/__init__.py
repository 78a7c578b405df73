"""jaxsbi: posteriors of mechanistic models from simulations, compiled by JAX throughout."""

from jaxsbi import analysis, diagnostics, plotting, reference
from jaxsbi.algorithms import apt, nle, npe, nre, snpe_a, snpe_b, tsnpe
from jaxsbi.campaigns import simulate
from jaxsbi.embeddings import cnn, deepset, mlp, rnn
from jaxsbi.ensembles import ensemble
from jaxsbi.estimators import flow_matching, maf, mdn, nsf
from jaxsbi.fitting import fit
from jaxsbi.hosts import host
from jaxsbi.opening import open_store
from jaxsbi.priors import Prior, box, gaussian
from jaxsbi.rounds import infer
from jaxsbi.simulation import predict
from jaxsbi.storage import load
from jaxsbi.training import Training

__all__ = [
    "Prior",
    "Training",
    "analysis",
    "apt",
    "box",
    "cnn",
    "deepset",
    "diagnostics",
    "ensemble",
    "fit",
    "flow_matching",
    "gaussian",
    "host",
    "infer",
    "load",
    "maf",
    "mdn",
    "mlp",
    "nle",
    "npe",
    "nre",
    "nsf",
    "open_store",
    "plotting",
    "predict",
    "reference",
    "rnn",
    "simulate",
    "snpe_a",
    "snpe_b",
    "tsnpe",
]
