"""Rounds: what they compile, keep and give up; learned failures; a round as one program."""

import os
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsbi
from jaxsbi.algorithms.proposals import MixtureProposal, PriorProposal, pool
from jaxsbi.collecting import Collected, balanced, new_rows
from jaxsbi.dataset import append, empty, moments
from jaxsbi.descent import Task, advance
from jaxsbi.gaussians import Gaussians
from jaxsbi.progress import quiet
from jaxsbi.training import Course, schedule_of, start
from jaxsbi.validity import learn_validity

BOX = jaxsbi.box([-1.0, -1.0], [1.0, 1.0], names=["a", "b"])
QUICK = jaxsbi.Training(max_epochs=3, anneal=1)
MIXTURE = jaxsbi.mdn(components=2, hidden=(8,))
FLOW = jaxsbi.maf(layers=1, hidden=(8,))
X_O = jnp.array([0.5, 0.2])


def shift(key, theta):
    """x ~ N(θ, 0.1² I)."""
    return theta + 0.1 * jax.random.normal(key, theta.shape)


def infer(algorithm, simulate=shift, **options):
    options = {
        "x_o": X_O, "rounds": 2, "simulations": 300, "estimator": MIXTURE, "training": QUICK,
        "progress": False,
    } | options  # fmt: skip
    return jaxsbi.infer(jax.random.key(0), simulate, BOX, algorithm=algorithm, **options)


@pytest.mark.parametrize(
    ("algorithm", "estimator"),
    [
        (jaxsbi.apt(), FLOW),
        pytest.param(jaxsbi.nle(), FLOW, marks=pytest.mark.slow),
        pytest.param(jaxsbi.nre(), FLOW, marks=pytest.mark.slow),
        *(
            pytest.param(algorithm, MIXTURE, marks=pytest.mark.slow)
            for algorithm in (jaxsbi.apt(), jaxsbi.snpe_a(), jaxsbi.snpe_b(), jaxsbi.tsnpe())
        ),
    ],
    ids=["apt", "nle", "nre", "apt-mixture", "snpe_a", "snpe_b", "tsnpe"],
)
def test_two_compilations_of_the_training_serve_all_rounds(algorithm, estimator):
    before = advance._cache_size()
    rounds = infer(algorithm, rounds=4, estimator=estimator).history.rounds
    assert advance._cache_size() - before <= 2
    assert rounds[1].compilations > 0
    assert [r.compilations for r in rounds[2:]] == [0, 0]
    assert [r.drawn for r in rounds] == [300] * 4


def test_a_round_is_one_program():
    """simulate → train → propose → draw under one jit, against the same steps one by one."""
    algorithm, n, dim = jaxsbi.apt(atoms=4), 200, 2
    theta, x = jaxsbi.simulate(jax.random.key(0), shift, BOX, n)
    scale = moments(x, np.ones(n, bool))
    conditional = algorithm.init(jax.random.key(1), FLOW, BOX, scale)
    graphdef, params, constants = nnx.split(conditional, nnx.Param, ...)
    first = new_rows(BOX, theta, x, jnp.asarray(0))
    buffer = empty(2 * n, dim, jax.ShapeDtypeStruct((dim,), x.dtype))
    buffer = append(buffer, first, QUICK.validation)

    def one_round(key, proposal, memory, params, constants, buffer, schedule):
        key_z, key_x, key_train, key_propose = jax.random.split(key, 4)
        theta = BOX.to_theta(pool(key_z, proposal, n).z)
        x = jax.vmap(shift)(jax.random.split(key_x, n), theta)
        buffer = append(buffer, new_rows(BOX, theta, x, jnp.asarray(1)), QUICK.validation)
        weights = algorithm.weights(memory, BOX, buffer)
        task = Task(
            graphdef, constants, algorithm.loss(memory, BOX), QUICK.optimizer, 100, schedule,
            buffer, weights,
        )  # fmt: skip
        state = advance(key_train, task, start(params, QUICK), jnp.asarray(3))
        conditional = nnx.merge(graphdef, state.best, constants)
        proposed = algorithm.propose(key_propose, conditional, memory, BOX, X_O)
        return state, buffer, proposed

    memory = algorithm.memory(conditional, BOX, X_O, 2)
    arguments = (jax.random.key(2), PriorProposal(BOX), memory, params, constants, buffer)
    whole = schedule_of(QUICK)
    state, rows, (_, proposal) = jax.jit(one_round)(*arguments, whole)
    again, *_ = one_round(*arguments, whole)
    brief, *_ = one_round(*arguments, schedule_of(QUICK, Course(epoch_rows=100)))
    assert [s.epoch for s in (state, brief)] == [3, 3]
    # 360 rows in batches of 100, seven times over to make twenty steps
    assert [s.step for s in (state, brief)] == [3 * 7 * 3, 3 * 7 * 1]
    # better than the prior, a guess among four atoms; the rows are its draws, and weigh 1
    log_prior = jax.scipy.stats.norm.logpdf(rows.rows.z[rows.validation]).sum(axis=1)
    assert state.best_loss < np.log(4) - np.mean(log_prior) - 0.01
    np.testing.assert_allclose(state.losses, again.losses, rtol=1e-3)
    near = pool(jax.random.key(3), proposal, 500).z
    assert np.all(np.isfinite(near))


def test_weights_of_the_balance_heuristic_average_to_one():
    """E over all rounds' draws of p/p̃ = 1, and p/p̃ ≤ n over the prior's rows."""
    posterior = infer(jaxsbi.snpe_b(), rounds=3, simulations=[500, 2000, 2000])
    assert posterior.history[2].effective < posterior.history[2].used == 4500
    base = jax.random.normal(jax.random.key(0), (6000, 2))
    mean, factor = jnp.array([[1.0, -1.0]]), 2.0 * jnp.eye(2)[None]
    proposal = MixtureProposal(BOX, Gaussians(jnp.zeros(1), mean, factor))
    z = jnp.concatenate([base[:2000], mean + base[2000:] / 2])
    buffer = empty(6000, 2, jax.ShapeDtypeStruct((2,), z.dtype))
    buffer = append(buffer, new_rows(BOX, BOX.to_theta(z), z, jnp.asarray(0)), 0.1)
    collected = Collected(buffer, ((proposal, jnp.ones(())),), (2000, 4000))
    weights = jnp.exp(-balanced(collected).buffer.rows.log_proposal)
    assert weights.max() <= 3.0 + 1e-4
    np.testing.assert_allclose(weights.mean(), 1.0, atol=0.03)
    np.testing.assert_allclose(weights @ z / 6000, np.zeros(2), atol=0.06)


def failing_left(key, theta):
    """A simulation with a < 0 fails."""
    return jnp.where(theta[0] < 0, jnp.nan, shift(key, theta))


def test_later_rounds_avoid_failures_and_say_what_that_costs():
    first, second, third = infer(
        jaxsbi.npe(), failing_left, rounds=3, simulations=2000, avoid_failures=True
    ).history.rounds
    assert 0.4 < first.valid / first.drawn < 0.6
    assert third.valid / third.drawn > 0.95
    assert 0.4 < second.acceptance < 0.65
    assert 0 <= first.lost <= 0.01
    assert third.used == first.valid + second.valid + third.valid


def test_the_model_of_failures_is_the_probability_of_success():
    """p(valid | z) = Φ(z_0), learned from 20 000 rows to within .05 wherever there are rows."""
    z = jax.random.normal(jax.random.key(0), (20_000, 2))
    valid = jax.random.uniform(jax.random.key(1), (20_000,)) < jax.scipy.stats.norm.cdf(z[:, 0])
    x = jnp.where(valid[:, None], z, jnp.nan)
    buffer = empty(20_000, 2, jax.ShapeDtypeStruct((2,), z.dtype))
    buffer = append(buffer, new_rows(BOX, BOX.to_theta(z), x, jnp.asarray(0)), 0.1)
    model, lost, _ = learn_validity(jax.random.key(2), None, buffer, quiet())
    test = jnp.stack([jnp.linspace(-2, 2, 41), jnp.zeros(41)], axis=1)
    learned = jnp.exp(jax.vmap(model.log_prob)(test))
    np.testing.assert_allclose(learned, jax.scipy.stats.norm.cdf(test[:, 0]), atol=0.05)
    held_out = np.asarray(buffer.validation & valid)
    kept = np.asarray(jax.vmap(model.holds)(z))[held_out].mean()
    assert kept >= 0.99
    np.testing.assert_allclose(lost, 1 - kept, atol=1e-6)


def test_a_round_without_a_valid_row_ends_with_the_posterior_before_it():
    runs = []

    def dead(rng, theta):
        runs.append(theta)
        return np.full(2, np.nan) if len(runs) > 600 else theta + 0.1 * rng.normal(size=2)

    with pytest.warns(UserWarning, match="round 3 was given up: all of its 300 simulations"):
        posterior = infer(jaxsbi.apt(), jaxsbi.host(dead, output_shape=(2,)), rounds=4)
    assert len(posterior.history) == 2
    assert np.all(np.isfinite(posterior.log_prob(posterior.sample(jax.random.key(1), 100))))


def test_a_round_that_leaves_no_row_to_validate_on_ends_with_the_posterior_before_it(monkeypatch):
    """The simulations of the rounds before are paid for: an error would lose what they taught."""
    method = type(jaxsbi.tsnpe())
    weights = method.weights

    def of_training_rows_alone(self, memory, prior, simulations):
        return weights(self, memory, prior, simulations) * ~simulations.validation

    monkeypatch.setattr(method, "weights", of_training_rows_alone)
    with pytest.warns(UserWarning, match="round 2 was given up: simulations must leave"):
        posterior = infer(jaxsbi.tsnpe(), estimator=FLOW, rounds=3)
    assert len(posterior.history) == 1 and posterior.amortised


def press_at(monkeypatch, place, number):
    """Ctrl-C when the function of that name is called for the so manieth time."""
    called = []

    def press(*_):
        called.append(None)
        if len(called) == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(place, press)


@pytest.mark.parametrize("stage", ["simulate", "train"])
def test_ctrl_c_in_a_later_round_gives_the_posterior_of_the_round_before(monkeypatch, stage):
    one = infer(jaxsbi.apt(), rounds=1)
    if stage == "train":
        press_at(monkeypatch, "jaxsbi.training.report", len(one.history[0].validation_losses) + 1)
        found = infer(jaxsbi.apt(), rounds=3)
    else:
        drawn = []

        def simulate(rng, theta):
            drawn.append(theta)
            if len(drawn) == 450:
                raise KeyboardInterrupt
            return theta + 0.1 * rng.normal(size=2)

        found = infer(jaxsbi.apt(), jaxsbi.host(simulate, output_shape=(2,)), rounds=3)
    assert len(found.history) == 1 and not found.history[0].interrupted
    if stage == "train":
        jax.tree.map(np.testing.assert_array_equal, found.params, one.params)


def test_ctrl_c_while_failures_are_learned_ends_the_rounds(monkeypatch):
    """The density of the first round was finished; no second round begins."""

    def failing(key, theta):
        return jnp.where(theta[0] > 0.8, jnp.nan, shift(key, theta))

    options = {"avoid_failures": True, "rounds": 2}
    slices = len(
        infer(jaxsbi.apt(), failing, **options | {"rounds": 1}).history[0].validation_losses
    )
    press_at(monkeypatch, "jaxsbi.training.report", slices + 1)
    posterior = infer(jaxsbi.apt(), failing, **options)
    assert [r.interrupted for r in posterior.history] == [True]


@pytest.mark.parametrize("warm_start", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_later_rounds_begin_with_fresh_weights_or_with_the_last_ones(warm_start):
    still = jaxsbi.Training(
        optimizer=jaxsbi.Training(learning_rate=1e-9).optimizer, max_epochs=1, anneal=1
    )
    one, two = (
        infer(jaxsbi.apt(), rounds=rounds, training=still, warm_start=warm_start).params
        for rounds in (1, 2)
    )
    same = jax.tree.map(partial(np.allclose, atol=1e-6), one, two)
    assert all(jax.tree.leaves(same)) == warm_start


@pytest.fixture(scope="module")
def amortised():
    return infer(jaxsbi.npe(), rounds=1, x_o=None, estimator=FLOW, simulations=1000)


def test_a_posterior_is_refined_without_its_first_rounds_rows(amortised):
    """Its rounds are counted, its scale of x is kept, and it is denser at x_o's parameters."""
    refined = infer(jaxsbi.tsnpe(), start=amortised, estimator=None, simulations=[400, 300],
                    training=jaxsbi.Training(max_epochs=30))  # fmt: skip
    assert [r.drawn for r in refined.history.rounds] == [1000, 400, 300]
    assert not refined.amortised and amortised.amortised
    jax.tree.map(np.testing.assert_array_equal, refined.moments, amortised.moments)
    assert refined.log_prob(X_O) > amortised.log_prob(X_O, x=X_O)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"algorithm": jaxsbi.snpe_b()},
            "algorithm must be jaxsbi.nle.., nre.. or tsnpe.. to refine",
        ),
        ({"algorithm": None}, "algorithm must be .* to refine a posterior, got npe"),
        ({"start": "posterior"}, "start must be an amortised posterior, .* got 'posterior'"),
        ({"estimator": MIXTURE}, "estimator must be start's own"),
        ({"x_o": None}, "x_o must be given"),
        ({"simulate": lambda key, theta: shift(key, theta)[:1]}, "x of shape .2,., got .1,."),
        ({"prior": jaxsbi.box([-1.0, -1.0], [1.0, 2.0], names=["a", "b"])}, "prior must be the"),
    ],
)
def test_what_cannot_be_refined_is_named(amortised, options, message):
    options = {
        "simulate": shift, "prior": BOX, "x_o": X_O, "algorithm": jaxsbi.tsnpe(),
        "start": amortised, "progress": False,
    } | options  # fmt: skip
    with pytest.raises(ValueError, match=message) as error:
        jaxsbi.infer(jax.random.key(0), **options)
    assert "\n" not in str(error.value)


def test_one_round_without_x_o_serves_all_observations():
    posterior = infer(jaxsbi.apt(), rounds=1, x_o=None)
    assert posterior.amortised
    assert posterior.sample(jax.random.key(0), 5, x=jnp.zeros((3, 2))).shape == (3, 5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxsbi.apt(atoms=1), "atoms must be an integer of at least 2"),
        (lambda: infer(jaxsbi.apt(atoms=500)), "atoms must be at most the training's batch_size"),
        (lambda: jaxsbi.tsnpe(epsilon=0.0), "epsilon must be a number between 0 and 1"),
        (lambda: jaxsbi.tsnpe(epsilon="0.1"), "epsilon must be a number between 0 and 1"),
        (lambda: jaxsbi.snpe_b(defensive=1.0), "defensive must be a number between 0 and 1"),
        (lambda: infer(jaxsbi.snpe_a(), estimator=FLOW), "estimator must be a mixture of Gau"),
        (lambda: infer(jaxsbi.apt(), x_o=None), "x_o must be given: apt refines"),
        (lambda: infer(jaxsbi.apt(), rounds=0), "rounds must be an integer"),
        (
            lambda: infer(jaxsbi.apt()).sample(jax.random.key(0), 5, x=jnp.zeros(2)),
            "x cannot be given: this posterior was refined for its x_o alone",
        ),
    ],
)  # fmt: skip
def test_what_users_get_wrong_is_named_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
