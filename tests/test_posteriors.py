"""Saved posteriors: the same numbers after loading, and one clear line for every damaged file."""

import dataclasses
import json
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxsbi

QUICK = jaxsbi.Training(max_epochs=2, anneal=1)
ESTIMATORS = {
    "mdn": jaxsbi.mdn(components=2, hidden=(8,)),
    "maf": jaxsbi.maf(layers=2, hidden=(8,)),
    "nsf": jaxsbi.nsf(layers=1, hidden=(8,), bins=4),
}
PRIORS = {
    "box": jaxsbi.box([-1.0, -2.0], [1.0, 2.0], names=["a", "b"], units=["mV", ""]),
    "gaussian": jaxsbi.gaussian([0.0, 1.0], covariance=[[1.0, 0.2], [0.2, 0.5]]),
    "mapping": jaxsbi.Prior({"g": dist.LogUniform(1e-3, 1.0), "t": dist.Gamma(2.0, 1.0)}),
}


def fitted(prior, estimator=ESTIMATORS["mdn"], x_o=None, seed=1):
    theta = prior.sample(jax.random.key(0), 200)
    x = {"v": theta + 0.1, "s": theta.sum(axis=1)}
    return jaxsbi.fit(
        jax.random.key(seed), theta, x, prior, x_o=x_o, estimator=estimator, training=QUICK,
        progress=False,
    )  # fmt: skip


X = {"v": jnp.array([0.2, 0.3]), "s": jnp.array(0.4)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "posterior"
    posterior = fitted(PRIORS["box"], x_o=X)
    posterior.save(path)
    return posterior, path


@pytest.mark.parametrize(
    "prior", ["box", "gaussian", pytest.param("mapping", marks=pytest.mark.slow)]
)
def test_a_loaded_posterior_has_the_same_prior_samples_and_densities(prior, tmp_path):
    posterior = fitted(PRIORS[prior], x_o=X)
    posterior.save(tmp_path / "posterior")
    again = jaxsbi.load(tmp_path / "posterior")
    theta = posterior.sample(jax.random.key(2), 50)
    np.testing.assert_array_equal(again.sample(jax.random.key(2), 50), theta)
    np.testing.assert_array_equal(again.log_prob(theta), posterior.log_prob(theta))
    assert (again.prior.names, again.prior.units) == (posterior.prior.names, posterior.prior.units)
    assert again.history.to_dict() == posterior.history.to_dict()


@pytest.mark.parametrize("estimator", [pytest.param("maf", marks=pytest.mark.slow), "nsf"])
def test_flows_load_with_the_same_numbers_too(estimator, tmp_path):
    posterior = fitted(PRIORS["box"], ESTIMATORS[estimator])
    posterior.save(tmp_path / "p")
    again = jaxsbi.load(tmp_path / "p")
    assert again.estimator == posterior.estimator
    theta = posterior.sample(jax.random.key(2), 20, x=X)
    np.testing.assert_array_equal(again.log_prob(theta, x=X), posterior.log_prob(theta, x=X))


def test_a_custom_prior_is_not_stored_but_asked_for(tmp_path):
    class Tilted(dist.Distribution):
        support = dist.constraints.independent(dist.constraints.real, 1)

        def __init__(self):
            super().__init__(event_shape=(2,))

        def sample(self, key, sample_shape=()):
            return jax.random.normal(key, (*sample_shape, 2))

        def log_prob(self, value):
            return -0.5 * jnp.sum(value**2, axis=-1) - jnp.log(2 * jnp.pi)

    prior = jaxsbi.Prior(Tilted())
    posterior = fitted(prior)
    posterior.save(tmp_path / "p")
    with pytest.raises(ValueError, match="prior must be given"):
        jaxsbi.load(tmp_path / "p")
    for other, message in (
        (jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 2.0]), "medians"),
        (jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0], names=["a", "b"]), "its names"),
        ("Tilted", "prior must be a jaxsbi.Prior"),
    ):
        with pytest.raises(ValueError, match=message):
            jaxsbi.load(tmp_path / "p", prior=other)
    with pytest.raises(ValueError, match="estimator must be a value"):
        jaxsbi.load(tmp_path / "p", prior=prior, estimator="maf")
    again = jaxsbi.load(tmp_path / "p", prior=prior)
    np.testing.assert_array_equal(
        again.sample(jax.random.key(0), 5, x=X), posterior.sample(jax.random.key(0), 5, x=X)
    )


class Outcome(NamedTuple):
    v: jax.Array


@pytest.mark.parametrize("x_o", [Outcome(X["v"]), {1: X["v"]}], ids=["tuple", "names"])
def test_a_tree_that_would_come_back_as_another_is_not_saved(saved, x_o, tmp_path):
    with pytest.raises(ValueError, match="x must .* to be saved, got") as error:
        dataclasses.replace(saved[0], x_o=x_o).save(tmp_path / "p")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_posteriors_of_one_kind_can_be_stacked_and_share_a_program(saved):
    one, other = saved[0], fitted(PRIORS["box"], x_o=X, seed=2)
    theta, traces = jnp.array([0.1, -0.3]), []

    @jax.jit
    def density(posterior, theta):
        traces.append(posterior)
        return posterior.log_prob(theta)

    each = jnp.stack([density(one, theta), density(other, theta)])
    assert len(traces) == 1
    assert each[0] != each[1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, other)
    together = jax.vmap(lambda p: p.log_prob(theta))(stacked)
    np.testing.assert_allclose(together, each, rtol=1e-5)


def test_nothing_is_written_over(saved, tmp_path):
    posterior, path = saved
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(ValueError, match=r"path .* exists already"):
        posterior.save(path)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ValueError, match=r"path .* cannot be written"):
        posterior.save(blocked / "posterior")


def damaged(saved, tmp_path, name, change):
    copy = tmp_path / "copy"
    copy.mkdir()
    for p in saved[1].iterdir():
        (copy / p.name).write_bytes(p.read_bytes())
    (copy / name).write_bytes(change((copy / name).read_bytes()))
    return copy


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("arrays.safetensors", lambda b: b[: len(b) // 2], "was cut or altered"),
        ("arrays.safetensors", lambda b: b[:-4] + b"\x00\x01\x02\x03", "was cut or altered"),
        ("arrays.safetensors", lambda b: b"", "was cut or altered"),
        ("content.json", lambda b: b[: len(b) // 2], "was cut or altered"),
        ("content.json", lambda b: b.replace(b"mV", b"kV"), "was altered"),
        ("content.json", lambda b: b"[]", "was cut or altered"),
        ("content.json", lambda b: b"\xff\xfe", "was cut or altered"),
        ("content.json", lambda b: b"", "was cut or altered"),
    ],
)
def test_a_cut_or_altered_file_is_refused_in_one_line(saved, tmp_path, name, change, message):
    with pytest.raises(ValueError, match=message) as error:
        jaxsbi.load(damaged(saved, tmp_path, name, change))
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a posterior folder"):
        jaxsbi.load(tmp_path / "nowhere")


def test_another_format_version_is_refused_by_number(saved, tmp_path):
    from jaxsbi import serialization

    def newer(text):
        header = json.loads(text)
        header["format_version"] = 99
        del header["sha256"]
        header["sha256"] = serialization._digest(header)
        return json.dumps(header).encode()

    with pytest.raises(ValueError, match="format version 99, this release reads 3"):
        jaxsbi.load(damaged(saved, tmp_path, "content.json", newer))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255), in_arrays=st.booleans())
def test_any_changed_byte_is_noticed(saved, tmp_path, position, byte, in_arrays):
    name = "arrays.safetensors" if in_arrays else "content.json"
    original = (saved[1] / name).read_bytes()
    i = position % len(original)
    if original[i] == byte:
        return
    folder = tmp_path / f"{position}-{byte}-{in_arrays}"
    folder.mkdir(exist_ok=True)
    for p in saved[1].iterdir():
        (folder / p.name).write_bytes(p.read_bytes())
    (folder / name).write_bytes(original[:i] + bytes([byte]) + original[i + 1 :])
    try:
        jaxsbi.load(folder)
    except ValueError as error:
        assert re.search("altered|cut|format version|must hold", str(error))
    else:  # white space between JSON tokens carries nothing
        assert not in_arrays
        assert bytes([byte, original[i]]).isspace()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    noise=st.binary(max_size=60), cut=st.integers(1, 10**6), end=st.booleans(),
    name=st.sampled_from(["arrays.safetensors", "content.json"]),
)  # fmt: skip
def test_any_file_that_was_cut_or_filled_with_noise_is_refused(
    saved, tmp_path_factory, noise, cut, end, name
):
    content = (saved[1] / name).read_bytes()
    cut = 1 + cut % len(content)
    changed = content[:-cut] + noise if end else noise + content[cut:]
    if changed.strip() == content.strip():
        return
    folder = damaged(saved, tmp_path_factory.mktemp("fuzz"), name, lambda _: changed)
    with pytest.raises(ValueError, match="altered|cut|format version|must hold|must be") as error:
        jaxsbi.load(folder)
    assert "\n" not in str(error.value)
