"""The ion channel against published currents, NumPy in float64 and least squares."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clamped import currents, near_nominal, short_clamps, short_protocol

from simulators import _clamped, channels
from simulators._basis import Basis
from simulators._gating import approach
from simulators.voltage_clamp import Clamp, standard

LOW = np.array([p.low for p in channels.PARAMETERS])
HIGH = np.array([p.high for p in channels.PARAMETERS])
PUBLISHED = {
    "activation": "act", "inactivation": "inact", "deactivation": "deact",
    "action potentials": "ap", "ramps": "ramp",
}  # fmt: skip


rows = jax.jit(jax.vmap(channels.simulate, (0, 0, None)))


def prior_draws(n, seed=0):
    return np.random.default_rng(seed).uniform(LOW, HIGH, (n, 8))


@pytest.fixture(scope="module")
def protocol():
    return short_protocol()


@pytest.fixture(scope="module")
def single(protocol):
    """The step family alone: a gradient takes long to compile."""
    functions, names = protocol.basis.functions[:1], protocol.basis.names[:1]
    return channels.Protocol(protocol.clamps[:1], Basis(functions, names))


def quiet(protocol):
    return channels.Protocol(protocol.clamps, protocol.basis, 0.0)


@pytest.mark.parametrize(
    "name, double",
    [
        ("ramps", False),
        *(
            pytest.param(name, double, marks=pytest.mark.slow)
            for name in PUBLISHED
            for double in (False, True)
            if (name, double) != ("ramps", False)
        ),
    ],
)
def test_published_currents(data, name, double, record_property):
    reference = np.load(data("channels/deterministic.npz"))
    (clamp,) = (c for c in standard(data("channels/protocols.npz")) if c.name == name)
    with jax.enable_x64(double):
        one = jax.tree.map(lambda a: jnp.asarray(a, float), (clamp,))
        run = jax.vmap(lambda t: channels._currents(jnp.zeros(2, jnp.uint32), t, 0.0, one)[0])
        ours = np.asarray(run(jnp.asarray(reference["theta"], float)))
    gap = ours.transpose(0, 2, 1)[..., ::100] - reference[f"{PUBLISHED[name]}_current"]
    rms = np.sqrt(np.mean(gap**2, axis=(1, 2)))
    record_property("rms of the normalised current", float(rms.max()))
    assert rms.max() < (1e-6 if double else 1e-5), rms


def test_features_are_the_least_squares_of_the_equations(float64, protocol):
    theta = near_nominal(1, seed=1)[0]
    x = np.asarray(channels.simulate(jax.random.key(0), theta, quiet(protocol)))
    expected = []
    for clamp, phi in zip(protocol.clamps, protocol.basis.functions, strict=True):
        flat = phi.swapaxes(0, 1).reshape(-1, 10).astype(float)  # sweep by sweep
        design = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        expected.append(np.linalg.lstsq(design, currents(theta, clamp).ravel())[0])
    # The stored basis is orthonormal to the rounding of float32.
    np.testing.assert_allclose(x, np.concatenate(expected), rtol=1e-5, atol=1e-6)


def test_streamed_features_equal_those_of_the_trace(protocol):
    for theta in near_nominal(3, seed=2):
        x = channels.simulate(jax.random.key(1), theta, protocol)
        trace = channels.trace(jax.random.key(1), theta, protocol)
        assert [c.shape for c in trace.currents] == [(3, 403), (1, 250)]
        assert all(float(c.max()) == 1 for c in trace.currents)
        np.testing.assert_allclose(x, channels.features(trace), rtol=1e-4, atol=1e-5)


def test_float32_equals_float64_under_the_same_noise(protocol):
    results = []
    for double in (False, True):
        with jax.enable_x64(double):
            theta = jnp.asarray(near_nominal(8, seed=3), float)
            keys = jax.random.split(jax.random.key(2), 8)
            results.append(np.asarray(rows(keys, theta, protocol)))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


def test_every_sample_has_its_own_noise(protocol):
    # With a = 0 the gate does not move, so the current is that of V − E_K alone.
    clamp = Clamp(np.full((3, 4000), -50.0), 0.025, "steps")
    theta = jnp.asarray([0.0, 0, 0, 10, 0, 0, 0, 0])
    one = jax.tree.map(lambda a: jnp.asarray(a, float), (clamp,))
    key = jax.random.key_data(jax.random.key(4))
    (current,) = channels._currents(key, theta, 0.5, one)
    z = (np.asarray(current, float).T / current.mean() - 1) * 36.7 / 0.5
    n = z.size
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * n) + 1e-3
    lagged = [np.mean(z[:, lag:] * z[:, :-lag]) for lag in (1, 2, 4)]
    across = [np.mean(z[i] * z[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert np.abs(lagged).max() < 4 / np.sqrt(n) and np.abs(across).max() < 4 / np.sqrt(4000)
    # The first sample, and the other protocol of a pair, have streams of their own.
    first, second = channels._currents(key, theta, 0.5, one * 2)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 4 / np.sqrt(4000)
    ensemble = jax.vmap(lambda k: channels._currents(k, theta, 0.5, small)[0])
    small = jax.tree.map(lambda a: a[:, :9], one)
    start = ensemble(jax.random.key_data(jax.random.split(jax.random.key(5), 4000)))[:, :3, 0]
    r = np.corrcoef(np.asarray(start / start.mean(), float).T)
    assert np.abs(r - np.eye(3)).max() < 0.3  # the shared maximum alone couples samples


def field(theta, v):
    """(m∞ in its unit, share of the gap closed in a step) as the simulator computes them."""
    keys = ("a", "b", "c", "e", "f", "g", "h")
    constants = dict(zip(keys, [theta[i] for i in (0, 1, 2, 4, 5, 6, 7)], strict=True))
    constants["log_rate"] = jnp.log(_clamped.SPEED / theta[3])
    constants["fastest"] = float(np.log(500 / 0.025))
    ((steady, rate),) = _clamped._field(0, {"v": v}, ((constants,), None)).values()
    return steady, approach(0.025 * rate)


def test_gate_is_finite_and_right_over_the_whole_prior():
    corners = np.array(list(itertools.product(*zip(LOW, HIGH, strict=True))))
    corners[:, 3] = np.maximum(corners[:, 3], 1e-6)
    thetas = np.concatenate([prior_draws(2000, seed=4), corners])
    v = np.linspace(-103, 73, 45)
    both = jax.jit(lambda t, v: (field(t, v), jax.jacfwd(lambda t: field(t, v))(t)))
    (steady, share), tangents = jax.vmap(both, (0, None))(
        jnp.asarray(thetas, jnp.float32), jnp.asarray(v, jnp.float32)
    )
    assert all(np.isfinite(a).all() for a in (steady, share, *tangents))
    assert np.asarray(steady).min() > 0
    a, b, c, d, e, f, g, h = thetas.T[:, :, None]
    y = v - c
    with np.errstate(over="ignore"):
        rate = (np.exp(-(e * y + f * y * y)) + np.exp(g * y + h * y * y)) / d
        expected = -np.expm1(-np.minimum(0.025 * 2.3**1.4 * rate, 500))
        np.testing.assert_allclose(np.log(steady) - 30, -np.log1p(np.exp(b - a * v)), atol=2e-5)
    np.testing.assert_allclose(share, expected, rtol=2e-4, atol=1e-30)


def test_features_and_gradients_are_finite_over_the_prior(single):
    corners = np.array(list(itertools.product(*zip(LOW, HIGH, strict=True))))[::5]
    corners[:, 3] = np.maximum(corners[:, 3], 1e-3)
    thetas = jnp.asarray(np.concatenate([prior_draws(77, seed=5), corners]), jnp.float32)
    keys = jax.random.split(jax.random.key(3), len(thetas))

    def value(t, k):
        x = channels.simulate(k, t, single)
        return jnp.sum(jnp.sin(x)), x

    gradient, x = jax.jit(jax.vmap(jax.grad(value, has_aux=True)))(thetas, keys)
    assert np.isfinite(x).all() and np.isfinite(gradient).all()


@pytest.mark.slow
def test_standard_features_are_finite_over_the_prior(data):
    clamps = standard(data("channels/protocols.npz"))
    given = channels.Protocol(clamps, channels.fit_basis(prior_draws(20, seed=6), clamps))
    given = jax.tree.map(lambda a: jnp.asarray(a, float), given)
    keys = jax.random.split(jax.random.key(7), 48)
    theta = jnp.asarray(prior_draws(48, seed=7), jnp.float32)
    x = np.asarray(rows(keys, theta, given))
    assert x.shape == (48, len(channels.FEATURES)) and np.isfinite(x).all()


def test_gradient_equals_central_differences(float64, single):
    theta, key = near_nominal(1, seed=8)[0], jax.random.key(6)
    f = jax.jit(lambda t, p: channels.simulate(key, t, p))
    jacobian = np.asarray(jax.jit(jax.jacrev(f))(theta, single))
    step = 1e-6 * channels.NOMINAL
    for i in range(8):
        shift = step[i] * np.eye(8)[i]
        difference = (f(theta + shift, single) - f(theta - shift, single)) / (2 * step[i])
        scale = np.abs(jacobian[:, i]).max()
        assert np.abs(jacobian[:, i] - difference).max() < 1e-5 * scale, i


def test_rows_do_not_depend_on_the_batch_and_bad_ones_are_nan(protocol):
    theta = jnp.asarray(near_nominal(40, seed=1), jnp.float32).at[39, 3].set(-5.0)
    keys = jax.random.split(jax.random.key(4), 40)
    whole = np.asarray(rows(keys, theta, protocol))
    assert np.isfinite(whole[:39]).all() and np.isnan(whole[39]).all()
    np.testing.assert_allclose(rows(keys[:9], theta[:9], protocol), whole[:9], atol=2e-5)


def test_memory_is_that_of_the_protocol_not_of_the_current():
    def temporary(samples):
        clamp = Clamp(jnp.zeros((8, samples)), 0.025, "steps")
        basis = Basis((jnp.zeros((samples, 8, 10)),), ("steps",))
        given = channels.Protocol((clamp,), basis, jnp.float32(0.5))
        keys, theta = jax.random.split(jax.random.key(0), 64), jnp.zeros((64, 8))
        lowered = rows.lower(keys, theta, given)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    # Eight times the samples: the currents of 64 lanes would take 57 MB more.
    assert temporary(32_001) - temporary(4_001) < 3 * 28_000 * 8 * 4


def test_bad_arguments_are_refused(protocol):
    key, theta = jax.random.key(0), channels.NOMINAL
    with pytest.raises(ValueError, match=r"^theta: expected shape \(8,\) .* got \(7,\)"):
        channels.simulate(key, theta[:7], protocol)
    with pytest.raises(
        ValueError, match=r"^theta: expected d ≥ 0 and finite \[ms\], got -91.4"
    ) as e:
        channels.simulate(key, theta * [1, 1, 1, -1, 1, 1, 1, 1], protocol)
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match=r"^theta: expected h finite \[1/mV²\], got nan"):
        channels.trace(key, np.r_[theta[:7], np.nan], protocol)
    with pytest.raises(ValueError, match="^protocol: expected a channels.Protocol"):
        channels.simulate(key, theta, short_clamps())
    with pytest.raises(ValueError, match="^noise: expected an sd"):
        channels.Protocol(protocol.clamps, protocol.basis, -1.0)
    with pytest.raises(ValueError, match="^basis: expected one of the protocols"):
        channels.Protocol(protocol.clamps[:1], protocol.basis)
    with pytest.raises(ValueError, match=r"^basis: expected functions \(300, 3, 10\) for steps"):
        shorter = Clamp(protocol.clamps[0].voltage[:, :300], 0.05, "steps")
        channels.Protocol((shorter, protocol.clamps[1]), protocol.basis)
    with pytest.raises(ValueError, match="^trace: expected a channels.Trace"):
        channels.features(jnp.zeros(5))
    with pytest.raises(ValueError, match="^trace.currents: expected shapes"):
        channels.features(channels.Trace((jnp.zeros((3, 5)), jnp.zeros((1, 250))), protocol))
