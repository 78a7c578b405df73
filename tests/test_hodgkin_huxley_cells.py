"""One density for all recorded cells: each is simulated under the current that it was given."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from experiments import hodgkin_huxley_cells as study
from experiments.__main__ import main
from experiments.hodgkin_huxley_cells import Learned
from experiments.hodgkin_huxley_observations import Observation
from simulators import hodgkin_huxley as hh

SHORT = hh.step(1.7, t_on=1.0, t_off=9.0, duration=10.0, v0=-81.0)
SMOKE = study.PRESETS["smoke"]


def short(amplitude, v0=-81.0, **more):
    times = {"t_on": 1.0, "t_off": 9.0, "duration": 10.0} | more
    return hh.step(amplitude, v0=v0, **times)


def cell(protocol, name="cell_1"):
    return Observation(name, name.replace("_", " "), jnp.arange(7.0), protocol)


def test_a_run_tells_of_every_cell_and_is_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    found = []
    for _ in range(2):
        words = ["hodgkin_huxley_cells", "--preset", "smoke", "--out", str(tmp_path / "out")]
        assert main(words) == 0
        found.append(json.loads((tmp_path / "out" / "results.json").read_text()))
    assert len(found[0]["cells"]) == 6 and found[0]["features"] == 42
    assert all(found[0][name] == found[1][name] for name in ("cells", "coverage"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 5


def test_a_stimulus_is_read_from_a_step_and_put_back_into_it():
    unit = study.unit_step(SHORT)
    np.testing.assert_allclose(study.stimulus(SHORT), [1.7, -81.0], rtol=1e-6)
    np.testing.assert_allclose(study.stimulus(unit), [1.0, -81.0], rtol=1e-6)
    again = study.stimulated(unit, *study.stimulus(SHORT))
    np.testing.assert_allclose(again.current, SHORT.current, rtol=1e-6)
    assert (again.t_on, again.t_off, again.dt) == (SHORT.t_on, SHORT.t_off, SHORT.dt)
    rows = study.beside(jnp.zeros((5, 7)), SHORT)
    np.testing.assert_allclose(rows[3, 7:], study.stimulus(SHORT), rtol=1e-6)


def test_simulations_are_those_of_neurons_under_the_stimuli_that_they_tell():
    unit, theta = study.unit_step(SHORT), jnp.asarray(hh.NOMINAL)
    keys = jax.random.split(jax.random.key(3), 128)
    model = Partial(study.simulate, protocol=unit)
    x = jax.jit(jax.vmap(model, in_axes=(0, None)))(keys, theta)
    key_run = jax.random.split(keys[5])[1]
    expected = hh.simulate(key_run, theta, study.stimulated(unit, *x[5, 7:]))
    np.testing.assert_allclose(x[5, :7], expected, rtol=1e-4)
    low, high = np.array(study.LOW), np.array(study.HIGH)
    share = (np.asarray(x[:, 7:]) - low) / (high - low)
    assert np.all((share >= 0) & (share <= 1))
    assert np.all(share.min(axis=0) < 0.1) and np.all(share.max(axis=0) > 0.9)


class At:
    """A posterior whose draws are all one θ, and whose density at it is e^height."""

    def __init__(self, theta, height=0.0):
        self.theta, self.height, self.seen = jnp.asarray(theta), height, []

    def sample(self, key, n, x):
        self.seen.append(np.asarray(x))
        return jnp.tile(self.theta, (n, 1))

    def log_prob(self, theta, x):
        self.seen.append(np.asarray(x))
        return jnp.full(theta.shape[:2], self.height)


def test_draws_for_a_cell_are_asked_for_and_simulated_under_its_own_current():
    """A stronger current fires more spikes."""
    theta, spikes = hh.NOMINAL, []
    for amplitude in (0.0, 12.0):
        protocol = hh.step(amplitude, t_on=5.0, t_off=45.0, duration=50.0, v0=-70.0)
        posterior = At(theta)
        found = study.explain(jax.random.key(0), posterior, cell(protocol), SMOKE)
        np.testing.assert_allclose(posterior.seen[0], [*range(7), amplitude, -70.0])
        assert found.predicted.shape == (SMOKE.draws, 7) and len(found.voltage) == 5001
        spikes.append(found.predicted[:, 0].mean())
    assert spikes[0] == 0 and spikes[1] > 1


def test_what_is_lost_is_the_log_density_of_the_one_less_that_of_all():
    learned = Learned(every=At(hh.NOMINAL, 1.5), alone=At(hh.NOMINAL, 4.0))
    loss = study.compare(jax.random.key(0), learned, SHORT, SMOKE)
    assert loss.mean == pytest.approx(2.5) and loss.error == pytest.approx(0.0, abs=1e-6)
    assert learned.alone.seen[0].shape[1] == 7
    np.testing.assert_allclose(learned.every.seen[0][:, 7:] - study.stimulus(SHORT), 0, atol=1e-5)


@pytest.mark.parametrize(
    "second, message",
    [
        (short(4.0), r"cell 2: expected I from 0.5 to 2.5 µA/cm² .* came 4 and -81; widen"),
        (short(1.5, v0=-60.0), "cell 2: expected I .* came 1.5 and -60"),
        (short(1.5, t_off=8.0), "cell 2: expected a step at the times of cell 1"),
        (short(1.5, duration=12.0), "cell 2: expected a step at the times of cell 1"),
    ],
)
def test_a_cell_that_no_simulation_is_like_is_refused(monkeypatch, second, message):
    cells = [cell(SHORT), cell(second, "cell_2")]
    monkeypatch.setattr(study, "recorded_cells", lambda data: cells)
    with pytest.raises(ValueError, match=message):
        study.observe(study.Options())
