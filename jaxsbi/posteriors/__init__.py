"""Posteriors p(θ | x): sample, evaluate, maximise, save."""

from jaxsbi.posteriors.chains import ChainPosterior
from jaxsbi.posteriors.direct import DirectPosterior
from jaxsbi.posteriors.posterior import Posterior

__all__ = ["ChainPosterior", "DirectPosterior", "Posterior"]
