"""Posteriors whose density is known up to a constant: p(z | x) ∝ p(z) L(z; x), drawn by chains.

A population is tempered to the posterior once for each observation, from the prior or from a guide;
it gives the constant, the modes' weights and the starts of as many chains as it has particles.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsbi import mcmc
from jaxsbi.arguments import check_count, check_key
from jaxsbi.guides import Guided
from jaxsbi.observations import refuse_batch
from jaxsbi.posteriors.exchange import Drawn
from jaxsbi.posteriors.posterior import Posterior
from jaxsbi.types import Data, PRNGKey

LEAST_CHAINS = 16
GUIDED = mcmc.PARTICLES // 2
"""Size of a population that a guide leads most of the way, at two gradients a step."""
KEPT_CHAINS = 8
"""Chains of those draws of which the chains are told apart."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class ChainPosterior(Posterior):
    """p(θ | x) ∝ p(θ) Π_t L(θ; x_t) by a module with log_likelihood(z, x), t running over trials.

    `population` belongs to x_o: it is computed when first needed, with a fixed key, and is neither
    stored nor passed through jit. For another x, `given(x)` is the posterior that keeps its own.
    """

    @cached_property
    def population(self) -> mcmc.Population:
        """Draws z of p(z | x_o), the logarithm of the evidence ∫ p(z) L dz, and how it was had."""
        population = _temper(replace(self.bare, moments=None), self._observation(None)[0])
        evidence = population.log_evidence
        if not isinstance(evidence, jax.core.Tracer) and evidence < mcmc.LEAST / 2:
            warnings.warn("no draw has a likelihood: the posterior is where it began", stacklevel=2)
        return population

    def given(self, x: Data) -> ChainPosterior:
        """This posterior with another observation in place of x_o."""
        x, batched = self._observation(x)
        refuse_batch("x", batched)
        return replace(self, x_o=x)

    def sample(self, key: PRNGKey, n: int, x: Data | None = None) -> Float[Array, "*b n d"]:
        """θ_i ~ p(θ | x), i < n: (n, d), or (b, n, d) for a batch. Row i depends on (key, i).

        Rows are one step of each chain, then the next. Another key moves the same population
        anew: the share of each mode is as exact as the population's, ± ½ / √1024 for two.
        """
        check_key(key)
        n = check_count("n", n)
        if x is not None:
            x, batched = self._observation(x)
            if batched:
                return self._each(x, lambda one, i: one.sample(jax.random.fold_in(key, i), n))
            return replace(self, x_o=x).sample(key, n)
        size = self.population.z.shape[0]
        chains = min(size, max(1 << (n - 1).bit_length(), LEAST_CHAINS))
        rows = self._rows(key, chains, -(-n // chains)).z
        return self.prior.to_theta(rows.reshape(-1, self.prior.dim)[:n])

    def log_prob(self, theta: Float[Array, "*n d"], x: Data | None = None) -> Float[Array, "..."]:
        """log p(θ | x), −inf outside the prior's support.

        Normalised by the estimate of the evidence that comes with the population: a constant of
        each x, wrong by a few hundredths. Shapes as in all posteriors.
        """
        density = super().log_prob(theta, x)
        if x is None:
            return density - self.population.log_evidence
        x, batched = self._observation(x)
        if batched:
            evidence = self._each(x, lambda one, i: one.population.log_evidence)
            return density - evidence.reshape(-1, *(1,) * (density.ndim - 1))
        return density - replace(self, x_o=x).population.log_evidence

    def map(self, x: Data | None = None, *, key: PRNGKey | None = None) -> Float[Array, "*b d"]:
        """argmax_θ log p(θ | x): (d,), or (b, d). Gradient ascent in z from the best particles."""
        if x is None:
            return super().map(key=key)
        x, batched = self._observation(x)
        if batched:
            return self._each(x, lambda one, i: one.map(key=key))
        return replace(self, x_o=x).map(key=key)

    def convergence(self, key: PRNGKey, *, chains: int = 128, length: int = 40) -> mcmc.Convergence:
        """R̂ and effective sample size of each parameter's z over chains for x_o."""
        check_key(key)
        check_count("chains", chains, 2)
        check_count("length", length, 4)
        return mcmc.converged(self._rows(key, min(chains, self.population.z.shape[0]), length).z)

    def drawn(self, key: PRNGKey, n: int, x: Data | None = None) -> Drawn:
        """n draws or a few more as chains of them, and how each step of a chain went."""
        one = self if x is None else self.given(x)
        moved = one._rows(key, KEPT_CHAINS, -(-n // KEPT_CHAINS))
        theta = jnp.moveaxis(self.prior.to_theta(moved.z), 0, 1)
        rows = theta.reshape(-1, self.prior.dim)
        stats = {
            "lp": one.log_prob(rows).reshape(theta.shape[:2]),
            "acceptance_rate": moved.acceptance.T,
            "diverging": moved.diverging.T,
            "step_size": jnp.tile(moved.step_size, (theta.shape[0], 1)),
        }
        return Drawn(theta, stats)

    def log_density(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log p(z) + log L(z; x): not normalised."""
        return self.prior.log_prob_z(z) + self.log_likelihood(z, x)

    def log_likelihood(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log L(z; x), summed over trials where x has them; up to a function of x."""
        conditional = self.conditional
        if not self.algorithm.trials:
            return conditional.log_likelihood(z, x)
        return jnp.sum(jax.vmap(lambda x: conditional.log_likelihood(z, x))(x))

    def starts(self, key: PRNGKey, x: Data) -> Float[Array, "s d"]:
        """The particles for x_o."""
        return self.population.z

    def temper(self, key: PRNGKey, x: Data) -> mcmc.Population:
        """A population for x: traceable."""
        key_draws, key_temper = jax.random.split(key)
        conditional, size = self.conditional, mcmc.CROWD * mcmc.PARTICLES

        def log_density(z: Array) -> Array:
            return self.log_density(z, x)

        if not isinstance(conditional, Guided):
            draws = self.prior.to_z(self.prior.sample(key_draws, size))
            return mcmc.temper(key_temper, self.prior.log_prob_z, log_density, draws)

        def log_base(z: Array) -> Array:
            return conditional.log_base(z, x)

        keys = jax.random.split(key_draws, size)
        draws = mcmc.in_lanes(lambda key: conditional.from_base(key, x), keys)
        return mcmc.temper(key_temper, log_base, log_density, draws, GUIDED)

    def _rows(self, key: PRNGKey, chains: int, length: int) -> mcmc.Moved:
        """Rows of chains from the population on: each leaf with an axis (length,) in front."""
        key_begin, key_rows = jax.random.split(key)
        x, population, bare = self._observation(None)[0], self.population, self.bare
        z, rows = mcmc.begin(key_begin, population, chains), []
        for i in range(length):
            rows.append(_advance(bare, population, jax.random.fold_in(key_rows, i), z, x))
            z = rows[-1].z
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)

    def _each(self, x: Data, function: object) -> Array:
        """function(posterior of x_i, i) for a batch of observations, one after the other."""
        size = jax.tree.leaves(x)[0].shape[0]
        ones = (jax.tree.map(lambda leaf, i=i: leaf[i], x) for i in range(size))
        return jnp.stack([function(replace(self, x_o=one), i) for i, one in enumerate(ones)])


@jax.jit
def _temper(posterior: ChainPosterior, x: Data) -> mcmc.Population:
    return posterior.temper(jax.random.key(0), x)


@jax.jit
def _advance(
    posterior: ChainPosterior, population: mcmc.Population, key: PRNGKey, z: Array, x: Data
) -> mcmc.Moved:
    return mcmc.advance(key, lambda z: posterior.log_density(z, x), population, z)
