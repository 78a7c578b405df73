"""Laws of the losses that no training shows."""

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
    """(1 − λ) N(z; x, I) and the share λ of its mass where no row ever lies."""

    def __init__(self, share):
        self.share = nnx.Param(jnp.asarray(share))

    def log_prob(self, z, x):
        return jnp.log1p(-self.share[...]) + jnp.sum(jax.scipy.stats.norm.logpdf(z - x))


def test_mass_that_leaves_for_nowhere_is_seen_by_the_priors_rows_alone():
    """The loss of q with half its mass elsewhere is higher by (n_0/n) log 2, on average."""
    prior, n = jaxsbi.box([0.0, 0.0], [1.0, 1.0]), 4000
    first = n // 4
    z = jax.random.normal(jax.random.key(0), (n, 2)) + (jnp.arange(n) >= first)[:, None]
    buffer = empty(n, 2, jax.ShapeDtypeStruct((2,), z.dtype))
    for number, rows in enumerate((z[:first], z[first:])):
        new = new_rows(prior, prior.to_theta(rows), rows, jnp.asarray(number))
        buffer = append(buffer, new, 0.1)
    proposal = MixtureProposal(prior, Gaussians(jnp.zeros(1), jnp.ones((1, 2)), jnp.eye(2)[None]))
    buffer = balanced(Collected(buffer, ((proposal, jnp.ones(())),), (first, n - first))).buffer
    whole, half = (
        jnp.mean(Atomic(10)(prior, jax.random.key(1), Leaking(share), jnp.arange(n), buffer))
        for share in (0.0, 0.5)
    )
    np.testing.assert_allclose(half - whole, np.log(2) / 4, atol=0.01)
