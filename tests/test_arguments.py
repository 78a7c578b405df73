"""What users hand in wrongly is named in one line, with what was expected and what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsbi

QUICK = jaxsbi.Training(max_epochs=2, anneal=1)
SMALL = jaxsbi.mdn(components=1, hidden=(8,))
BOX = jaxsbi.box([-1.0, -1.0], [1.0, 1.0], names=["a", "b"])
X_O = jnp.zeros(2)
KEY = jax.random.key(0)


def shift(key, theta):
    """x ~ N(θ, 0.1² I)."""
    return theta + 0.1 * jax.random.normal(key, theta.shape)


@pytest.fixture(scope="module")
def posterior():
    return infer(KEY, shift, BOX, simulations=200)


def infer(*arguments, **options):
    options = {
        "simulations": 100,
        "estimator": SMALL,
        "training": QUICK,
        "progress": False,
    } | options
    return jaxsbi.infer(*arguments, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: infer(KEY, shift, BOX, jnp.zeros(3)), "x_o must have the shape of one simulated"),
        (lambda: infer(KEY, shift, BOX, jnp.zeros((4, 2))), "x_o must be one observation"),
        (lambda: infer(KEY, shift, BOX, {"a": X_O}), "x_o must be a pytree like"),
        (lambda: infer(KEY, shift, BOX, [0.0, 0.0]), r"x_o must .*; .* np.asarray\(x_o\)"),
        (lambda: infer(KEY, shift, BOX, "ab"), "x_o must be an array of real numbers"),
        (lambda: infer(KEY, shift, BOX, X_O * 1j), "x_o must be an array of real numbers"),
        (lambda: infer(KEY, shift, BOX, X_O.at[0].set(jnp.nan)), "x_o must be defined wherever"),
        (lambda: infer(KEY, shift, BOX, X_O.at[0].set(jnp.inf)), "x_o must be finite"),
        (lambda: infer(KEY, shift, BOX, X_O, simulations=0), "simulations must be an integer"),
        (lambda: infer(KEY, shift, BOX, X_O, simulations=-3), "simulations must be an integer"),
        (lambda: infer(KEY, shift, BOX, X_O, simulations=[10, 20]), "simulations must be an int"),
        (lambda: infer(KEY, shift, BOX, X_O, rounds=0), "rounds must be an integer"),
        (lambda: infer(KEY, shift, "box", X_O), "prior must be a jaxsbi.Prior"),
        (lambda: infer(KEY, shift, BOX, X_O, algorithm="npe"), "algorithm must be a value"),
        (lambda: infer(KEY, shift, BOX, X_O, estimator=jaxsbi.nsf), "estimator must be a value"),
        (lambda: infer(KEY, shift, BOX, X_O, training=5), "training must be a jaxsbi.Training"),
        (lambda: infer(0, shift, BOX, X_O), "key must be a typed key"),
        (lambda: infer(KEY, lambda k, t: t * jnp.nan, BOX), "simulations must leave.*0 valid"),
        (lambda: infer(KEY, lambda k, t: t[:0], BOX), "simulate must return arrays of one number"),
        (lambda: infer(KEY, lambda k, t: 1 / 0, BOX), "simulate.*ZeroDivisionError"),
        (lambda: infer(KEY, shift, BOX, simulations=1), "simulations must leave"),
        (
            lambda: jaxsbi.fit(KEY, jnp.zeros((5, 3)), jnp.zeros((5, 2)), BOX),
            "theta must have shape",
        ),
        (lambda: jaxsbi.fit(KEY, jnp.zeros((0, 2)), jnp.zeros((0, 2)), BOX), "at least one row"),
        (
            lambda: jaxsbi.fit(KEY, jnp.zeros((5, 2)), jnp.zeros((5, 2)) * 1j, BOX),
            "x must be.*real",
        ),
        (
            lambda: jaxsbi.fit(KEY, jnp.zeros((5, 2)), np.array([object()] * 5), BOX),
            "x must be an array of real numbers.*: got dtype object",
        ),
        (
            lambda: jaxsbi.fit(KEY, jnp.zeros((5, 2)), np.zeros(5, "datetime64[s]"), BOX),
            "x must be an array of real numbers.*: got dtype datetime64",
        ),
        (
            lambda: jaxsbi.fit(KEY, jnp.zeros((5, 2)), {"x": object()}, BOX),
            "x must be an array of real numbers",
        ),
        (lambda: jaxsbi.fit(KEY, jnp.zeros((5, 2)), jnp.zeros((4, 2)), BOX), "x must have one row"),
        (
            lambda: jaxsbi.fit(KEY, jnp.full((5, 2), 9.0), jnp.zeros((5, 2)), BOX),
            "theta must lie in",
        ),
        (
            lambda: jaxsbi.fit(KEY, jnp.full((5, 2), jnp.nan), jnp.zeros((5, 2)), BOX),
            "theta must lie",
        ),
        (lambda: jaxsbi.fit(KEY, "theta", jnp.zeros((5, 2)), BOX), "theta must be"),
        (lambda: jaxsbi.Training(batch_size=0), "batch_size must be an integer"),
        (lambda: jaxsbi.Training(validation=1.0), "validation must be a number between 0 and 1"),
        (lambda: jaxsbi.Training(validation="a"), "validation must be a number"),
        (lambda: jaxsbi.Training(learning_rate=-1), "learning_rate must be a number above 0"),
        (lambda: jaxsbi.Training(learning_rate=jnp.inf), "learning_rate must be a number above 0"),
        (lambda: jaxsbi.Training(learning_rate="a"), "learning_rate must be a number above 0"),
        (lambda: jaxsbi.Training(weight_decay="a"), "weight_decay must be a number"),
        (lambda: jaxsbi.Training(optimizer=3), "optimizer must be an optax"),
        (
            lambda: infer(KEY, shift, BOX, training=jaxsbi.Training(learning_rate=1e30)),
            "training diverged",
        ),
        (lambda: infer(KEY, shift, BOX, X_O * jnp.nan, simulations=10**9), "x_o must have a def"),
        (lambda: BOX.log_prob(jnp.zeros((5, 1))), "theta must have shape"),
        (lambda: BOX.to_z(jnp.zeros(3)), "theta must have shape"),
        (lambda: BOX.in_support(1j * jnp.zeros(2)), "theta must be an array of real"),
        (lambda: BOX.to_theta(0.0), "z must have shape"),
        (lambda: BOX.sample(KEY, -1), "n must be an integer"),
        (lambda: BOX.sample(0), "key must be a typed key"),
        (lambda: jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0, 1.0]), "sd must be 2 positive"),
        (lambda: jaxsbi.gaussian([0.0], covariance="a"), "covariance must be a .1, 1. matrix"),
        (lambda: jaxsbi.gaussian([0.0], covariance=[[jnp.nan]]), "covariance must be a finite"),
        (lambda: jaxsbi.host(shift, output_shape=(-2,)), "output_shape must be a tuple of pos"),
        (
            lambda: infer(KEY, jaxsbi.host(lambda r, t: t * 1j, output_shape=(2,)), BOX),
            "simulate must return real numbers",
        ),
        (
            lambda: infer(KEY, jaxsbi.host(lambda r, t: "ab", output_shape=()), BOX),
            "simulate must return real numbers",
        ),
        (lambda: jaxsbi.diagnostics.c2st("a", X_O), "reference must be a finite"),
        (lambda: jaxsbi.diagnostics.c2st(jnp.zeros((3, 2)), X_O), "at least 10 rows"),
        (lambda: jaxsbi.diagnostics.sbc(KEY, 3, X_O, X_O), "posterior must be an amortised"),
        (
            lambda: jaxsbi.diagnostics.coverage(KEY, 3, X_O, X_O, levels=0.5),
            "levels must be a list",
        ),
        (lambda: jaxsbi.load(3), "path must be the name of a folder, got 3"),
        (
            lambda: jaxsbi.load("n" * 300),
            "path n+ must be a posterior folder.*: File name too long",
        ),
        (lambda: jaxsbi.Training(anneal=30, max_epochs=20), "anneal must be at most"),
    ],
)
def test_what_users_get_wrong_is_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_numpy_integers_are_counts(posterior):
    assert posterior.sample(KEY, np.int64(3), x=X_O).shape == (3, 2)
    theta, _ = jaxsbi.simulate(KEY, shift, BOX, np.int64(20), batch=np.int32(16))
    assert theta.shape == (20, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.sample(KEY, 5), "x must be given"),
        (lambda p: p.sample(KEY, 0, x=X_O), "n must be an integer"),
        (lambda p: p.sample(KEY, 5, x=jnp.zeros(3)), "x must have the shape"),
        (lambda p: p.log_prob(jnp.zeros(3), x=X_O), "theta must have shape"),
        (lambda p: p.log_prob(jnp.zeros((2, 3, 2)), x=X_O), "theta must have shape"),
        (lambda p: p.log_prob(jnp.zeros((4, 5, 2)), x=jnp.zeros((3, 2))), r"or \(3, n, d\)"),
        (lambda p: p.log_prob(jnp.zeros((3, 3, 3, 2)), x=jnp.zeros((3, 2))), r"or \(3, n, d\)"),
        (lambda p: p.log_prob(jnp.zeros((0, 2)), x=X_O), "theta must have.*at least one row"),
        (lambda p: p.log_prob("theta", x=X_O), "theta must be an array of real numbers"),
        (lambda p: p.sample(KEY, 5, x=jnp.zeros((0, 2))), "x must hold at least one observation"),
        (lambda p: p.map(x=jnp.zeros((0, 2))), "x must hold at least one observation"),
        (lambda p: p.sample(0, 5, x=X_O), "key must be a typed key"),
        (lambda p: p.log_prob(jnp.zeros(2) * 1j, x=X_O), "theta must be.*real"),
        (lambda p: p.save(None), "path must be the name of a folder, got None"),
        (lambda p: p.save("n" * 300), "path n+ cannot be written: File name too long"),
        (lambda p: p.map(x=jnp.array([0.0, jnp.nan])), "x must be defined wherever"),
    ],
)
def test_what_users_ask_a_posterior_wrongly_is_named_in_one_line(posterior, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(posterior)
    assert "\n" not in str(error.value)
