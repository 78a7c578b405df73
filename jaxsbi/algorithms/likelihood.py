"""What the methods share that learn a likelihood: posteriors and proposals by Markov chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxsbi import mcmc
from jaxsbi.algorithms.algorithm import Algorithm, Memory
from jaxsbi.algorithms.proposals import AtObservation, Proposal
from jaxsbi.dataset import Moments
from jaxsbi.guides import Guided
from jaxsbi.parameters import Spread
from jaxsbi.posteriors import ChainPosterior, Posterior
from jaxsbi.priors import Prior
from jaxsbi.types import Data, PRNGKey

EPSILON, DRAWS = 1e-4, 65_536
"""Mass of a guide that lies outside its region, and draws of it by which that is judged."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FromChains(Proposal):
    """g(z) = p(z | x_o) by a learned likelihood: particles of its population, a trajectory on."""

    prior: Prior
    posterior: ChainPosterior
    x_o: Data
    population: mcmc.Population

    def sample(self, key: PRNGKey) -> Float[Array, " d"]:
        return self.draws(key[None])[0]

    def draws(self, keys: PRNGKey) -> Float[Array, "n d"]:
        key_choose, key_move = jax.random.split(keys[0])
        population = self.population
        i = jax.random.randint(key_choose, keys.shape, 0, population.z.shape[0])

        def log_density(z: Array) -> Array:
            return self.posterior.log_density(z, self.x_o)

        return mcmc.advance(key_move, log_density, population, population.z[i], 1).z

    def log_ratio(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        likelihood = self.posterior.log_likelihood(z, self.x_o)
        return likelihood - self.population.log_evidence


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guide(AtObservation):
    """q(z | x_o) of a posterior known before; log q ≥ threshold is its region."""

    threshold: Float[Array, ""]

    @classmethod
    def of(cls, conditional: nnx.Module, prior: Prior, x_o: Data) -> Guide:
        """Its region is that of highest density with all but ε of its mass."""
        q = AtObservation.of(conditional, prior, x_o)
        return cls(q.prior, q.params, q.constants, q.x_o, q.graphdef, _threshold(q))


@jax.jit
def _threshold(q: AtObservation) -> Float[Array, ""]:
    """The ε-quantile of log q under q."""

    def one(key: PRNGKey) -> Array:
        conditional = q.conditional
        return conditional.log_prob(conditional.sample(key, q.x_o), q.x_o)

    log_q = jax.lax.map(one, jax.random.split(jax.random.key(0), DRAWS), batch_size=mcmc.PARTICLES)
    return jnp.nanquantile(log_q, EPSILON)


@dataclass(frozen=True)
class ByLikelihood(Algorithm):
    """A method whose module has log_likelihood(z, x); later rounds draw from the posterior.

    Its memory, where it refines a posterior, is the guide. The first of those rounds draws from it.

    trials: whether an observation is a set of iid trials, along a leading axis of x.
    """

    posterior: ClassVar[type[Posterior]] = ChainPosterior
    refines: ClassVar[bool] = True
    anew: ClassVar[bool] = True
    compiled: ClassVar[bool] = False
    warm: ClassVar[bool] = False
    whitens: ClassVar[bool] = True
    trials: bool = False

    def init(
        self,
        key: PRNGKey,
        estimator: Any,
        prior: Prior,
        moments: Moments,
        spread: Spread | None = None,
    ) -> nnx.Module:
        spread = Spread.of_prior(prior.dim) if spread is None else spread
        return self.module(key, estimator, moments, spread)

    def module(self, key: PRNGKey, estimator: Any, moments: Moments, spread: Spread) -> nnx.Module:
        """The module to train, with fresh weights, for z whitened by its spread."""
        raise NotImplementedError

    def begin(
        self, q: nnx.Module, prior: Prior, x_o: Data, rounds: int
    ) -> tuple[nnx.Module | None, Memory]:
        return None, Guide.of(q, prior, x_o)

    def propose(
        self, key: PRNGKey, conditional: nnx.Module | None, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        if conditional is None:
            return memory, memory
        posterior = ChainPosterior.of(
            self.density(conditional, memory), prior, x_o, moments=None, masks=None,
            algorithm=self,
        )  # fmt: skip
        return memory, FromChains(prior, posterior.bare, x_o, posterior.population)

    def density(self, conditional: nnx.Module, memory: Memory) -> nnx.Module:
        if memory == ():
            return conditional
        return Guided(conditional, memory.conditional, memory.threshold)

    def check(self, prior: Prior, estimator: object, training: object) -> None:
        if not isinstance(self.trials, bool):
            raise ValueError(f"trials must be True or False, got {self.trials!r}")
        mcmc.blackjax()  # before any simulation
