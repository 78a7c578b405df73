"""Bijectors: inverse∘forward = id, log-determinants = autodiff's, distrax's spline as oracle."""

from __future__ import annotations

from collections.abc import Iterator

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsbi.bijectors import MaskedAutoregressive, RationalQuadraticSpline
from jaxsbi.flows import affine, spline
from jaxsbi.networks import MADE

BOUND = 5.0


@pytest.fixture
def x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def raw_parameters(seed: int, spread: float, bins: int = 8) -> jax.Array:
    return spread * jax.random.normal(jax.random.key(seed), (3 * bins - 1,))


def build(raw: jax.Array) -> RationalQuadraticSpline:
    bins = (raw.shape[0] + 1) // 3
    return RationalQuadraticSpline(raw[:bins], raw[bins : 2 * bins], raw[2 * bins :], BOUND)


@jax.jit
def forward(raw: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(build(raw).forward_and_log_det)(z)


@jax.jit
def inverse(raw: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(build(raw).inverse_and_log_det)(u)


@jax.jit
def slope(raw: jax.Array, z: jax.Array) -> jax.Array:
    return jax.vmap(jax.grad(build(raw).forward))(z)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.floats(0.1, 3.0), bins=st.sampled_from([2, 5, 8]))
def test_spline_inverts_and_its_log_slope_is_autodiffs(seed: int, spread: float, bins: int) -> None:
    with jax.enable_x64(True):
        z, raw = jnp.linspace(-7.93, 8.01, 401), raw_parameters(seed, spread, bins)
        u, log_slope = forward(raw, z)
        back, inverse_log_slope = inverse(raw, u)
        assert jnp.all(jnp.diff(u) > 0)
        np.testing.assert_allclose(back, z, atol=1e-6)
        np.testing.assert_allclose(log_slope, jnp.log(slope(raw, z)), atol=1e-8)
        np.testing.assert_allclose(inverse_log_slope, -log_slope, atol=1e-4)


def test_spline_is_the_identity_for_parameters_of_zero() -> None:
    z = jnp.linspace(-9, 9, 101)
    u, log_slope = forward(jnp.zeros(23), z)
    np.testing.assert_allclose(u, z, atol=4e-6)
    np.testing.assert_allclose(log_slope, 0, atol=4e-6)


def test_spline_agrees_with_distrax(x64: None) -> None:
    raw = raw_parameters(3, 2.0)
    theirs = distrax.RationalQuadraticSpline(
        jnp.concatenate([raw[:16], jnp.zeros(1), raw[16:] / 0.9, jnp.zeros(1)]),
        -BOUND,
        BOUND,
        boundary_slopes="identity",
        min_bin_size=2 * BOUND * RationalQuadraticSpline.MIN_BIN,
        min_knot_slope=RationalQuadraticSpline.MIN_SLOPE,
    )
    z = jnp.linspace(-7, 7, 1001)
    for a, b in zip(forward(raw, z), theirs.forward_and_log_det(z), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(inverse(raw, z), theirs.inverse_and_log_det(z), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_spline_joins_the_identity_smoothly_at_the_ends_of_its_box(x64: None) -> None:
    raw = raw_parameters(5, 2.0)
    edges = jnp.array([-BOUND, BOUND])
    for factor in (1 - 1e-10, 1, 1 + 1e-10, 10):
        u, log_slope = forward(raw, edges * factor)
        np.testing.assert_allclose(u, edges * factor, atol=1e-8)
        np.testing.assert_allclose(log_slope, 0, atol=1e-6)


def test_spline_in_float32_agrees_with_float64() -> None:
    def evaluate(dtype: type) -> list[jax.Array]:
        rng = np.random.default_rng(0)
        raw, z = rng.normal(size=23).astype(dtype), rng.uniform(-6, 6, 500).astype(dtype)
        u, log_slope = forward(jnp.asarray(raw), jnp.asarray(z))
        return [u, log_slope, inverse(jnp.asarray(raw), jnp.asarray(z))[0]]

    single = evaluate(np.float32)
    with jax.enable_x64(True):
        double = evaluate(np.float64)
    for a, b, tolerance in zip(single, double, (5e-5, 2e-4, 2e-4), strict=True):
        assert a.dtype == np.float32 and b.dtype == np.float64
        np.testing.assert_allclose(a, b, atol=tolerance)


def test_spline_gradients_are_finite_everywhere() -> None:
    def total(raw: jax.Array, z: jax.Array, direction: str) -> jax.Array:
        bijector = RationalQuadraticSpline(raw[:8], raw[8:16], raw[16:], BOUND)
        value, log_slope = getattr(bijector, direction)(z)
        return jnp.sum(value) + jnp.sum(log_slope)

    z = jnp.array([-50.0, -BOUND, -BOUND + 1e-6, -2.5, 0.0, 1.0, BOUND, 50.0])
    for spread in (0.0, 3.0, 30.0):
        raw = spread * jax.random.normal(jax.random.key(1), (23, z.size))
        for direction in ("forward_and_log_det", "inverse_and_log_det"):
            by_raw, by_z = jax.grad(total, (0, 1))(raw, z, direction)
            assert jnp.all(jnp.isfinite(by_raw)) and jnp.all(jnp.isfinite(by_z))


@pytest.mark.parametrize("elementwise", [affine, spline])
@pytest.mark.parametrize("d", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (1, 8))])
def test_masked_autoregressive_inverts_and_its_log_dets_are_autodiffs(
    d: int, elementwise: object
) -> None:
    with jax.enable_x64(True):
        order = tuple(np.random.default_rng(d).permutation(d).tolist())
        sections = (2,) if elementwise is affine else (2, 8, 8, 7)
        graphdef, initial = nnx.split(MADE(jax.random.key(0), [order], 3, (20, 20), sections))

        @jax.jit
        def evaluate(key: jax.Array) -> tuple[jax.Array, ...]:
            params = jax.tree.map(
                lambda w: w + 0.3 * jax.random.normal(jax.random.fold_in(key, w.size), w.shape),
                initial,
            )
            (conditioner,) = nnx.merge(graphdef, params).given(jax.random.normal(key, (3,)))
            bijector = MaskedAutoregressive(conditioner, elementwise)
            z = 2 * jax.random.normal(key, (d,))
            u, log_det = bijector.forward_and_log_det(z)
            back, inverse_log_det = bijector.inverse_and_log_det(u)
            by_autodiff = jnp.linalg.slogdet(jax.jacobian(bijector.forward)(z))[1]
            inverse_by_autodiff = jnp.linalg.slogdet(jax.jacobian(bijector.inverse)(u))[1]
            return z, back, log_det, by_autodiff, inverse_log_det, inverse_by_autodiff

        for seed in range(20):
            z, back, *log_dets = evaluate(jax.random.key(seed))
            np.testing.assert_allclose(back, z, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(log_dets[0], log_dets[1], atol=1e-8)
            np.testing.assert_allclose(log_dets[2], log_dets[3], atol=1e-6)
