"""What the Hodgkin–Huxley neuron refuses, what it makes NaN, and what it must not refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulators import hodgkin_huxley as hh

LOW, HIGH = (np.array([getattr(p, side) for p in hh.PARAMETERS]) for side in ("low", "high"))
SHORT = hh.step(3.0, t_on=1.0, t_off=5.0, duration=6.0, dt=0.05)
# parameter, value, what is said
IMPOSSIBLE = [
    ("g_Na", -50.0, r"g_Na ≥ 0 and finite \[mS/cm²\], got -50;"),
    ("g_M", -1e-6, "g_M ≥ 0 and finite"),
    ("g_l", np.inf, "g_l ≥ 0 and finite .* got inf"),
    ("tau_max", np.nan, "tau_max ≥ 0 and finite .* got nan"),
    ("-V_T", 300.0, "-V_T between -200 and 200"),
    ("sigma", -0.1, "sigma ≥ 0 and finite"),
    ("-E_l", -np.inf, "-E_l between -200 and 200"),
]


def changed(name, value):
    return np.where([p.name == name for p in hh.PARAMETERS], value, hh.NOMINAL)


@pytest.mark.parametrize("name, value, words", IMPOSSIBLE)
def test_impossible_parameters_are_refused(name, value, words):
    for function in (hh.simulate, hh.trace):
        with pytest.raises(ValueError, match=f"^theta: expected {words}") as error:
            function(jax.random.key(0), changed(name, value), SHORT)
        assert "\n" not in str(error.value)


def test_impossible_rows_of_a_batch_are_nan_and_touch_no_other():
    run = jax.jit(jax.vmap(lambda k, t: (hh.simulate(k, t, SHORT), hh.trace(k, t, SHORT).voltage)))
    keys = jax.random.split(jax.random.key(0), 16)
    good = np.random.default_rng(0).uniform(LOW, HIGH, (16, 8))
    mixed = good.copy()
    bad = np.arange(len(IMPOSSIBLE)) * 2
    mixed[bad] = [changed(name, value) for name, value, _ in IMPOSSIBLE]
    (x, v), (same_x, same_v) = (run(keys, jnp.asarray(t, jnp.float32)) for t in (mixed, good))
    assert np.isnan(x[bad]).all() and np.isnan(v[bad, 1:]).all()
    rest = np.setdiff1d(np.arange(16), bad)
    assert np.isfinite(v[rest]).all()
    np.testing.assert_array_equal(x[rest], same_x[rest])
    np.testing.assert_array_equal(v[rest], same_v[rest])


def test_nothing_in_the_prior_nor_a_limit_is_refused():
    key = jax.random.key(0)
    # The corners; no noise; no conductance but two; the step of the recorded cells.
    limits = [LOW, HIGH, changed("sigma", 0.0), changed("g_M", 0.0), changed("g_l", 0.0)]
    for theta in limits:
        for dt in (0.01, 0.02):
            _, kept, _ = hh._prepare(key, theta, hh.step(3.0, dt=dt))
            np.testing.assert_array_equal(kept, theta.astype(np.float32))


def test_steps_end_at_the_time_constant_of_the_fastest_gate():
    v = jnp.linspace(hh.E_K, hh.E_NA, 4001)
    rates = hh._rates(v, hh._constants(jnp.asarray(hh.NOMINAL, jnp.float32), 0.01))
    longest = {gate: float((1 / rate).max()) for gate, (_, rate) in rates.items()}
    assert min(longest, key=longest.get) == "m"
    np.testing.assert_allclose(longest["m"], hh.FASTEST, atol=5e-4)
    for dt in (2.0, 0.12):
        for run in (hh.simulate, hh.trace):
            with pytest.raises(ValueError, match=f"^protocol.dt: expected at most .* got {dt:g}"):
                run(jax.random.key(0), hh.NOMINAL, hh.step(3.0, dt=dt))


BAD_PROTOCOLS = [
    ("dt", dict(dt=0.0)),
    ("dt", dict(dt=-0.01)),
    ("dt", dict(dt=float("nan"))),
    ("current", dict(current=np.zeros((10, 2)))),
    ("current", dict(current=np.zeros(2))),
    ("current", dict(current=np.full(100, np.nan))),
    ("v0", dict(v0=float("inf"))),
    ("v0", dict(v0=np.zeros(3))),
    ("t_on, t_off", dict(t_on=-1.0)),
    ("t_on, t_off", dict(t_on=0.6, t_off=0.5)),
    ("t_on, t_off", dict(t_off=1.5)),
]


@pytest.mark.parametrize("name, change", BAD_PROTOCOLS)
def test_bad_protocols_are_refused(name, change):
    good = dict(current=np.zeros(101), v0=-70.0, t_on=0.2, t_off=0.8, dt=0.01)
    hh.Protocol(**good)
    with pytest.raises(ValueError, match=f"^{name}: expected .* got") as error:
        hh.Protocol(**(good | change))
    assert "\n" not in str(error.value)


def test_bad_arguments_are_refused():
    key, theta = jax.random.key(0), jnp.asarray(hh.NOMINAL)
    with pytest.raises(ValueError, match="^duration: expected"):
        hh.step(1.0, duration=-5.0)
    with pytest.raises(ValueError, match=r"^theta: expected shape \(8,\) .* got \(7,\)"):
        hh.simulate(key, theta[:7])
    with pytest.raises(ValueError, match=r"^theta: expected shape .* got \(2, 8\); use jax.vmap"):
        hh.trace(key, jnp.stack([theta, theta]))
    with pytest.raises(ValueError, match="^theta: expected"):
        hh.simulate(key, ["a"] * 8)
    with pytest.raises(ValueError, match="^protocol: expected"):
        hh.simulate(key, theta, 3.2)
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), hh.DEFAULT)
    with pytest.raises(ValueError, match=r"^protocol.current: expected shape \(n,\)"):
        hh.simulate(key, theta, stacked)
    with pytest.raises(ValueError, match=r"^trace.voltage: expected shape \(12001,\)"):
        hh.features(hh.Trace(jnp.zeros(5), hh.DEFAULT))
    with pytest.raises(ValueError, match="^trace: expected"):
        hh.features(jnp.zeros(12001))
