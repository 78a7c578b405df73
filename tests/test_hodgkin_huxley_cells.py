"""One density for all recorded cells: each is simulated under the current that it was given."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from experiments import hodgkin_huxley_cells as study
from experiments.__main__ import main
from experiments.hodgkin_huxley_observations import Observation
from simulators import hodgkin_huxley as hh

SHORT = hh.step(1.7, t_on=1.0, t_off=9.0, duration=10.0, v0=-81.0)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A smoke run without recordings."""
    folder = tmp_path_factory.mktemp("cells") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAXSBI_DATA", raising=False)
        words = ["hodgkin_huxley_cells", "--preset", "smoke", "--out", str(folder)]
        assert main(words) == 0
    return folder


def test_a_run_tells_of_every_cell(out):
    results = json.loads((out / "results.json").read_text())
    assert len(results["cells"]) == 6 and results["features"] == 42
    held = [sum(each["held"].values()) for each in results["cells"].values()]
    assert sum(held) == results["features_held"]
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 5 == len(list(out.glob("figures/*.png")))


def test_a_stimulus_is_read_from_a_step_and_put_back_into_it():
    unit = study.unit_step(SHORT)
    np.testing.assert_allclose(study.stimulus(SHORT), [1.7, -81.0], rtol=1e-6)
    np.testing.assert_allclose(study.stimulus(unit), [1.0, -81.0], rtol=1e-6)
    again = study.stimulated(unit, *study.stimulus(SHORT))
    np.testing.assert_allclose(again.current, SHORT.current, rtol=1e-6)
    assert (again.t_on, again.t_off, again.dt) == (SHORT.t_on, SHORT.t_off, SHORT.dt)


def test_a_simulation_is_one_of_the_neuron_under_the_stimulus_that_it_tells():
    model = jax.jit(Partial(study.simulate, protocol=study.unit_step(SHORT)))
    theta, key = jnp.asarray(hh.NOMINAL), jax.random.key(3)
    x = model(key, theta)
    assert x.shape == (9,)
    own = study.stimulated(study.unit_step(SHORT), *x[7:])
    expected = hh.simulate(jax.random.split(key)[1], theta, own)
    np.testing.assert_allclose(x[:7], expected, rtol=1e-4)


def test_stimuli_cover_the_ranges_that_they_are_drawn_from():
    model = Partial(study.simulate, protocol=study.unit_step(SHORT))
    theta = jnp.tile(jnp.asarray(hh.NOMINAL), (256, 1))
    drawn = jax.vmap(model)(jax.random.split(jax.random.key(0), 256), theta)[:, 7:]
    low, high = np.array(study.LOW), np.array(study.HIGH)
    share = (np.asarray(drawn) - low) / (high - low)
    assert np.all((share >= 0) & (share <= 1))
    np.testing.assert_allclose(share.mean(axis=0), 0.5, atol=0.08)  # of 256: .018 is one sd


def test_a_cell_beyond_the_stimuli_learned_is_refused(monkeypatch):
    strong = hh.step(4.0, t_on=1.0, t_off=9.0, duration=10.0, v0=-81.0)
    cell = Observation("cell_1", "cell 1", jnp.zeros(7), strong)
    monkeypatch.setattr(study, "recorded_cells", lambda data: [cell])
    with pytest.raises(ValueError, match=r"cell 1: expected I and V₀ within .* came I = 4;"):
        study.observe(study.Options())
