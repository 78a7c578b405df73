"""Estimators: frozen values that build conditional densities q(z | x), which start at N(0, I).

Densities act on one z (d,) and one raw x; callers vmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from jaxsbi.arguments import check_count
from jaxsbi.contexts import Contextual
from jaxsbi.dataset import Moments
from jaxsbi.embeddings import EMBEDDINGS
from jaxsbi.ensembles import ensemble
from jaxsbi.flow_matching import Transport
from jaxsbi.flows import Flow, affine, spline
from jaxsbi.mixtures import Mixture
from jaxsbi.networks import Embedding, check_sizes
from jaxsbi.types import Estimator, PRNGKey


@dataclass(frozen=True)
class MDN:
    """What `mdn` returns: a mixture's number of components and its network."""

    components: int
    hidden: tuple[int, ...]
    embedding: Embedding | None

    def init(self, key: PRNGKey, dim: int, moments: Moments) -> Mixture:
        key_context, key_mixture = jax.random.split(key)
        context = Contextual(key_context, moments, self.embedding)
        return Mixture(key_mixture, dim, context, self.components, self.hidden)

    def spec(self) -> dict[str, Any]:
        return _spec("mdn", self)


@dataclass(frozen=True)
class MAF:
    """What `maf` returns: a flow of affine maps."""

    layers: int
    hidden: tuple[int, ...]
    embedding: Embedding | None

    def init(self, key: PRNGKey, dim: int, moments: Moments) -> Flow:
        key_context, key_flow = jax.random.split(key)
        context = Contextual(key_context, moments, self.embedding)
        return Flow(key_flow, dim, context, self.layers, self.hidden, (2,), affine)

    def spec(self) -> dict[str, Any]:
        return _spec("maf", self)


@dataclass(frozen=True)
class NSF:
    """What `nsf` returns: a flow of splines."""

    layers: int
    hidden: tuple[int, ...]
    bins: int
    embedding: Embedding | None

    def init(self, key: PRNGKey, dim: int, moments: Moments) -> Flow:
        key_context, key_flow = jax.random.split(key)
        context = Contextual(key_context, moments, self.embedding)
        sections = (2, self.bins, self.bins, self.bins - 1)
        return Flow(key_flow, dim, context, self.layers, self.hidden, sections, spline)

    def spec(self) -> dict[str, Any]:
        return _spec("nsf", self)


@dataclass(frozen=True)
class FlowMatching:
    """What `flow_matching` returns: the sizes of its network, and draws per row and step."""

    hidden: tuple[int, ...]
    draws: int
    embedding: Embedding | None

    def init(self, key: PRNGKey, dim: int, moments: Moments) -> Transport:
        key_context, key_flow = jax.random.split(key)
        context = Contextual(key_context, moments, self.embedding)
        return Transport(key_flow, dim, context, self.hidden, self.draws)

    def spec(self) -> dict[str, Any]:
        return _spec("flow_matching", self)


def mdn(
    components: int = 8, hidden: Sequence[int] = (50, 50), embedding: Embedding | None = None
) -> Estimator:
    """q(z | x) = Σ_k w_k N(z; m_k, P_k⁻¹): a mixture of Gaussians with full precisions P_k.

    hidden: layer sizes of the perceptron x ↦ (w, m, P).
    embedding: a factory (rngs, example) ↦ module of x, trained jointly, such as `mlp()`.

    Errors: ValueError for sizes that are not positive integers.
    """
    return MDN(
        check_count("components", components),
        check_sizes("hidden", hidden),
        _check_embedding(embedding),
    )


def maf(
    layers: int = 5, hidden: Sequence[int] = (50, 50), embedding: Embedding | None = None
) -> Estimator:
    """Masked autoregressive flow: u_i = (z_i − μ_i) e^{−α_i}, (μ_i, α_i) from z_{<i} and x.

    layers: autoregressive maps, each in another order; hidden: layer sizes of each one's network.
    embedding: a factory (rngs, example) ↦ module of x, trained jointly, such as `mlp()`.

    Errors: ValueError for sizes that are not positive integers. Source: arXiv:1705.07057.
    """
    return MAF(
        check_count("layers", layers),
        check_sizes("hidden", hidden),
        _check_embedding(embedding),
    )


def nsf(
    layers: int = 3,
    hidden: Sequence[int] = (100, 100),
    bins: int = 8,
    embedding: Embedding | None = None,
) -> Estimator:
    """Neural spline flow: u_i = S_i((z_i − μ_i) e^{−α_i}), S_i a spline, all from z_{<i} and x.

    layers: autoregressive maps, each in another order; hidden: layer sizes of each one's network;
    bins: rational-quadratic pieces of a spline.
    embedding: a factory (rngs, example) ↦ module of x, trained jointly, such as `mlp()`.

    Errors: ValueError for sizes that are not positive integers. Source: arXiv:1906.04032.
    """
    return NSF(
        check_count("layers", layers),
        check_sizes("hidden", hidden),
        check_count("bins", bins, least=2),
        _check_embedding(embedding),
    )


def flow_matching(
    hidden: Sequence[int] = (100, 100, 100),
    draws: int = 4,
    embedding: Embedding | None = None,
) -> Estimator:
    """q(z | x) carried from a Gaussian by an ordinary differential equation, learned by regression.

    Any smooth network may drive the flow, for the density is not needed to learn it; it is had
    afterwards, and draws are, by solving the equation: sample takes sixty passes through the
    network, and log_prob as many with the slopes in all d directions.

    hidden: layer sizes of the network, residual between layers of one size.
    draws: noises per row and step that the loss averages over.
    embedding: a factory (rngs, example) ↦ module of x, trained jointly, such as `mlp()`.

    Errors: ValueError for sizes that are not positive integers. Source: arXiv:2305.17161.
    """
    return FlowMatching(
        check_sizes("hidden", hidden),
        check_count("draws", draws),
        _check_embedding(embedding),
    )


FACTORIES = {"mdn": mdn, "maf": maf, "nsf": nsf, "flow_matching": flow_matching}


def from_spec(spec: dict[str, Any], embedding: Embedding | None = None) -> Estimator:
    """The estimator that wrote `spec`; `embedding` stands in for one of the user's own.

    Errors: ValueError for an unknown name, and for an embedding of the user's own left out.
    """
    options = dict(spec)
    name, stored = options.pop("name", None), options.pop("embedding", None)
    if name == "ensemble":
        return ensemble(from_spec(options["estimator"], embedding), options["members"])
    if name not in FACTORIES:
        known = [*FACTORIES, "ensemble"]
        raise ValueError(f"spec names the estimator {name!r}, expected one of {known}")
    if embedding is None and stored is not None:
        settings = dict(stored)
        kind = settings.pop("name", None)
        if kind not in EMBEDDINGS:
            raise ValueError(
                f"embedding {stored.get('code', kind)!r} is code of your own, which is never "
                "stored: pass the estimator that you trained"
            )
        embedding = EMBEDDINGS[kind](**settings)
    return FACTORIES[name](**options, embedding=embedding)


def _spec(name: str, estimator: Any) -> dict[str, Any]:
    """The estimator's settings as JSON values."""
    spec = {"name": name, **vars(estimator), "hidden": list(estimator.hidden)}
    embedding = estimator.embedding
    if embedding is not None and not hasattr(embedding, "spec"):
        spec["embedding"] = {"code": getattr(embedding, "__qualname__", type(embedding).__name__)}
    elif embedding is not None:
        spec["embedding"] = embedding.spec()
    return spec


def _check_embedding(embedding: Any) -> Embedding | None:
    if embedding is not None and (not callable(embedding) or isinstance(embedding, nnx.Module)):
        raise ValueError(
            "embedding must be a factory (rngs, example) -> flax.nnx.Module such as mlp(), "
            f"got {type(embedding).__name__}"
        )
    return embedding
