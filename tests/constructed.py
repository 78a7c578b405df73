"""Joints of θ and x whose posterior is known, and posteriors of them that are wrong on purpose.

One mode: θ ~ N(0, I), x = θ + N(0, I), so θ | x ~ N(x/2, I/2). Two: θ₁ = s w, s = ±1,
w ~ N(3, 1), x₁ = w + N(0, 1), the rest alike: w | x ~ N((3 + x₁)/2, ½), and the sign is unknown.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from flax import nnx
from jax.scipy.stats import norm

import jaxsbi
from jaxsbi.dataset import moments
from jaxsbi.ledger import Ledger
from jaxsbi.posteriors import DirectPosterior

ONE = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0])
TWO = jaxsbi.Prior(
    {
        "theta_0": dist.MixtureSameFamily(
            dist.Categorical(jnp.array([0.5, 0.5])), dist.Normal(jnp.array([-3.0, 3.0]), 1.0)
        ),
        "theta_1": dist.Normal(0.0, 1.0),
    }
)


class Constructed:
    """The exact posterior, but for its scale, a shift, a correlation, or a mode that it lost."""

    amortised = True

    def __init__(self, scale=1.0, shift=0.0, correlation=0.0, share=None, modes=1):
        self.modes, self.prior = modes, ONE if modes == 1 else TWO
        share = {1: 1.0, 2: 0.5}[modes] if share is None else share
        self.settings = jnp.array([scale, shift, correlation, share, 3.0 * (modes - 1)])

    def sample(self, key, n, x):
        return _sample(self.settings, key, x, n)

    def log_prob(self, theta, x):
        return _log_prob(self.settings, theta, x)


WRONG = {
    "narrow": Constructed(scale=0.7),
    "wide": Constructed(scale=1.4),
    "shifted": Constructed(shift=0.3),
    "correlated": Constructed(correlation=0.6),
    "mode_lost": Constructed(share=1.0, modes=2),
}


@partial(jax.jit, static_argnums=(1, 2))
def joint(key, n, modes=1):
    """(θ, x) of n rows."""
    k_sign, k_w, k_x = jax.random.split(key, 3)
    w = jax.random.normal(k_w, (n, 2)).at[:, 0].add(3.0 * (modes - 1))
    x = w + jax.random.normal(k_x, (n, 2))
    signs = jax.random.rademacher(k_sign, (n,), float)
    return (w if modes == 1 else w.at[:, 0].multiply(signs)), x


def _means(settings, x):
    return x.at[..., 0].add(settings[4]) / 2 + settings[1]


@partial(jax.jit, static_argnums=3)
def _sample(settings, key, x, n):
    scale, _, rho, share, _ = settings
    k_sign, k_noise = jax.random.split(key)
    noise = jax.random.normal(k_noise, (x.shape[0], n, 2))
    second = rho * noise[..., 0] + jnp.sqrt(1 - rho**2) * noise[..., 1]
    noise = jnp.stack([noise[..., 0], second], axis=-1)
    w = _means(settings, x)[:, None] + 0.5**0.5 * scale * noise
    sign = jnp.where(jax.random.uniform(k_sign, (x.shape[0], n)) < share, 1.0, -1.0)
    return w.at[..., 0].multiply(sign)


@jax.jit
def _log_prob(settings, theta, x):
    scale, _, rho, share, _ = settings
    width = 0.5**0.5 * scale
    modes = []
    for sign, weight in ((1.0, share), (-1.0, 1 - share)):
        w = jnp.stack([sign * theta[..., 0], theta[..., 1]], axis=-1)
        u = (w - _means(settings, x)[:, None]) / width
        given = (u[..., 1] - rho * u[..., 0]) / jnp.sqrt(1 - rho**2)
        modes.append(norm.logpdf(u[..., 0]) + norm.logpdf(given) + jnp.log(weight))
    return jnp.logaddexp(*modes)


def untrained(estimator, prior, x_o, seed=0):
    """A posterior by a density with random weights: all that a trained one has but the training."""
    scale = moments(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 1]), x_o), jnp.ones(2, bool))
    defined = np.ones((1, sum(leaf.size for leaf in jax.tree.leaves(x_o))), bool)
    density = estimator.init(jax.random.key(seed), prior.dim, scale)
    noise = partial(jax.random.normal, jax.random.key(seed))
    weights = nnx.state(density, nnx.Param)
    weights = jax.tree.map(lambda leaf: leaf + 0.1 * noise(leaf.shape), weights)
    nnx.update(density, weights)
    return DirectPosterior.of(
        density, prior, x_o, moments=scale, masks=defined,
        history=Ledger("npe"), estimator=estimator, algorithm=jaxsbi.npe(),
    )  # fmt: skip
