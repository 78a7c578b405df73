"""Laws of the losses that no training shows."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxsbi
from jaxsbi.algorithms.proposals import MixtureProposal
from jaxsbi.collecting import Collected, balanced, new_rows
from jaxsbi.dataset import append, empty
from jaxsbi.gaussians import Gaussians
from jaxsbi.losses import Atomic


class Leaking(nnx.Module):
    """(1 − λ) N(z; x/2, ½ I), the posterior of x ~ N(z, I) for λ = 0, and the share λ of the mass
    where no row ever lies."""

    def __init__(self, share):
        self.share = nnx.Param(jnp.asarray(share))

    def log_prob(self, z, x):
        return jnp.log1p(-self.share[...]) + jnp.sum(
            jax.scipy.stats.norm.logpdf(z, x / 2, 0.5**0.5)
        )


def test_mass_that_leaves_for_nowhere_is_seen_by_the_likelihood_alone():
    """The loss of q with half its mass elsewhere is higher by log 2: at any x, weights average to
    one over the rows of all rounds."""
    prior, n = jaxsbi.box([0.0, 0.0], [1.0, 1.0]), 8000
    first = n // 4
    z = jax.random.normal(jax.random.key(0), (n, 2)) + (jnp.arange(n) >= first)[:, None]
    buffer = empty(n, 2, jax.ShapeDtypeStruct((2,), z.dtype))
    x = z + jax.random.normal(jax.random.key(2), z.shape)
    for number, part in enumerate((slice(first), slice(first, n))):
        new = new_rows(prior, prior.to_theta(z[part]), x[part], jnp.asarray(number))
        buffer = append(buffer, new, 0.1)
    proposal = MixtureProposal(prior, Gaussians(jnp.zeros(1), jnp.ones((1, 2)), jnp.eye(2)[None]))
    buffer = balanced(Collected(buffer, ((proposal, jnp.ones(())),), (first, n - first))).buffer
    loss = partial(Atomic(10), prior, SimpleNamespace(conditional=Leaking(0.0)), jax.random.key(1))
    whole, half = (loss(Leaking(share), jnp.arange(n), buffer) for share in (0.0, 0.5))
    weights = (half - whole) / np.log(2)
    for near in (x[:, 0] < 0, (x[:, 0] > 0) & (x[:, 0] < 1), x[:, 0] > 1):
        np.testing.assert_allclose(weights[near].mean(), 1.0, atol=0.05)
