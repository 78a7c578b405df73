"""The pyloric circuit's currents one by one: closed forms of simple circuits, sums in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulators import _stg_kinetics as kinetics
from simulators import stg


def test_nernst_potential_of_calcium():
    # At rest [Ca] is 60 000 times higher outside; 58.2 mV a decade at 20 °C, halved for Ca²⁺.
    np.testing.assert_allclose(kinetics.nernst(jnp.float32(3000.0), 283.0), 0, atol=1e-4)
    tenfold = kinetics.nernst(jnp.float32(0.3), 293.15) - kinetics.nernst(jnp.float32(3.0), 293.15)
    np.testing.assert_allclose(tenfold, 58.17 / 2, rtol=1e-4)


def quiet_theta(**changed):
    """No conductance but those named; synapses of e^{−79} mS."""
    theta = np.r_[np.zeros(24), np.full(7, -79.0)]
    for name, value in changed.items():
        theta[[p.name for p in stg.PARAMETERS].index(name.replace("_of_", " "))] = value
    return theta


# name: θ, temperature [K], noise [µA]
CIRCUITS = {
    "leak": (quiet_theta(g_leak_of_LP=0.3), 283.0, 0.0),
    "nothing": (quiet_theta(), 283.0, 0.001),
    "noisy leak": (quiet_theta(g_leak_of_PM=0.5), 283.0, 0.001),
    "nominal": (stg.NOMINAL, 283.0, 0.001),
}


@pytest.fixture(scope="module")
def runs():
    """{name: (V (3, n), energy (3,))} of the CIRCUITS; the energy is that of the last 4 ms.

    n − 1 = 12 160 is a whole number of blocks.
    """

    def protocol(temperature, noise):
        return stg.Protocol(304.025, 300.0, temperature=temperature, noise=noise)

    def one(key, theta, *setting):
        clock = protocol(*setting)
        energy = stg.outcome(key, theta, clock, energy=True).energy
        return stg.trace(key, theta, clock).voltage, energy

    theta, *settings = (
        jnp.asarray(np.stack(a), jnp.float32) for a in zip(*CIRCUITS.values(), strict=True)
    )
    v, energy = jax.jit(jax.vmap(one))(
        jax.random.split(jax.random.key(0), len(theta)), theta, *settings
    )
    v, energy = np.asarray(v, float), np.asarray(energy, float)
    return {name: (v[i], energy[i]) for i, name in enumerate(CIRCUITS)}


def test_a_leak_alone_stays_at_its_reversal_potential(runs):
    np.testing.assert_allclose(runs["leak"][0], -50, atol=1e-4)


def test_without_any_conductance_voltage_is_the_sum_of_noise(runs):
    v = runs["nothing"][0]
    n = v.shape[1] - 1
    steps = np.diff(v, axis=1) / (0.001 * 0.025 / 0.6283e-3)
    assert v[0, 0] == -50 and np.all(np.abs(steps.std(1) - 1) < 4 / np.sqrt(2 * n))
    assert np.all(np.abs(steps.mean(1)) < 4 / np.sqrt(n))
    r = np.corrcoef(steps)[np.triu_indices(3, 1)]
    assert np.all(np.abs(r) < 4 / np.sqrt(n))  # the neurons' noises are independent


def test_a_noisy_leak_is_an_autoregression(runs):
    # V − E shrinks by e^{−dt g/C} in a step, the noise by (1 − e^{−dt g/C})/(dt g/C) of dt I/C.
    x = runs["noisy leak"][0][0] + 50
    shrink = np.exp(-0.025 * 0.5 * 0.628 / 0.6283)
    noise = (x[1:] - shrink * x[:-1]) / (0.001 / (0.5 * 0.628e-3) * (1 - shrink))
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * len(noise))
    assert abs(np.mean(noise[1:] * noise[:-1])) < 4 / np.sqrt(len(noise))


def test_energy_is_the_sum_over_all_samples_of_the_window(runs):
    v, energy = runs["noisy leak"]
    assert v.shape[1] % stg.BLOCK == 1  # so that the last sample begins a block of its own
    power = 0.5 * 0.628e-3 * (v[:, 12_000:] + 50) ** 2
    assert power[0, -1] > 1e-3 * power[0].sum()  # it would be missed
    np.testing.assert_allclose(energy, 0.025 * power.sum(1) * [1, 0, 0], rtol=1e-4, atol=1e-20)


@pytest.mark.parametrize("temperature", [283.0, 291.0])
def test_power_of_every_channel_and_synapse(float64, temperature):
    """Σ g (V − E)² in NumPy, of any θ and any state."""
    random = np.random.default_rng(3)
    theta = np.r_[random.uniform(0, 50, 24), random.uniform(-12, -5, 7)]
    y = {name: random.uniform() for name in kinetics.STATES}
    for me in stg.NEURONS:
        y[f"{me}.v"], y[f"{me}.ca"] = random.uniform(-70, 30), random.uniform(0.1, 20)
    scale = 1.5 ** ((temperature - 283) / 10)
    expected = np.zeros(3)
    for i, me in enumerate(stg.NEURONS):
        gate = {name[3:]: value for name, value in y.items() if name.startswith(me)}
        e_ca = 8314.51 * temperature / (2 * 96485.3415) * np.log(3000 / gate["ca"])
        channels = {
            "Na": (gate["Na_m"] ** 3 * gate["Na_h"], 50.0),
            "CaT": (gate["CaT_m"] ** 3 * gate["CaT_h"], e_ca),
            "CaS": (gate["CaS_m"] ** 3 * gate["CaS_h"], e_ca),
            "A": (gate["A_m"] ** 3 * gate["A_h"], -80.0),
            "KCa": (gate["KCa_m"] ** 4, -80.0),
            "Kd": (gate["Kd_m"] ** 4, -80.0),
            "H": (gate["H_m"], -20.0),
            "leak": (1.0, -50.0),
        }
        for g, (share, e) in zip(theta[8 * i : 8 * i + 8], channels.values(), strict=True):
            expected[i] += scale * 0.628e-3 * g * share * (gate["v"] - e) ** 2
    onto = [("LP", "PM", "glut"), ("LP", "PM", "chol"), ("PY", "PM", "glut"), ("PY", "PM", "chol"),
            ("PM", "LP", "glut"), ("PY", "LP", "glut"), ("LP", "PY", "glut")]  # fmt: skip
    for (post, pre, kind), log_g in zip(onto, theta[24:], strict=True):
        gap = y[f"{post}.v"] - {"glut": -70.0, "chol": -80.0}[kind]
        share = y[f"{pre}.{kind}"]
        expected[stg.NEURONS.index(post)] += scale * np.exp(log_g) * share * gap**2
    c = kinetics.constants(jnp.asarray(theta), jnp.asarray(temperature))
    energy = kinetics.Energy(c, 0, 1)
    y = {name: jnp.asarray(value) for name, value in y.items()}
    spent = energy.close(energy.sample(energy.open(energy.begin(y), y), 1, y, y))
    np.testing.assert_allclose(spent.total(), expected, rtol=1e-10)


def test_temperature_scales_rates_and_conductances(float64):
    y = {name: jnp.asarray(0.3) for name in kinetics.STATES}
    theta = jnp.asarray(stg.NOMINAL)
    cold, warm = (
        kinetics.field(0.0, y, ((kinetics.constants(theta, t),), (0.0,) * 3))
        for t in (jnp.asarray(283.0), jnp.asarray(288.0))
    )
    q10 = {"v": 1.5, "ca": 2.0, "glut": 1.7, "chol": 1.7, "CaS_m": 2.0, "KCa_m": 1.6}
    for name in kinetics.STATES:
        what = name.split(".")[1]
        expected = q10.get(what, 2.4 if what[-1] == "m" else 2.8) ** 0.5
        np.testing.assert_allclose(warm[name][1] / cold[name][1], expected, rtol=1e-12)
        if what not in ("v", "ca"):
            np.testing.assert_array_equal(warm[name][0], cold[name][0])
