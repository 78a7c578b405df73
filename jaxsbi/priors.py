"""Prior p(θ) over a numpyro distribution: names, units, a masked density and the map θ ↔ z."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions.transforms import biject_to

from jaxsbi import coordinates
from jaxsbi.arguments import as_theta, check_count, check_key
from jaxsbi.types import PRNGKey


@jax.tree_util.register_pytree_node_class
class Prior:
    """p(θ) of d named parameters, and z(θ) with z ~ N(0, I) when θ ~ p.

    `distribution` is a numpyro distribution over vectors (d,), a batch of d univariate ones, or a
    mapping from names to univariate ones. z = Φ⁻¹(F(θ)) for independent components, whitening
    for Gaussians, and numpyro's `biject_to` where there is no quantile function (`gaussian` is
    then False, and z has the density p(z) that `log_prob_z` gives). Under `jit` numpyro's own
    density forgets the support; here `log_prob` is −inf outside it, always.
    """

    def __init__(
        self,
        distribution: dist.Distribution | Mapping[str, dist.Distribution],
        names: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
    ):
        if isinstance(distribution, Mapping):
            names = tuple(distribution) if names is None else names
            components = tuple(coordinates.as_vector(d) for d in distribution.values())
        else:
            components = (coordinates.as_vector(distribution),)
        self.components = components
        dim = sum(c.event_shape[0] for c in components)
        self.names = _labels("names", names, [f"theta_{i}" for i in range(dim)])
        self.units = _labels("units", units, [""] * dim)
        if len(set(self.names)) != dim:
            raise ValueError(f"names must differ from each other, got {list(self.names)}")
        _check_bounds(self)

    @property
    def dim(self) -> int:
        return len(self.names)

    @property
    def gaussian(self) -> bool:
        """Whether the prior is N(0, I) in z."""
        return all(coordinates.has_gaussian_coordinates(c) for c in self.components)

    def to_z(self, theta: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """z(θ), (…, d). Outside the support the result has no meaning."""
        return _transformed(coordinates.to_z, self, as_theta(theta, self.dim))

    def to_theta(self, z: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """θ(z), (…, d): always inside the support."""
        return _transformed(coordinates.to_theta, self, as_theta(z, self.dim, "z"))

    @property
    def bounds(self) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """Lower and upper bounds of the support, ±inf where a parameter has not both."""
        low, high = [], []
        for component in self.components:
            support = component.support
            while hasattr(support, "base_constraint"):
                support = support.base_constraint
            ends = (
                getattr(support, "lower_bound", -jnp.inf),
                getattr(support, "upper_bound", jnp.inf),
            )
            both = jnp.isfinite(ends[0]) & jnp.isfinite(ends[1])
            low.append(jnp.broadcast_to(jnp.where(both, ends[0], -jnp.inf), component.event_shape))
            high.append(jnp.broadcast_to(jnp.where(both, ends[1], jnp.inf), component.event_shape))
        return jnp.concatenate(low), jnp.concatenate(high)

    def in_support(self, theta: Float[Array, "*n d"]) -> Array:
        """Whether each θ lies in the support, bounds included: (…,) of bool."""
        theta = as_theta(theta, self.dim)
        inside = [
            c.support(part) for c, part in zip(self.components, self._split(theta), strict=False)
        ]
        return jnp.all(jnp.stack(jnp.broadcast_arrays(*inside)), axis=0)

    def log_prob(self, theta: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        """log p(θ), (…,): normalised, −inf outside the support, with finite gradients inside."""
        theta = as_theta(theta, self.dim)
        inside = self.in_support(theta)
        centre = self.to_theta(jnp.zeros(self.dim, theta.dtype))
        safe = self._split(jnp.where(inside[..., None], theta, centre))
        total = sum(c.log_prob(part) for c, part in zip(self.components, safe, strict=False))
        return jnp.where(inside, total, -jnp.inf)

    def log_prob_z(self, z: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        """log p(z), (…,): that of N(0, I) wherever `gaussian` holds."""
        z = as_theta(z, self.dim, "z")
        parts = []
        for component, part in zip(self.components, self._split(z), strict=False):
            if coordinates.has_gaussian_coordinates(component):
                parts.append(jnp.sum(jax.scipy.stats.norm.logpdf(part), axis=-1))
            else:
                transform = biject_to(component.support)
                theta = transform(part)
                jacobian = transform.log_abs_det_jacobian(part, theta)
                excess = jacobian.ndim - (part.ndim - 1)
                jacobian = jnp.sum(jacobian, axis=tuple(range(-excess, 0))) if excess else jacobian
                parts.append(component.log_prob(theta) + jacobian)
        return sum(parts)

    def log_jacobian(self, theta: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        """log |∂z/∂θ| = log p(θ) − log p(z), (…,); −inf outside the support."""
        return self.log_prob(theta) - self.log_prob_z(self.to_z(theta))

    def sample(self, key: PRNGKey, n: int | None = None) -> Float[Array, "*n d"]:
        """θ ~ p: (d,), or (n, d)."""
        check_key(key)
        shape = () if n is None else (check_count("n", n),)
        keys = jax.random.split(key, len(self.components))
        draws = []
        for k, component in zip(keys, self.components, strict=False):
            if coordinates.has_gaussian_coordinates(component):
                z = jax.random.normal(k, shape + component.event_shape)
                draws.append(coordinates.to_theta(component, z))
            else:
                draws.append(component.sample(k, shape))
        return jnp.concatenate(draws, axis=-1)

    def _split(self, vector: Array) -> list[Array]:
        ends = np.cumsum([c.event_shape[0] for c in self.components])[:-1]
        return jnp.split(vector, ends, axis=-1)

    def __repr__(self) -> str:
        kinds = [type(getattr(c, "base_dist", c)).__name__ for c in self.components]
        return f"Prior({', '.join(kinds)}; {', '.join(self.names)})"

    def tree_flatten(self):
        return (self.components,), (self.names, self.units)

    @classmethod
    def tree_unflatten(cls, labels, children):
        prior = object.__new__(cls)
        (prior.components,), (prior.names, prior.units) = children, labels
        return prior


@partial(jax.jit, static_argnums=0)
def _transformed(transform: Callable[..., Array], prior: Prior, vector: Array) -> Array:
    """transform(component, part) of each component, one after the other."""
    parts = zip(prior.components, prior._split(vector), strict=True)
    return jnp.concatenate([transform(component, part) for component, part in parts], axis=-1)


def box(
    low: Any,
    high: Any = None,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> Prior:
    """Uniform prior on Π [low_i, high_i].

    `low` is a sequence of parameters with fields name, unit, low and high (as every model in
    `simulators` lists them), or the lower bounds (d,), and then `high` the upper bounds.
    """
    if high is None:
        try:
            parameters = tuple(low)
            names = tuple(p.name for p in parameters) if names is None else names
            units = tuple(p.unit for p in parameters) if units is None else units
            low, high = [p.low for p in parameters], [p.high for p in parameters]
        except (TypeError, AttributeError):
            raise ValueError(
                "low must be a sequence of parameters (name, unit, low, high) when high is left "
                f"out, got {type(low).__name__}; or give both bounds: box(low, high)"
            ) from None
    low, high = _vector("low", low), _vector("high", high)
    if low.shape != high.shape:
        raise ValueError(
            f"low and high must have one shape, got {low.shape} and {high.shape}; "
            "give one pair of bounds per parameter"
        )
    with jax.ensure_compile_time_eval():  # the bounds are known, under `jit` too
        return Prior(dist.Uniform(jnp.asarray(low), jnp.asarray(high)).to_event(1), names, units)


def gaussian(
    mean: Any,
    *,
    sd: Any = None,
    covariance: Any = None,
    precision: Any = None,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> Prior:
    """Gaussian prior N(mean, V), V given as sd² (d,), as a covariance or as a precision (d, d)."""
    mean = _vector("mean", mean)
    given = {"sd": sd, "covariance": covariance, "precision": precision}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "exactly one of sd, covariance, precision must be given, got "
            f"{', '.join(given) or 'none'}"
        )
    ((name, value),) = given.items()
    if name == "sd":
        sd = _vector("sd", value)
        if sd.shape != mean.shape or np.any(sd <= 0):
            raise ValueError(
                f"sd must be {len(mean)} positive numbers, one per entry of mean, got {sd.tolist()}"
            )
        return Prior(dist.Normal(jnp.asarray(mean), jnp.asarray(sd)).to_event(1), names, units)
    dim = len(mean)
    try:
        matrix = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a ({dim}, {dim}) matrix of numbers, got {value!r}"
        ) from None
    if matrix.shape != (dim, dim) or not np.all(np.isfinite(matrix)):
        raise ValueError(
            f"{name} must be a finite ({dim}, {dim}) matrix, got shape {matrix.shape}"
            + (" with entries that are not finite" if matrix.shape == (dim, dim) else "")
        )
    if not np.allclose(matrix, matrix.T):
        raise ValueError(f"{name} must be symmetric, got one that is not")
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} must be positive definite, got one that is not") from None
    covariance = np.linalg.inv(matrix) if name == "precision" else matrix
    tril = jnp.asarray(np.linalg.cholesky((covariance + covariance.T) / 2))
    return Prior(dist.MultivariateNormal(jnp.asarray(mean), scale_tril=tril), names, units)


def _vector(name: str, values: Any) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(values, float).astype(jnp.result_type(float))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, one per parameter, got {values!r}") from None
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(
            f"{name} must have shape (d,), one number per parameter, got {vector.shape}"
        )
    if not np.all(np.isfinite(vector)):
        raise ValueError(f"{name} must be finite in {vector.dtype}, got {vector.tolist()}")
    return vector


def _check_bounds(prior: Prior) -> None:
    """A ValueError unless both bounds of each parameter, where it has them, leave a finite range.

    Bounds that a program under `jit` computes cannot be looked at.
    """
    with jax.ensure_compile_time_eval():
        bounds = prior.bounds
    if any(isinstance(end, jax.core.Tracer) for end in bounds):
        return
    low, high = map(np.asarray, bounds)
    with np.errstate(over="ignore"):
        width = np.where(np.isfinite(low), high - low, 1.0)
    wrong = np.flatnonzero(~((width > 0) & np.isfinite(width)))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"low must lie below high by a finite range in {low.dtype}, but parameter {i} "
            f"({prior.names[i]}) has low {low[i]!s} and high {high[i]!s}; correct its bounds"
        )


def _labels(name: str, given: Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    try:
        labels = tuple(default if given is None else given)
    except TypeError:
        labels = ()
    strings = not isinstance(given, str) and all(isinstance(label, str) for label in labels)
    if len(labels) != len(default) or not strings:
        raise ValueError(f"{name} must be {len(default)} strings, one per parameter, got {given!r}")
    return labels
