"""What the methods share that learn a likelihood: posteriors and proposals by Markov chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi import mcmc
from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import Proposal
from jaxsbi.posteriors import ChainPosterior, Posterior
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FromChains(Proposal):
    """g(z) = p(z | x_o) by a learned likelihood: a particle of its population, moved on by NUTS."""

    prior: Prior
    posterior: ChainPosterior
    population: mcmc.Population

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        key_choose, key_move = jax.random.split(key)
        i = jax.random.randint(key_choose, (), 0, self.population.z.shape[0])

        def log_density(z: Array) -> Array:
            return self.posterior.log_density(z, self.posterior.x_o)

        return mcmc.advance(key_move, log_density, self.population, self.population.z[i][None]).z[0]

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        likelihood = self.posterior.log_likelihood(z, self.posterior.x_o)
        return likelihood - self.population.log_evidence


@dataclass(frozen=True)
class ByLikelihood(Algorithm):
    """A method whose module has log_likelihood(z, x); later rounds draw from the posterior.

    trials: whether an observation is a set of iid trials, along a leading axis of x.
    """

    posterior: ClassVar[type[Posterior]] = ChainPosterior
    trials: bool = False

    def propose(
        self, key: PRNGKey, conditional: nnx.Module, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        posterior = ChainPosterior.of(
            conditional, prior, x_o, moments=None, masks=None, algorithm=self
        )
        return memory, FromChains(prior, posterior, posterior.temper(key, x_o))

    def check(self, prior: Prior, estimator: object, training: object) -> None:
        if not isinstance(self.trials, bool):
            raise ValueError(f"trials must be True or False, got {self.trials!r}")
