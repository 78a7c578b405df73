"""Embeddings: networks against NumPy and SciPy, symmetries, and posteriors with closed forms."""

from __future__ import annotations

import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate

import jaxsbi
from jaxsbi import images
from jaxsbi.embeddings import EMBEDDINGS, cnn, deepset, mlp, rnn
from jaxsbi.networks import Embedding
from jaxsbi.types import Data


def built(embedding: Embedding, values: Data, seed: int = 0) -> Callable[..., np.ndarray]:
    """The module for such x as a function of values, and of what is defined if not all is."""
    module = embedding(nnx.Rngs(seed), (values, jax.tree.map(jnp.ones_like, values)))

    def apply(values: Data, defined: Data = None) -> np.ndarray:
        return np.asarray(module(values, defined or jax.tree.map(jnp.ones_like, values)))

    apply.module = module
    return apply


def silu(h: np.ndarray) -> np.ndarray:
    return h / (1 + np.exp(-h))


def sigmoid(h: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-h))


def arrays(module: nnx.Module) -> dict[str, np.ndarray]:
    flat = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {"/".join(map(str, path)): np.asarray(leaf[...], float) for path, leaf in flat}


def test_mlp_embedding_takes_values_and_flags_of_a_tree() -> None:
    values = {"a": jnp.arange(3.0), "b": jnp.array(2.0)}
    module = mlp(hidden=(8,), features=4)(nnx.Rngs(0), (values, values))
    defined = {"a": jnp.ones(3), "b": jnp.array(1.0)}
    first = module(values, defined)
    assert first.shape == (4,)
    assert jnp.any(module(values, {**defined, "b": jnp.array(0.0)}) != first)


def test_scalars_bypass_an_image() -> None:
    x = {"sta": jax.random.normal(jax.random.key(0), (9, 7)), "count": jnp.array(1.5)}
    embed = built(cnn((3, 4), features=6), x)
    assert embed(x).shape == (6 + 2,)
    np.testing.assert_array_equal(embed(x)[6:], [1.5, 0])
    unknown = embed(x, {"sta": jnp.ones((9, 7)), "count": jnp.array(0.0)})
    np.testing.assert_array_equal(unknown[6:], [1.5, 1])
    np.testing.assert_array_equal(unknown[:6], embed(x)[:6])


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(h, w, i), (k, k, i, o) → σ of (h, w, o)."""
    maps = [
        sum(correlate(image[..., i], k[..., i], mode="same") for i in range(image.shape[2]))
        for k in np.moveaxis(kernel, 3, 0)
    ]
    return silu(np.stack(maps, axis=-1))


def test_convolutions_are_those_of_scipy() -> None:
    image = np.random.default_rng(0).normal(size=(6, 4))
    embed = built(cnn((3,), width=3, features=5), jnp.asarray(image))
    weights = arrays(embed.module.net)
    stacked = np.stack([image, np.zeros((6, 4))], axis=-1)  # nothing is undefined
    h = convolved(stacked, weights["kernels/0"])
    pooled = h.reshape(3, 2, 2, 2, 3).mean(axis=(1, 3))
    expected = silu(pooled.ravel() @ weights["whole/out/kernel"])
    np.testing.assert_allclose(embed(jnp.asarray(image)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_a_convolution_is_that_of_xla(width: int) -> None:
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.normal(size=(6, 9, 2)))
    kernel = jnp.asarray(rng.normal(size=(width, width, 2, 3)))
    expected = jax.lax.conv_general_dilated(
        image[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(images._convolved(image, kernel), expected[0], atol=1e-4)


def test_attention_tells_where_and_what() -> None:
    """Two layers of 3 × 3 pixels' means, the second of 2 × 2 pixels more; edges count as zeros."""
    image = np.random.default_rng(0).normal(size=(11, 12))
    settings = {"width": 3, "features": 5, "shrink": 3, "pool": (1, 2), "heads": 2}
    embed = built(cnn((3, 4), **settings), jnp.asarray(image))
    weights = arrays(embed.module.net)
    padded = np.stack([np.pad(image, ((0, 1), (0, 0))), np.zeros((12, 12))], axis=-1)
    h = convolved(padded.reshape(4, 3, 4, 3, 2).mean(axis=(1, 3)), weights["kernels/0"])
    h = convolved(h, weights["kernels/1"]).reshape(2, 2, 2, 2, 4).mean(axis=(1, 3)).reshape(4, 4)
    places = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    weight = np.exp(h @ weights["whole/score/kernel"])
    attended = (weight / weight.sum(axis=0)).T
    means = [np.append(a @ places, a @ h) for a in attended]
    inputs = np.concatenate([*means, np.log(weight.mean(axis=0))])
    expected = silu(inputs @ weights["whole/out/layers/0/kernel"])
    expected = silu(expected @ weights["whole/out/layers/1/kernel"])
    np.testing.assert_allclose(embed(jnp.asarray(image)), expected, rtol=1e-3, atol=1e-4)


def test_attention_follows_what_moves() -> None:
    """What lies elsewhere, far from the edges, looks the same there and is told to lie there."""
    blob = np.random.default_rng(0).normal(size=(3, 3))
    module = built(cnn((3,), width=3, shrink=2, pool=1, heads=2), jnp.zeros((24, 24))).module.net

    def looked(row: int, column: int) -> np.ndarray:
        image = np.zeros((24, 24, 2))
        image[row : row + 3, column : column + 3, 0] = blob
        pixels = module._pixels(jnp.asarray(image)).reshape(144, 3)
        attended = jax.nn.softmax(1e4 * module.whole.score(pixels), axis=0)
        return np.asarray(attended.T @ jnp.concatenate([module.whole.at[...], pixels], axis=1))

    here, there = looked(6, 8), looked(6 + 4, 8 + 6)
    np.testing.assert_allclose(there[:, 2:], here[:, 2:], atol=1e-5)
    np.testing.assert_allclose(there[:, :2] - here[:, :2], [[4 / 11, 6 / 11]] * 2, atol=1e-5)


@pytest.mark.parametrize("window", [1, 4])
def test_recurrence_is_that_of_numpy(window: int) -> None:
    trace = np.random.default_rng(0).normal(size=10)
    embed = built(rnn(hidden=6, window=window, features=5), jnp.asarray(trace))
    weights = arrays(embed.module.net)
    padded = np.zeros((-(-10 // window) * window, 2))
    padded[:10, 0] = trace
    h, states = np.zeros(6), []
    for x in padded.reshape(-1, 2 * window):
        of_x, of_h = x @ weights["input/kernel"], h @ weights["state"]
        u, r = sigmoid(of_x[:6] + of_h[:6]), sigmoid(of_x[6:12] + of_h[6:12])
        h = u * h + (1 - u) * np.tanh(of_x[12:] + r * of_h[12:])
        states.append(h)
    summary = np.concatenate([h, np.mean(states, axis=0)])
    expected = silu(summary @ weights["out/kernel"])
    np.testing.assert_allclose(embed(jnp.asarray(trace)), expected, rtol=1e-3, atol=1e-4)


def test_the_order_of_a_set_does_not_matter_and_absent_elements_are_absent() -> None:
    rng = np.random.default_rng(0)
    values = {"a": jnp.asarray(rng.normal(size=(6, 2))), "b": jnp.asarray(rng.normal(size=6))}
    defined = {"a": jnp.ones((6, 2)).at[4].set(0), "b": jnp.ones(6).at[4].set(0)}
    embed = built(deepset((7, 8), features=5), values)
    first, order = embed(values, defined), rng.permutation(6)

    def reordered(tree: Data) -> Data:
        return jax.tree.map(lambda leaf: leaf[order], tree)

    np.testing.assert_allclose(embed(reordered(values), reordered(defined)), first, atol=1e-5)
    elsewhere = {"a": values["a"].at[4].set(9.0), "b": values["b"].at[4].set(-9.0)}
    np.testing.assert_allclose(embed(elsewhere, defined), first, atol=1e-6)
    # the elements of all leaves belong together, and one more is one more
    apart = {**values, "b": values["b"][::-1]}
    assert np.abs(embed(apart, defined) - first).max() > 1e-3
    assert np.abs(embed(values) - first).max() > 1e-3


TEMPLATE = jnp.outer(jnp.hanning(8), jnp.hanning(8))
SIMULATORS = {
    "cnn": (cnn((4,), width=3, features=16), TEMPLATE),
    "rnn": (rnn(hidden=16, window=2, features=8), jnp.full(16, 0.5)),
    "deepset": (deepset((16, 16), 8), jnp.full(16, 0.5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATORS)
def test_an_embedded_posterior_is_its_closed_form(name: str) -> None:
    """x = θ T + noise, c = θ' + noise: θ | x ~ N(T·x / (1 + T·T), 1/(1 + T·T)), θ' | c likewise."""
    embedding, template = SIMULATORS[name]

    def simulate(key: jax.Array, theta: jax.Array) -> Data:
        key_array, key_scalar = jax.random.split(key)
        noise = jax.random.normal(key_array, template.shape)
        scalar = theta[1] + jax.random.normal(key_scalar)
        return {"array": theta[0] * template + noise, "scalar": scalar}

    prior = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0])
    posterior = jaxsbi.infer(
        jax.random.key(0), simulate, prior, simulations=4000, progress=False,
        estimator=jaxsbi.mdn(components=1, hidden=(20,), embedding=embedding),
        training=jaxsbi.Training(max_epochs=60, anneal=20),
    )  # fmt: skip
    _, x = jaxsbi.simulate(jax.random.key(7), simulate, prior, 200)
    energy = float(jnp.sum(template**2))
    projected = jnp.sum(x["array"].reshape(200, -1) * template.ravel(), axis=1)
    mean = np.stack([projected / (1 + energy), x["scalar"] / 2], axis=1)
    sd = np.array([(1 + energy) ** -0.5, 0.5**0.5])
    _, means, factors = jax.vmap(posterior.conditional.components)(x)
    assert np.sqrt(np.mean(((means[:, 0] - mean) / sd) ** 2, axis=0)).max() < 0.3
    found = np.sqrt(np.diagonal(np.linalg.inv(factors[:, 0] @ factors[:, 0].mT), 0, 1, 2))
    np.testing.assert_allclose(np.median(found, axis=0), sd, rtol=0.15)


@pytest.mark.slow
def test_attention_finds_a_place_nearly_as_well_as_can_be() -> None:
    """A spot in noise: no unbiased guess of its place errs less than the inverse Fisher
    information says, here a fifteenth of the prior's width; that is the posterior's width too."""
    at = jnp.linspace(-1, 1, 16)

    def spot(theta: jax.Array) -> jax.Array:
        away = (at[:, None] - theta[0]) ** 2 + (at[None, :] - theta[1]) ** 2
        return 4 * jnp.exp(-away / (2 * 0.2**2))

    def simulate(key: jax.Array, theta: jax.Array) -> Data:
        return spot(theta) + jax.random.normal(key, (16, 16))

    prior = jaxsbi.box([-0.8, -0.8], [0.8, 0.8])
    embedding = cnn((8, 8), width=3, features=16, pool=1, heads=4)
    posterior = jaxsbi.infer(
        jax.random.key(0), simulate, prior, simulations=3000, progress=False,
        estimator=jaxsbi.mdn(components=1, hidden=(20,), embedding=embedding),
        training=jaxsbi.Training(weight_decay=0.1, max_epochs=30, anneal=15),
    )  # fmt: skip
    theta, x = jaxsbi.simulate(jax.random.key(7), simulate, prior, 200)
    draws = np.asarray(posterior.sample(jax.random.key(1), 500, x=x))
    slopes = jax.vmap(jax.jacfwd(spot))(theta).reshape(200, -1, 2)
    least = np.sqrt(np.diagonal(np.linalg.inv(slopes.mT @ slopes), 0, 1, 2))
    assert 0.9 < np.sqrt(np.mean(((draws.mean(axis=1) - theta) / least) ** 2)) < 1.6
    assert 0.9 < np.median(draws.std(axis=1) / least) < 1.6


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_settings_survive_json(name: str) -> None:
    embedding = EMBEDDINGS[name](features=7)
    settings = json.loads(json.dumps(embedding.spec()))
    assert settings.pop("name") == name
    assert EMBEDDINGS[name](**settings) == embedding


@pytest.mark.parametrize(
    ("embedding", "x", "message"),
    [
        (cnn(), jnp.zeros(5), r"2 leading axes of one shape for cnn\(\), got none"),
        (rnn(), {"a": jnp.zeros(5), "b": jnp.zeros(6)}, r"for rnn\(\), got \[\(5,\), \(6,\)\]"),
        (deepset(), jnp.zeros(()), r"for deepset\(\), got none; give other numbers as scalars"),
    ],
)
def test_an_x_that_an_embedding_is_not_made_for_is_refused(
    embedding: Embedding, x: Data, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        embedding(nnx.Rngs(0), (x, x))


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (mlp, {"features": 2.5}, "features must be an integer of at least 1, got 2.5"),
        (mlp, {"hidden": (50, 0)}, r"hidden\[1\] must be an integer of at least 1, got 0"),
        (mlp, {"hidden": 50}, "hidden must be a tuple of layer sizes"),
        (cnn, {"channels": 8}, "channels must be a tuple of layer sizes"),
        (cnn, {"pool": (2, 2, 2)}, "pool must be one number, or one for each of the 2 layers"),
        (cnn, {"pool": 0}, r"pool\[0\] must be an integer of at least 1, got 0"),
        (cnn, {"heads": -1}, "heads must be an integer of at least 0, got -1"),
        (rnn, {"window": 0}, "window must be an integer of at least 1"),
        (deepset, {"hidden": ()}, "hidden must be a tuple of layer sizes"),
    ],
)
def test_factories_name_the_bad_argument(factory: Callable, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factory(**arguments)
