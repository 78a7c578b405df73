"""Bijectors that distrax lacks: the masked autoregressive map, and a spline made for speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Elementwise: TypeAlias = Callable[[tuple[Array, ...]], distrax.Bijector]


@runtime_checkable
class Conditioner(Protocol):
    """z ↦ parameters p_i(z_{<i}), arrays (s, d), at once or coordinate by coordinate.

    One by one: from the state `start`, alternate `row` (the parameters (s,) of coordinate i, the
    next of `order`) and `extend` (the state that knows the value it took).
    """

    order: tuple[int, ...]
    start: Array

    def __call__(self, z: Float[Array, " d"]) -> tuple[Float[Array, "s d"], ...]: ...

    def row(self, state: Array, i: Int[Array, ""]) -> tuple[Float[Array, " s"], ...]: ...

    def extend(self, state: Array, i: Int[Array, ""], z_i: Float[Array, ""]) -> Array: ...


class MaskedAutoregressive(distrax.Bijector):
    """u_i = g(z_i; p_i(z_{<i})): its Jacobian is triangular in the conditioner's order.

    Forward (z to u, the direction of a density) is one pass; inverse (sampling) is d passes, of
    which each costs one hidden layer and one coordinate's outputs. Acts on one z (d,).
    Papamakarios et al. 2017, arXiv:1705.07057.

    conditioner: z ↦ arrays (s, d), and one coordinate at a time.
    elementwise: those arrays (s, …) ↦ bijector g of values (…).
    defined: (d,) of bool; the other coordinates stay what they are. On the defined ones the map
        is autoregressive still, so that a chain of such maps has an exact density on them alone.
    """

    def __init__(
        self,
        conditioner: Conditioner,
        elementwise: Elementwise,
        defined: Bool[Array, " d"] | None = None,
    ) -> None:
        super().__init__(event_ndims_in=1)
        self.conditioner, self.elementwise, self.defined = conditioner, elementwise, defined

    def forward_and_log_det(
        self, z: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        u, log_slope = self.elementwise(self.conditioner(z)).forward_and_log_det(z)
        u, log_slope = self._where_defined((u, log_slope), (z, jnp.zeros_like(z)))
        return u, jnp.sum(log_slope)

    def inverse_and_log_det(
        self, u: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        order = jnp.asarray(self.conditioner.order)

        def next_coordinate(k: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            state, z, log_det = carry
            i = order[k]
            bijector = self.elementwise(self.conditioner.row(state, i))
            z_i, log_slope = bijector.inverse_and_log_det(u[i])
            z_i, log_slope = self._where_defined((z_i, log_slope), (u[i], jnp.zeros_like(z_i)), i)
            state = self.conditioner.extend(state, i, z_i)
            return state, z.at[i].set(z_i), log_det + log_slope

        start = (self.conditioner.start, jnp.zeros_like(u), jnp.zeros((), u.dtype))
        _, z, log_det = jax.lax.fori_loop(0, u.size, next_coordinate, start)
        return z, log_det

    def _where_defined(self, inside: tuple, outside: tuple, i: Any = ...) -> tuple:
        if self.defined is None:
            return inside
        return jax.tree.map(partial(jnp.where, self.defined[i]), inside, outside)


class RationalQuadraticSpline(distrax.Bijector):
    """Monotone rational-quadratic spline on [−B, B], the identity beyond; elementwise.

    Parameters of 0 give the identity everywhere. Durkan et al. 2019, arXiv:1906.04032, eqs. 4–8.

    widths, heights: (K, …) unconstrained, bins are their softmax; slopes: (K − 1, …)
    unconstrained, at the inner knots; values have the shape (…).

    In place of distrax's spline: bins are picked by comparison sums along the leading axis, so
    that nothing is gathered and XLA's CPU loops run along the values.
    """

    MIN_BIN, MIN_SLOPE = 1e-3, 1e-3

    def __init__(
        self,
        widths: Float[Array, "K ..."],
        heights: Float[Array, "K ..."],
        slopes: Float[Array, "L ..."],
        bound: float,
    ) -> None:
        super().__init__(event_ndims_in=0)
        self.bound, self.slopes = bound, slopes
        self.widths, self.heights = jax.nn.softmax(widths, axis=0), jax.nn.softmax(heights, axis=0)

    def _segment(self, value: Array, bins: Array) -> tuple[Array, ...]:
        """Of the bin of `bins` that holds `value`: left x, width, left y, height, both slopes."""
        n_bins = self.widths.shape[0]
        share = 1 - n_bins * self.MIN_BIN
        column = (-1,) + (1,) * value.ndim
        lower = np.tril(np.ones((n_bins - 1, n_bins), np.float32))
        ends = jnp.tensordot(lower, jax.lax.stop_gradient(bins), 1, precision="highest")
        ends = share * ends + self.MIN_BIN * np.arange(1, n_bins, dtype=np.float32).reshape(column)
        unit = jax.lax.stop_gradient(value + self.bound) / (2 * self.bound)
        index = jnp.sum((unit >= ends).astype(value.dtype), axis=0)
        numbers = np.arange(n_bins, dtype=np.float32).reshape(column)

        def pick(where: Array, rows: Array, unit: float) -> Array:
            # Division, not multiplication: XLA would repeat the cotangent's whole arithmetic for
            # each of the K rows it is broadcast to, but it never repeats a division.
            return jnp.sum(jnp.where(where, rows, 0), axis=0) / unit

        here, before, inner = numbers == index, numbers < index, numbers[1:]
        per_unit = 1 / (2 * self.bound * share)
        least = 2 * self.bound * self.MIN_BIN
        left = least * index - self.bound
        return (
            left + pick(before, self.widths, per_unit),
            least + pick(here, self.widths, per_unit),
            left + pick(before, self.heights, per_unit),
            least + pick(here, self.heights, per_unit),
            self._slope(pick(inner == index, self.slopes, 0.9)),
            self._slope(pick(inner == index + 1, self.slopes, 0.9)),
        )

    def _slope(self, raw: Array) -> Array:
        return jax.nn.softplus(raw + np.log(np.expm1(1 - self.MIN_SLOPE))) + self.MIN_SLOPE

    def forward_and_log_det(self, z: Float[Array, "..."]) -> tuple[Array, Array]:
        x, w, y, h, d0, d1 = self._segment(z, self.widths)
        t = _unit((z - x) / w)
        value, log_slope = _rational_quadratic(t, y, w, h, d0, d1)
        inside = jnp.abs(z) <= self.bound
        return jnp.where(inside, value, z), jnp.where(inside, log_slope, 0.0)

    def inverse_and_log_det(self, u: Float[Array, "..."]) -> tuple[Array, Array]:
        x, w, y, h, d0, d1 = self._segment(u, self.heights)
        s = h / w
        v = _unit((u - y) / h)
        bend = d0 + d1 - 2 * s
        # a t² + b t + c = 0 (eqs. 6–8), by the root formula that never cancels: b ≥ 0 wins
        # where it could.
        b = d0 - bend * v
        a, c = s - b, -s * v
        discriminant = jnp.maximum(b * b - 4 * a * c, jnp.finfo(u.dtype).tiny)
        root = jnp.sqrt(discriminant)
        q = jnp.where(b >= 0, -b - root, -b + root)
        q = jnp.where(q == 0, 1.0, q)
        safe_a = jnp.where(a == 0, 1.0, a)
        t = _unit(jnp.where(b >= 0, 2 * c / q, q / (2 * safe_a)))
        _, log_slope = _rational_quadratic(t, y, w, h, d0, d1)
        inside = jnp.abs(u) <= self.bound
        return jnp.where(inside, x + w * t, u), jnp.where(inside, -log_slope, 0.0)


def _unit(t: Array) -> Array:
    """t clipped to [0, 1], its slope 1 at both ends too, where `jnp.clip` has ½."""
    return jnp.where(t < 0, 0.0, jnp.where(t > 1, 1.0, t))


def _rational_quadratic(
    t: Array, y: Array, w: Array, h: Array, d0: Array, d1: Array
) -> tuple[Array, Array]:
    """Value and log-slope at the share t ∈ [0, 1] of a bin (eqs. 4 and 5)."""
    s = h / w
    bump = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * bump
    value = y + h * (s * t * t + d0 * bump) / denominator
    numerator = d1 * t * t + 2 * s * bump + d0 * (1 - t) ** 2
    # One logarithm; the slopes' range (10⁻³ to 10⁶ or so) keeps the quotient far from overflow.
    return value, jnp.log((s / denominator) ** 2 * numerator)
