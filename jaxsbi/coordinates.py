"""θ ↔ z: the map to the coordinates in which a prior is N(0, I), for each kind of distribution.

z = Φ⁻¹(F(θ)) for independent components and z = L⁻¹(θ − μ) for Gaussians. Both tails of uniform
and Gaussian variables and of their monotone transforms are mapped with the same accuracy, the upper
one by its own distance from the bound. Elsewhere 1 − F(θ) stands in for it, which float32 knows to
6·10⁻⁸: where 10⁻⁶ of the prior lies above θ, z is good to about 10⁻². A point closer to a bound
than half a unit in the last place of the range is taken to lie that far from it, so that z stays
within ±5.3 in float32 and every density of a sample is finite.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float
from numpyro.distributions.distribution import ExpandedDistribution
from numpyro.distributions.transforms import biject_to


def _resolution(x: Array) -> float:
    return float(jnp.finfo(x.dtype).eps) / 2


def _z_of_tails(lower: Array, upper: Array) -> Array:
    """Φ⁻¹ of a probability given as both of its tails, lower + upper = 1; the smaller is used."""
    resolution = _resolution(lower)
    below, above = (ndtri(jnp.clip(p, resolution, 1 - resolution)) for p in (lower, upper))
    return jnp.where(lower < upper, below, -above)


def has_gaussian_coordinates(distribution: dist.Distribution) -> bool:
    """Whether the distribution is N(0, I) in `to_z`; False where only a bijection is known."""
    if isinstance(distribution, dist.Independent | ExpandedDistribution):
        return has_gaussian_coordinates(distribution.base_dist)
    if isinstance(distribution, dist.MultivariateNormal):
        return True
    if isinstance(distribution, dist.TransformedDistribution):
        return distribution.event_shape == () and has_gaussian_coordinates(distribution.base_dist)
    return distribution.event_shape == () and type(distribution).icdf is not dist.Distribution.icdf


def as_vector(distribution: Any) -> dist.Distribution:
    """The distribution as one over vectors (d,) with d coordinates; ValueError for any other."""
    if not isinstance(distribution, dist.Distribution):
        raise ValueError(
            f"distribution must be a numpyro distribution, got {type(distribution).__name__}; "
            "see also jaxsbi.box and jaxsbi.gaussian"
        )
    if distribution.batch_shape == () and distribution.event_shape == ():
        distribution = distribution.expand((1,))
    if len(distribution.batch_shape) == 1 and distribution.event_shape == ():
        distribution = distribution.to_event(1)
    if distribution.batch_shape != () or len(distribution.event_shape) != 1:
        raise ValueError(
            "distribution must be over vectors (d,) or a batch of d univariate distributions, got "
            f"batch shape {distribution.batch_shape} and event shape {distribution.event_shape}"
        )
    dim = distribution.event_shape[0]
    reached = jax.eval_shape(lambda t: to_z(distribution, t), jnp.zeros(dim)).shape
    if reached != (dim,):
        raise ValueError(
            "distribution must have as many free dimensions as entries, got a "
            f"{type(distribution).__name__} of {dim} entries on {reached[-1]} free dimensions; "
            "leave the dependent entry out"
        )
    return distribution


@singledispatch
def to_z(distribution: dist.Distribution, theta: Float[Array, "..."]) -> Float[Array, "..."]:
    """z = Φ⁻¹(F(θ)); without a quantile function, numpyro's bijection from the real line."""
    if has_gaussian_coordinates(distribution):
        lower = distribution.cdf(theta)
        return _z_of_tails(lower, 1 - lower)
    return biject_to(distribution.support).inv(theta)


@singledispatch
def to_theta(distribution: dist.Distribution, z: Float[Array, "..."]) -> Float[Array, "..."]:
    """θ = F⁻¹(Φ(z)), the inverse of `to_z`."""
    if has_gaussian_coordinates(distribution):
        resolution = _resolution(z)
        return distribution.icdf(jnp.clip(ndtr(z), resolution, 1 - resolution))
    return biject_to(distribution.support)(z)


@to_z.register
def _(distribution: dist.Uniform, theta):
    low, high = distribution.low, distribution.high
    width = high - low
    return _z_of_tails((theta - low) / width, (high - theta) / width)


@to_theta.register
def _(distribution: dist.Uniform, z):
    low, high = distribution.low, distribution.high
    tail = (high - low) * jnp.maximum(ndtr(-jnp.abs(z)), _resolution(z))
    theta = jnp.where(z < 0, low + tail, high - tail)
    return jnp.clip(theta, low, high)


@to_z.register
def _(distribution: dist.Normal, theta):
    return (theta - distribution.loc) / distribution.scale


@to_theta.register
def _(distribution: dist.Normal, z):
    return distribution.loc + distribution.scale * z


@to_z.register
def _(distribution: dist.MultivariateNormal, theta):
    centred = theta - distribution.loc
    return jnp.linalg.solve(distribution.scale_tril, centred[..., None])[..., 0]


@to_theta.register
def _(distribution: dist.MultivariateNormal, z):
    return distribution.loc + jnp.einsum("...ij,...j->...i", distribution.scale_tril, z)


@to_z.register(dist.Independent)
@to_z.register(ExpandedDistribution)
def _(distribution, theta):
    return to_z(distribution.base_dist, theta)


@to_theta.register(dist.Independent)
@to_theta.register(ExpandedDistribution)
def _(distribution, z):
    return to_theta(distribution.base_dist, z)


@to_z.register
def _(distribution: dist.TransformedDistribution, theta):
    """A monotone transform of one variable keeps its Gaussian coordinate (up to a sign)."""
    if not has_gaussian_coordinates(distribution):
        return biject_to(distribution.support).inv(theta)
    for transform in reversed(distribution.transforms):
        theta = transform.inv(theta)
    return to_z(distribution.base_dist, theta)


@to_theta.register
def _(distribution: dist.TransformedDistribution, z):
    if not has_gaussian_coordinates(distribution):
        return biject_to(distribution.support)(z)
    theta = to_theta(distribution.base_dist, z)
    for transform in distribution.transforms:
        theta = transform(theta)
    return theta
