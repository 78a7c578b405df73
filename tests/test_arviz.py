"""Posteriors in ArviZ: groups, names, units, and ArviZ's own tables and plots of them."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from constructed import untrained

import jaxsbi
from simulators._parameters import Feature

arviz = pytest.importorskip("arviz")
matplotlib.use("Agg")

PRIOR = jaxsbi.box([-1.0, 0.0], [1.0, 2.0], names=["g_Na", "tau"], units=["mS/cm²", "ms"])
X_O = {"rate": jnp.array([0.2, 0.9]), "depth": jnp.array(0.5)}
FEATURES = [Feature("first", "Hz"), Feature("second", "mV"), Feature("third", "")]


def simulate(key, theta):
    noise = 0.1 * jax.random.normal(key, (3,))
    return {"rate": theta + noise[:2], "depth": theta[0] + noise[2]}


@pytest.fixture(scope="module")
def posterior():
    return untrained(jaxsbi.mdn(components=1, hidden=(8,)), PRIOR, X_O)


@pytest.fixture(scope="module")
def tree(posterior):
    return posterior.to_arviz(100, simulate=simulate, features=FEATURES)


def test_groups_hold_named_variables_with_their_units(tree):
    assert tree["posterior"]["g_Na"].sizes == {"chain": 1, "draw": 100}
    assert tree["posterior"]["g_Na"].attrs["units"] == "mS/cm²"
    assert tree["constant_data"]["tau_high"].item() == 2.0
    assert tree["posterior_predictive"]["second"].sizes == {"chain": 1, "draw": 100}
    assert tree["observed_data"]["second"].attrs["units"] == "mV"
    # a tree's leaves come in the order of their names: depth, then rate
    observed = [float(tree["observed_data"][f.name]) for f in FEATURES]
    np.testing.assert_allclose(observed, [0.5, 0.2, 0.9])
    assert tree["posterior"].attrs["inference_library"] == "jaxsbi"


def test_draws_and_densities_are_the_posteriors(posterior, tree):
    drawn = np.stack([np.asarray(tree["posterior"][name])[0] for name in PRIOR.names], axis=1)
    np.testing.assert_allclose(
        np.asarray(tree["sample_stats"]["lp"])[0], posterior.log_prob(drawn), rtol=1e-4
    )
    again = posterior.to_arviz(100)
    np.testing.assert_array_equal(np.asarray(again["posterior"]["tau"])[0], drawn[:, 1])
    assert np.asarray(again["observed_data"]["rate"]).shape == (2,)


def test_arviz_tabulates_and_plots_them(tree):
    table = arviz.summary(tree, round_to="none")
    assert list(table.index) == ["g_Na", "tau"]
    old = arviz.__version__.startswith("0.")
    plots = ("plot_posterior", "plot_pair") if old else ("plot_dist", "plot_pair")
    for plot in plots:
        getattr(arviz, plot)(tree)
    matplotlib.pyplot.close("all")


def test_features_that_do_not_fit_are_named_in_one_line(posterior):
    with pytest.raises(ValueError, match="features must be 3 with a name") as error:
        posterior.to_arviz(10, features=FEATURES[:2])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="n must be an integer"):
        posterior.to_arviz(0)
