"""Posteriors p(θ | x): sample, evaluate, maximise, save. Pytrees, so jit, vmap, grad pass through.

The density is learned in z and reported in θ: log p(θ | x) = log q(z(θ) | x) + log |∂z/∂θ|.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.dataset import Moments
from jaxsbi.estimators import from_spec
from jaxsbi.ledger import Ledger
from jaxsbi.maximum import maximise
from jaxsbi.observations import Masks, as_observation
from jaxsbi.priors import Prior
from jaxsbi.records import (
    Arrays,
    fill_state,
    prior_from_record,
    prior_record,
    state_arrays,
    tree_from_record,
    tree_record,
)
from jaxsbi.serialization import read_folder, write_folder
from jaxsbi.types import Data, Estimator, PRNGKey

SAMPLE_TILE = 4096
KIND, FORMAT_VERSION = "posterior", 1


def _static(default: Any = None) -> Any:
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DirectPosterior:
    """p(θ | x) given by a conditional density q(z | x) itself.

    Methods take `x=`, one observation or a batch with one extra leading axis; without it they use
    `x_o`. `amortised` says whether other observations than x_o are served; `history` is the
    ledger of the rounds that made it.
    """

    prior: Prior
    params: PyTree[Array]
    constants: PyTree[Array]
    moments: Moments
    masks: Masks
    x_o: Data | None = None
    graphdef: nnx.GraphDef = _static()
    estimator: Estimator = _static()
    amortised: bool = _static(True)
    history: Ledger = _static()

    @property
    def conditional(self) -> nnx.Module:
        """The density q(z | x): log_prob(z, x) and sample(key, x)."""
        return nnx.merge(self.graphdef, self.params, self.constants)

    def sample(self, key: PRNGKey, n: int, x: Data | None = None) -> Float[Array, "*b n d"]:
        """θ_i ~ p(θ | x), i < n: (n, d), or (b, n, d) for a batch. Row i depends on (key, i)."""
        check_key(key)
        n = check_count("n", n)
        x, batched = self._observation(x)
        tile = min(SAMPLE_TILE, 1 << (n - 1).bit_length())
        draw = partial(_sample, self.graphdef, tile, batched)
        parts = [
            draw(key, self.params, self.constants, self.prior, x, jnp.asarray(first))
            for first in range(0, n, tile)
        ]
        return jnp.concatenate(parts, axis=-2)[..., :n, :]

    def log_prob(self, theta: Float[Array, "*n d"], x: Data | None = None) -> Float[Array, "..."]:
        """log p(θ | x), normalised, −inf outside the prior's support.

        θ (d,) → (); (n, d) → (n,); with a batch of observations (n, d) or (b, n, d) → (b, n).
        """
        theta = as_theta(theta, self.prior.dim)
        x, batched = self._observation(x)
        batch = jax.tree.leaves(x)[0].shape[:1] if batched else None
        if theta.ndim > 2 and theta.shape[:-2] != batch:
            more = f", or ({batch[0]}, n, d) for {batch[0]} observations" if batched else ""
            raise ValueError(f"theta must have shape (d,) or (n, d){more}, got {theta.shape}")
        each = partial(_log_prob, self.graphdef, self.params, self.constants, self.prior)
        if not batched:
            return each(theta, x)
        return jax.vmap(each, in_axes=(0 if theta.ndim == 3 else None, 0))(theta, x)

    def map(self, x: Data | None = None, *, key: PRNGKey | None = None) -> Float[Array, "*b d"]:
        """argmax_θ log p(θ | x): (d,), or (b, d). Gradient ascent in z from the best of 1024 draws.

        The search keeps to the range of the draws: beyond it the density was never learned. Where
        it rises to that range's end and is no lower at the prior's bound behind it, the bound is
        returned, with a warning that names the parameter.
        """
        x, batched = self._observation(x)
        key = jax.random.key(0) if key is None else key
        check_key(key)
        each = partial(_maximum, self.graphdef, self.params, self.constants, self.prior, key)
        theta, at_bound = jax.vmap(each)(x) if batched else each(x)
        if not isinstance(at_bound, jax.core.Tracer):
            touched = np.atleast_2d(np.asarray(at_bound)).any(axis=0)
            if touched.any():
                names = [n for n, hit in zip(self.prior.names, touched, strict=False) if hit]
                warnings.warn(
                    f"the maximum lies at a bound of the prior in {', '.join(names)}", stacklevel=2
                )
        return theta

    def save(self, path: str | os.PathLike) -> None:
        """Write the posterior to a new folder (safetensors and JSON), for `jaxsbi.load`.

        A custom prior or embedding is not stored: hand it to `load` again.
        """
        arrays: Arrays = {}
        record, prior_arrays = prior_record(self.prior)
        content = {
            "prior": record,
            "estimator": self.estimator.spec(),
            **{f: tree_record(getattr(self.moments, f), f, arrays) for f in Moments._fields},
            "x_o": tree_record(self.x_o, "x_o", arrays),
            "amortised": self.amortised,
            "history": self.history.to_dict(),
        }
        arrays |= prior_arrays | {"masks": np.asarray(self.masks)}
        arrays |= state_arrays(self.params, "params") | state_arrays(self.constants, "constants")
        write_folder(path, KIND, FORMAT_VERSION, content, arrays)

    def _observation(self, x: Data | None) -> tuple[Data, bool]:
        if x is None:
            if self.x_o is None:
                raise ValueError("x must be given: this posterior was made without an x_o")
            return self.x_o, False
        if not self.amortised:
            raise ValueError(
                "x cannot be given: this posterior was refined for its x_o alone and is wrong "
                "elsewhere (posterior.amortised is False); infer anew with x as x_o"
            )
        return as_observation("x", x, self.moments.location, self.masks)

    def __repr__(self) -> str:
        kind = "amortised" if self.amortised else "for one x_o"
        return f"DirectPosterior({self.prior!r}, {self.history.algorithm}, {kind})"


def direct(
    conditional: nnx.Module, prior: Prior, x_o: Data | None, **record: Any
) -> DirectPosterior:
    """The posterior that a conditional density is; `record` holds its remaining fields."""
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    return DirectPosterior(
        prior=prior, params=params, constants=constants, x_o=x_o, graphdef=graphdef, **record
    )


def load(
    path: str | os.PathLike, *, prior: Prior | None = None, estimator: Estimator | None = None
) -> DirectPosterior:
    """The posterior saved in a folder. Raises ValueError if it was cut, altered or is no posterior.

    prior, estimator: needed only where they hold code of the user's own, which is never stored.
    """
    content, arrays = read_folder(path, KIND, FORMAT_VERSION)
    try:
        if prior is None:
            if content["prior"] is None:
                raise ValueError("prior must be given: the saved one is of a custom distribution")
            prior = prior_from_record(content["prior"], arrays)
        if estimator is None:
            estimator = from_spec(content["estimator"])
        moments = Moments(*(tree_from_record(content[f], arrays) for f in Moments._fields))
        abstract = nnx.eval_shape(lambda: estimator.init(jax.random.key(0), prior.dim, moments))
        graphdef, params, constants = nnx.split(abstract, nnx.Param, ...)
        return DirectPosterior(
            prior=prior,
            params=fill_state(params, arrays, "params"),
            constants=fill_state(constants, arrays, "constants"),
            moments=moments,
            masks=arrays["masks"],
            x_o=tree_from_record(content["x_o"], arrays),
            graphdef=graphdef,
            estimator=estimator,
            amortised=content["amortised"],
            history=Ledger.from_dict(content["history"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"path {path} is not a posterior of this release: {type(error).__name__} {error}"
        ) from error


@partial(jax.jit, static_argnums=(0, 1, 2))
def _sample(graphdef, tile, batched, key, params, constants, prior, x, first):
    conditional = nnx.merge(graphdef, params, constants)

    def one(key: Array, x: Data) -> Array:
        return prior.to_theta(conditional.sample(key, x))

    def rows(key: Array, x: Data) -> Array:
        keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(tile))
        return jax.vmap(one, in_axes=(0, None))(keys, x)

    if not batched:
        return rows(key, x)
    size = jax.tree.leaves(x)[0].shape[0]
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(size))
    return jax.vmap(rows)(keys, x)


@partial(jax.jit, static_argnums=0)
def _log_prob(graphdef, params, constants, prior, theta, x):
    conditional = nnx.merge(graphdef, params, constants)
    inside = prior.in_support(theta)
    centre = prior.to_theta(jnp.zeros(prior.dim, theta.dtype))
    safe = jnp.where(inside[..., None], theta, centre)
    log_q = partial(conditional.log_prob, x=x)
    z = prior.to_z(safe)
    density = (jax.vmap(log_q) if z.ndim == 2 else log_q)(z)
    return jnp.where(inside, density + prior.log_jacobian(safe), -jnp.inf)


@partial(jax.jit, static_argnums=0)
def _maximum(graphdef, params, constants, prior, key, x):
    conditional = nnx.merge(graphdef, params, constants)

    def log_density(z: Array) -> Array:
        log_q = conditional.log_prob(z, x)
        return log_q - prior.log_prob_z(z) + prior.log_prob(prior.to_theta(z))

    low, high = prior.bounds
    bounded = jnp.isfinite(low) & prior.gaussian
    centre = prior.to_theta(jnp.zeros(prior.dim))
    ends = (prior.to_z(jnp.where(bounded, end, centre)) for end in (low, high))
    bounds = (jnp.where(bounded, z, sign * jnp.inf) for z, sign in zip(ends, (-1, 1), strict=True))
    draws = jax.vmap(lambda k: conditional.sample(k, x))(jax.random.split(key, 1024))
    z, (at_low, at_high) = maximise(log_density, draws, tuple(bounds))
    theta = jnp.where(at_low, low, jnp.where(at_high, high, prior.to_theta(z)))
    return theta, at_low | at_high
