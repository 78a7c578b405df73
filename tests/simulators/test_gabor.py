"""The Gabor neuron against closed forms and NumPy in float64, on short videos."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsbi.dataset import is_valid
from simulators import gabor

FRAMES = 1500
rows = jax.jit(jax.vmap(gabor.simulate, (0, 0, None)))
many = jax.jit(jax.vmap(gabor.simulate, (0, None, None)))
simulate = jax.jit(gabor.simulate)


def on_device(protocol):
    return gabor.Protocol(jnp.asarray(protocol.frames, float))


@pytest.fixture(scope="module")
def video():
    return on_device(gabor.white_noise(seed=1, frames=FRAMES))


def prior_draws(n, seed=0):
    return gabor.PRIOR_MEAN + gabor.PRIOR_SD * np.random.default_rng(seed).normal(size=(n, 9))


def field(cell):
    """RF (41, 41) pixel by pixel, as it is published."""
    _, gain, phi, f, alpha, gamma, b, x0, y0 = np.asarray(cell, float)
    x = np.linspace(-1, 1, 41)
    image = np.empty((41, 41))
    sigma = np.sqrt(2 * np.log(2)) / (2 * np.pi * f) * (2**b + 1) / (2**b - 1)
    norm = (
        np.pi * sigma**2 / gamma * (0.5 + np.exp(-((2 * np.pi * f * sigma) ** 2)) * np.cos(2 * phi))
    )
    for row in range(41):
        for column in range(41):
            u, v = x[column] - x0, x[row] - y0
            p = u * np.cos(alpha) - v * np.sin(alpha)
            q = u * np.sin(alpha) + v * np.cos(alpha)
            image[row, column] = np.exp(-(p**2 + (gamma * q) ** 2) / (2 * sigma**2)) * np.cos(
                2 * np.pi * f * p - phi
            )
    return gain / np.sqrt(norm / 0.0025) * image


def rates(cell, protocol):
    """λ_t in float64."""
    frames = np.asarray(protocol.frames, float).reshape(len(protocol.frames), -1)
    return 0.025 * np.exp(cell[0] + np.minimum(frames @ field(cell).ravel(), 4))


def clipped_gain(s2):
    """E e^{min(z, 4)} for z ~ N(0, s²), and its derivative E 1[z < 4] e^z."""
    s = np.sqrt(s2)
    below = np.exp(s2 / 2) * stats.norm.cdf((4 - s2) / s)
    return below + np.exp(4) * stats.norm.sf(4 / s), below


def test_constrain_inverts_unconstrain(float64):
    np.testing.assert_allclose(gabor.constrain(gabor.CELL_THETAS), gabor.CELLS, rtol=1e-12)
    theta = prior_draws(50)
    np.testing.assert_allclose(gabor.unconstrain(gabor.constrain(theta)), theta, atol=1e-9)
    np.testing.assert_array_equal(gabor.NOMINAL, gabor.CELL_THETAS[5])


def test_published_facts_about_the_field(float64):
    for cell in [*gabor.CELLS, *np.asarray(gabor.constrain(prior_draws(3)))]:
        ours = np.asarray(gabor.receptive_field(cell))
        np.testing.assert_allclose(ours, field(cell), rtol=1e-9, atol=1e-12)
    energy = [np.sum(field(c) ** 2) for c in gabor.CELLS]
    gain2 = gabor.CELLS[:, 1] ** 2
    np.testing.assert_allclose(energy[0] / gain2[0], 1, atol=1e-3)
    np.testing.assert_allclose(energy[5] / gain2[5], 0.934, atol=1e-3)
    counts = [300 * np.exp(c[0] + e / 2) for c, e in zip(gabor.CELLS, energy, strict=True)]
    np.testing.assert_allclose([counts[0], counts[5]], [1500.0, 296.0], atol=0.5)


@pytest.mark.parametrize("cell", range(6))
def test_expected_count_and_sta(video, cell):
    n = 300
    theta = jnp.asarray(gabor.CELL_THETAS[cell], jnp.float32)
    x = many(jax.random.split(jax.random.key(cell), n), theta, video)
    count, sta = np.asarray(x["count"], float), np.asarray(x["sta"], float)
    # Given the frozen video: E y = Σ λ, E Σ y frame = Σ λ frame.
    lam = rates(gabor.CELLS[cell], video)
    assert abs(count.mean() - lam.sum()) < 4 * np.sqrt(lam.sum() / n)
    assert 0.7 < count.var() / lam.sum() < 1.35
    frames = np.asarray(video.frames, float)
    sums = (np.where(count > 0, count, 0)[:, None, None] * np.nan_to_num(sta)).mean(0)
    expected = np.tensordot(lam, frames, 1)
    z = (sums - (expected - expected.mean())) / np.sqrt(np.tensordot(lam, frames**2, 1) / n)
    assert np.abs(z).max() < 5.5 and 0.8 < z.std() < 1.2
    # Over white-noise videos, the clip included: E count = T e^bias G, E STA = RF G'/G.
    rf = field(gabor.CELLS[cell])
    gain, slope = clipped_gain(np.sum(rf**2))
    rate = 0.025 * np.exp(gabor.CELLS[cell][0])
    spread = rate * np.sqrt((clipped_gain(4 * np.sum(rf**2))[0] - gain**2) * FRAMES)
    assert abs(lam.sum() - FRAMES * rate * gain) < 4 * spread
    ideal = (rf - rf.mean()) * slope / gain
    seen = expected / lam.sum()
    seen = seen - seen.mean()
    along = np.sum(seen * ideal) / np.sum(ideal**2)
    error = np.sqrt(np.sum(lam**2)) / lam.sum() / np.sqrt(np.sum(ideal**2))
    assert abs(along - 1) < 4 * error + 0.02, along


def test_the_clip_bounds_the_rate(video):
    # log gain 3: without the clip the drive would reach ±60.
    theta = jnp.asarray(gabor.NOMINAL, jnp.float32).at[1].set(3.0)
    cell = np.asarray(gabor.constrain(theta), float)
    trace = gabor.trace(jax.random.key(0), theta, video)
    lam = rates(cell, video)
    assert trace.drive.max() > 20 and lam.max() <= 0.025 * np.exp(cell[0] + 4) * (1 + 1e-9)
    assert abs(float(trace.counts.sum()) - lam.sum()) < 4 * np.sqrt(lam.sum())


def test_features_are_those_of_the_trace_in_numpy(video):
    for theta in prior_draws(4, seed=3):
        trace = gabor.trace(jax.random.key(1), theta, video)
        y, x = np.asarray(trace.counts, float), gabor.features(trace)
        assert np.all(y == np.round(y)) and y.shape == trace.time.shape
        sta = np.tensordot(y, np.asarray(video.frames, float), 1) / y.sum()
        np.testing.assert_allclose(x["sta"], sta - sta.mean(), atol=1e-5)
        assert x["count"] == y.sum()
        streamed = simulate(jax.random.key(1), theta, video)
        np.testing.assert_allclose(streamed["sta"], x["sta"], atol=1e-5)
        assert streamed["count"] == x["count"]


def test_a_silent_run_is_a_rejected_row(video):
    theta = jnp.asarray(gabor.NOMINAL, jnp.float32)
    theta = jnp.stack([theta, theta.at[0].set(-25.0), theta.at[0].set(jnp.inf)])
    x = rows(jax.random.split(jax.random.key(0), 3), theta, video)
    assert all(np.isnan(leaf[1:]).all() and np.isfinite(leaf[0]).all() for leaf in x.values())
    np.testing.assert_array_equal(is_valid(x), [True, False, False])

    def loss(theta):
        x = gabor.simulate(jax.random.key(0), theta, video)
        return jnp.nansum(x["count"]) + jnp.nansum(x["sta"])

    assert np.isfinite(jax.jit(jax.grad(loss))(theta[1])).all()


def test_log_likelihood_equals_scipy(float64):
    video = on_device(gabor.white_noise(seed=2, frames=400))
    for theta in [*gabor.CELL_THETAS, *prior_draws(4, seed=5)]:
        y = gabor.trace(jax.random.key(2), theta, video).counts
        lam = rates(np.asarray(gabor.constrain(theta)), video)
        expected = stats.poisson.logpmf(np.asarray(y), lam).sum()
        ours = gabor.log_likelihood(theta, y, video)
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_gradients_equal_central_differences(float64):
    video = on_device(gabor.white_noise(seed=2, frames=200))
    theta = gabor.CELL_THETAS[3]
    y = gabor.trace(jax.random.key(2), theta, video).counts
    frames = np.asarray(video.frames, float)

    def likelihood(t):
        return gabor.log_likelihood(t, y, video)

    def mean_count(t):
        return rates(np.asarray(gabor.constrain(t)), video).sum()

    def central(f, step=1e-5):
        return [(f(theta + e) - f(theta - e)) / (2 * step) for e in step * np.eye(9)]

    np.testing.assert_allclose(
        jax.grad(likelihood)(theta), central(likelihood), rtol=1e-5, atol=1e-6
    )
    # Of simulate, count and spike-triggered sum: the gradients of their means, at any noise.
    jacobian = jax.jit(jax.jacfwd(lambda t: gabor.simulate(jax.random.key(3), t, video)))(theta)
    np.testing.assert_allclose(jacobian["count"], central(mean_count), rtol=1e-5, atol=1e-6)
    x = gabor.simulate(jax.random.key(3), theta, video)
    sums = jacobian["sta"] * x["count"] + x["sta"][..., None] * jacobian["count"]
    change = central(
        lambda t: np.tensordot(rates(np.asarray(gabor.constrain(t)), video), frames, 1)
    )
    change = np.moveaxis(np.asarray([c - c.mean() for c in change]), 0, -1)
    np.testing.assert_allclose(sums, change, rtol=1e-4, atol=1e-4)


def test_opposite_angles_are_equally_likely(float64):
    """Turned by π an even field is the same; with φ = 0.001 it is odd by 0.002 of its size."""
    video = on_device(gabor.white_noise(seed=3, frames=FRAMES))
    y = gabor.trace(jax.random.key(4), gabor.NOMINAL, video).counts

    def gap(phi):
        one = gabor.CELLS[5].copy()
        one[2] = phi
        other = one.copy()
        other[4] += np.pi
        return float(
            gabor.log_likelihood(gabor.unconstrain(one), y, video)
            - gabor.log_likelihood(gabor.unconstrain(other), y, video)
        )

    assert abs(gap(1e-12)) < 1e-8  # equal to rounding
    assert abs(gap(0.001)) < 0.03
    np.testing.assert_allclose(gap(0.002) / gap(0.001), 2, rtol=0.05)
    one = jnp.asarray(gabor.CELL_THETAS[0])
    turned = gabor.unconstrain(gabor.CELLS[0] + np.pi * np.eye(9)[4])
    assert gabor.log_likelihood(one, y, video) - gabor.log_likelihood(turned, y, video) != 0


def test_rows_do_not_depend_on_the_batch(video):
    theta = jnp.asarray(prior_draws(16, seed=2), jnp.float32)
    keys = jax.random.split(jax.random.key(5), 16)
    whole, part = rows(keys, theta, video), rows(keys[:5], theta[:5], video)
    # Products of matrices differ in rounding, and a count by one where λ meets its uniform.
    assert np.abs(np.asarray(whole["count"][:5] - part["count"])).max() <= 1
    finite = np.isfinite(np.asarray(part["sta"]))
    gap = np.where(finite, np.asarray(whole["sta"][:5] - part["sta"]), 0)
    assert np.median(np.abs(gap).max((1, 2))) < 1e-5


def test_a_batch_is_two_products_of_matrices(video):
    text = rows.lower(jax.random.split(jax.random.key(5), 32), jnp.zeros((32, 9)), video).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) == 2
    assert all("32x" in line and "batching_dims" not in line for line in products)


def test_the_video_is_no_constant_of_the_program(video):
    lowered = simulate.lower(jax.random.key(0), jnp.zeros(9), video)
    assert len(lowered.as_text()) < 1_000_000  # the short video alone is 10 MB


@pytest.mark.slow
def test_the_default_video_is_the_published_size():
    protocol = gabor.DEFAULT
    assert protocol.frames.shape == (12_000, 41, 41) and protocol is gabor.default_protocol()
    x = jax.jit(jax.vmap(gabor.simulate, (0, None)))(
        jax.random.split(jax.random.key(0), 20), jnp.asarray(gabor.CELL_THETAS[0])
    )
    assert abs(float(x["count"].mean()) - 1500) < 60


def test_bad_arguments_are_refused(video):
    key, theta = jax.random.key(0), gabor.NOMINAL
    with pytest.raises(ValueError, match=r"^theta: expected shape \(9,\) .* got \(8,\)"):
        gabor.simulate(key, theta[:8], video)
    with pytest.raises(ValueError, match="^theta: expected log A finite, got inf") as error:
        gabor.simulate(key, np.where(np.arange(9) % 7 == 1, np.inf, theta), video)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="^protocol: expected a gabor.Protocol"):
        gabor.simulate(key, theta, np.zeros((3, 41, 41)))
    with pytest.raises(ValueError, match=r"^counts: expected shape \(1500,\)"):
        gabor.log_likelihood(theta, np.zeros(7), video)
    for wrong in (0.5, -1.0, np.nan, np.inf):
        counts = np.where(np.arange(FRAMES) == 3, wrong, 0.0)
        with pytest.raises(
            ValueError, match=f"^counts: expected whole .* got {wrong:g} in frame 3"
        ):
            gabor.log_likelihood(theta, counts, video)
    with pytest.raises(ValueError, match="^frames: expected finite numbers, got 2"):
        gabor.Protocol(np.where(np.arange(50).reshape(2, 5, 5) < 2, np.nan, 0))
    with pytest.raises(ValueError, match=r"^frames: expected shape \(frames, rows, columns\)"):
        gabor.Protocol(np.zeros((3, 4)))
    for wrong in ("video", [[[1.0, 2.0], [3.0]]]):
        with pytest.raises(ValueError, match="^frames: expected numbers of shape") as error:
            gabor.Protocol(wrong)
        assert "\n" not in str(error.value)
    assert gabor.Protocol([[[0.0, 1.0], [2.0, 3.0]]]).frames.shape == (1, 2, 2)
    for wrong in (dict(frames=-1), dict(frames=0), dict(size=1)):
        with pytest.raises(ValueError, match="^frames, size: expected at least"):
            gabor.white_noise(**wrong)
    with pytest.raises(ValueError, match="^trace: expected a gabor.Trace"):
        gabor.features(np.zeros(5))
    for cells in (gabor.CELLS, gabor.CELLS[0]):
        with pytest.raises(
            ValueError, match=r"^cell: expected phi between 0 and 3.14.* got -2\."
        ) as e:
            gabor.unconstrain(cells - np.pi * np.eye(9)[2])
        assert "\n" not in str(e.value)
