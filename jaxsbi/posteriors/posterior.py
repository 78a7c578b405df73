"""What all posteriors share: observations, densities in θ, modes, files. Pytrees, so jit, vmap
and grad pass through them.

The density is learned in z and reported in θ: log p(θ | x) = log q(z(θ) | x) + log |∂z/∂θ|.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.dataset import Moments
from jaxsbi.importance import Weighted, weigh
from jaxsbi.ledger import Ledger
from jaxsbi.maximum import maximise
from jaxsbi.observations import Masks, as_observation, refuse_batch
from jaxsbi.posteriors.exchange import Drawn, as_arviz
from jaxsbi.priors import Prior
from jaxsbi.records import Arrays, prior_fingerprint, prior_record, state_arrays, tree_record
from jaxsbi.serialization import write_folder
from jaxsbi.simulation import predict
from jaxsbi.types import Data, Estimator, PRNGKey, Simulator

KIND, FORMAT_VERSION = "posterior", 3


def _static(default: Any = None) -> Any:
    return field(default=default, metadata={"static": True})


@dataclass(frozen=True)
class Posterior:
    """p(θ | x) by a trained module; a kind says how it draws and what its density in z is.

    Methods take `x=`, one observation or a batch with one extra leading axis; without it they use
    `x_o`. `amortised` says whether other observations than x_o are served; `history` is the
    ledger of the rounds that made it, of the `rounds` that were planned; `start` the estimator of
    the amortised posterior that it was refined from, if it was.

    A kind is a subclass, registered as a dataclass pytree, with
    sample(key, n, x): θ (n, d) or (b, n, d);
    log_density(z, x): log q(z | x) of one z and one x, traceable;
    starts(key, x): some z (s, d) where the mass is, from which the mode is sought.
    """

    prior: Prior
    params: PyTree[Array]
    constants: PyTree[Array]
    moments: Moments
    masks: Masks | None
    x_o: Data | None = None
    graphdef: nnx.GraphDef = _static()
    estimator: Estimator = _static()
    algorithm: Any = _static()
    start: Estimator | None = _static()
    rounds: int = _static(1)
    amortised: bool = _static(True)
    history: Ledger = _static()

    @classmethod
    def of(cls, density: nnx.Module, prior: Prior, x_o: Data | None, **record: Any) -> Posterior:
        """The posterior that a trained module makes; `record` holds its remaining fields."""
        graphdef, params, constants = nnx.split(density, nnx.Param, ...)
        return cls(
            prior=prior, params=params, constants=constants, x_o=x_o, graphdef=graphdef, **record
        )

    @property
    def conditional(self) -> nnx.Module:
        """The trained module."""
        return nnx.merge(self.graphdef, self.params, self.constants)

    @property
    def bare(self) -> Posterior:
        """Without what no number depends on, so that compiled programs are shared."""
        return replace(
            self, x_o=None, masks=None, estimator=None, start=None, rounds=1,
            amortised=True, history=None,
        )  # fmt: skip

    @property
    def uncut(self) -> Posterior:
        """The same where its module is restricted to a region, without that; not normalised."""
        conditional = self.conditional
        if not hasattr(conditional, "uncut"):
            return self
        graphdef, params, constants = nnx.split(conditional.uncut, nnx.Param, ...)
        return replace(self, graphdef=graphdef, params=params, constants=constants)

    def sample(self, key: PRNGKey, n: int, x: Data | None = None) -> Float[Array, "*b n d"]:
        """θ_i ~ p(θ | x), i < n: (n, d), or (b, n, d) for a batch."""
        raise NotImplementedError

    def log_density(self, z: Float[Array, " d"], x: Data) -> Float[Array, ""]:
        """log q(z | x) of one z and one x."""
        raise NotImplementedError

    def starts(self, key: PRNGKey, x: Data) -> Float[Array, "s d"]:
        """Draws of z, roughly from q(z | x)."""
        raise NotImplementedError

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
        each = partial(_log_prob, self.bare)
        if not batched:
            return each(theta, x)
        return jax.vmap(each, in_axes=(0 if theta.ndim == 3 else None, 0))(theta, x)

    def map(self, x: Data | None = None, *, key: PRNGKey | None = None) -> Float[Array, "*b d"]:
        """argmax_θ log p(θ | x): (d,), or (b, d). Gradient ascent in z from the best of the starts.

        The search keeps to the range of the draws, less the tenth that is least dense in z: beyond
        it the density was never learned, and at a bound it may be infinite without any mass. Where
        it rises to that range's end and is no lower at the prior's bound behind it, the bound is
        returned, with a warning that names the parameter.
        """
        x, batched = self._observation(x)
        key = jax.random.key(0) if key is None else key
        check_key(key)

        def each(x: Data) -> tuple[Array, Array]:
            return _maximum(self.bare, self.starts(key, x), x)

        theta, at_bound = jax.vmap(each)(x) if batched else each(x)
        if not isinstance(at_bound, jax.core.Tracer):
            touched = np.atleast_2d(np.asarray(at_bound)).any(axis=0)
            if touched.any():
                names = [n for n, hit in zip(self.prior.names, touched, strict=False) if hit]
                warnings.warn(
                    f"the maximum lies at a bound of the prior in {', '.join(names)}", stacklevel=2
                )
        return theta

    def reweight(
        self,
        log_likelihood: Callable[[Float[Array, " d"]], Float[Array, ""]],
        n: int = 10_000,
        x: Data | None = None,
        *,
        key: PRNGKey | None = None,
    ) -> Weighted:
        """Draws θ_i ~ p(θ | x), i < n, with weights ∝ p(θ_i) L(θ_i) / p(θ_i | x), smoothed.

        Where a likelihood is known they stand for the exact posterior, as far as this one reaches.
        log_likelihood: one θ (d,) ↦ log L(θ), traceable; up to a constant.

        Warns where few draws count; raises ValueError where next to none do.
        """
        key = jax.random.key(0) if key is None else key
        refuse_batch("x", self._observation(x)[1])
        theta = self.sample(key, n, x)
        target = _log_target(log_likelihood, self.prior, theta)
        return weigh(theta, target - self.log_prob(theta, x))

    def to_arviz(
        self,
        n: int = 1000,
        *,
        key: PRNGKey | None = None,
        simulate: Simulator | None = None,
        features: Sequence[Any] | None = None,
        x: Data | None = None,
    ) -> Any:
        """n draws as ArviZ keeps them: an InferenceData, from ArviZ 1 on a DataTree.

        Groups: posterior and constant_data (the prior's bounds), a variable for each parameter with
        its unit; sample_stats; observed_data; and with a simulator posterior_predictive.
        features: with name and unit, of the numbers of x, such as a model's FEATURES; each is then
        a variable of its own.
        """
        key_draw, key_x = jax.random.split(jax.random.key(0) if key is None else key)
        observed, batched = self._observation(x)
        refuse_batch("x", batched)
        drawn = self.drawn(key_draw, check_count("n", n), x)
        predicted = None
        if simulate is not None:
            rows = drawn.theta.reshape(-1, self.prior.dim)
            predicted = jax.tree.map(
                lambda leaf: leaf.reshape(*drawn.theta.shape[:2], *leaf.shape[1:]),
                predict(key_x, simulate, rows),
            )
        record = {"inference_library": "jaxsbi", "algorithm": self.history.algorithm}
        return as_arviz(self.prior, drawn, observed, predicted, features, record)

    def drawn(self, key: PRNGKey, n: int, x: Data | None = None) -> Drawn:
        """n draws as one chain of independent ones, with the density of each."""
        theta = self.sample(key, n, x)
        return Drawn(theta[None], {"lp": self.log_prob(theta, x)[None]})

    def save(self, path: str | os.PathLike) -> None:
        """Write the posterior to a new folder (safetensors and JSON), for `jaxsbi.load`.

        A custom prior or embedding is not stored: hand it to `load` again.
        """
        arrays: Arrays = {}
        record, prior_arrays = prior_record(self.prior)
        labels, fingerprint = prior_fingerprint(self.prior)
        content = {
            "kind": self.algorithm.posterior.__name__,
            "algorithm": self.algorithm.spec(),
            "prior": record,
            "labels": labels,
            "estimator": self.estimator.spec(),
            "start": None if self.start is None else self.start.spec(),
            **{f: tree_record(getattr(self.moments, f), f, arrays) for f in Moments._fields},
            "x_o": tree_record(self.x_o, "x_o", arrays),
            "rounds": self.rounds,
            "amortised": self.amortised,
            "history": self.history.to_dict(),
        }
        arrays |= prior_arrays | fingerprint | {"masks": np.asarray(self.masks)}
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
        return as_observation("x", x, self.moments.location, self.masks, self.algorithm.trials)

    def __repr__(self) -> str:
        kind = "amortised" if self.amortised else "for one x_o"
        return f"{type(self).__name__}({self.prior!r}, {self.history.algorithm}, {kind})"


@partial(jax.jit, static_argnums=0)
def _log_target(log_likelihood: Callable, prior: Prior, theta: Array) -> Array:
    return prior.log_prob(theta) + jax.lax.map(log_likelihood, theta, batch_size=1000)


@jax.jit
def _log_prob(posterior: Posterior, theta: Array, x: Data) -> Array:
    prior = posterior.prior
    inside = prior.in_support(theta)
    centre = prior.to_theta(jnp.zeros(prior.dim, theta.dtype))
    safe = jnp.where(inside[..., None], theta, centre)
    log_q = partial(posterior.log_density, x=x)
    z = prior.to_z(safe)
    density = (jax.vmap(log_q) if z.ndim == 2 else log_q)(z)
    return jnp.where(inside, density + prior.log_jacobian(safe), -jnp.inf)


@jax.jit
def _maximum(posterior: Posterior, starts: Array, x: Data) -> tuple[Array, Array]:
    prior = posterior.prior

    def log_density(z: Array, posterior: Posterior = posterior) -> Array:
        log_q = posterior.log_density(z, x)
        return log_q - prior.log_prob_z(z) + prior.log_prob(prior.to_theta(z))

    low, high = prior.bounds
    bounded = jnp.isfinite(low) & prior.gaussian
    centre = prior.to_theta(jnp.zeros(prior.dim))
    ends = (prior.to_z(jnp.where(bounded, end, centre)) for end in (low, high))
    bounds = (jnp.where(bounded, z, sign * jnp.inf) for z, sign in zip(ends, (-1, 1), strict=True))
    beyond = partial(log_density, posterior=posterior.uncut)
    of_draws = partial(posterior.log_density, x=x)
    z, (at_low, at_high) = maximise(log_density, starts, tuple(bounds), beyond, of_draws)
    theta = jnp.where(at_low, low, jnp.where(at_high, high, prior.to_theta(z)))
    return theta, at_low | at_high
