"""The study of potassium channels: who is told apart, who is reached, what is compared."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import channels as study
from experiments import channels_report
from experiments.__main__ import main
from experiments.channels_presets import CLAMPS, DEVIATIONS
from experiments.channels_reach import compare, reach, resemblance
from experiments.channels_targets import HIGH, LOW, Channels, family_of, published
from experiments.runs import Run
from simulators import channels
from simulators.voltage_clamp import Clamp

SMOKE = study.PRESETS["smoke"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One smoke run, and a second one that takes it up again."""
    out = tmp_path_factory.mktemp("channels") / "out"
    command = ["channels", "--preset", "smoke", "--out", str(out)]
    assert main(command) == 0
    first = json.loads((out / "results.json").read_text())
    assert main(command) == 0
    return out, first, json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def protocol():
    """Three steps of 20 ms, and as features the components of twelve channels' responses."""
    voltage = np.full((3, 403), -80.0)
    voltage[:, 50:300] = np.array([-20.0, 10.0, 50.0])[:, None]
    clamps = (Clamp(voltage, 0.05, "steps"),)
    made = channels.Protocol(clamps, channels.fit_basis(quick(12, seed=9), clamps))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), made)


def quick(n, seed=0):
    """Channels that open within these steps."""
    spread = np.random.default_rng(seed).uniform(0.6, 1.6, (n, 8))
    return channels.NOMINAL * spread * [1, 1, 1, 0.1, 1, 1, 1, 1]


def test_a_run_is_written_and_taken_up_again_with_the_same_numbers(finished):
    out, first, again = finished
    same = ("correlation", "families", "details", "detail_1", "milliseconds_per_channel")
    assert all(first[name] == again[name] for name in same)
    assert len(first["each"]) == SMOKE.channels and len(first["details"]) <= SMOKE.detailed
    name = next(iter(first["details"]))
    modes = {p: row["MAP"] for p, row in first["detail_1"]["posterior"].items()}
    assert modes == first["details"][name]["mode"]  # one channel has one mode
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == len(list(out.glob("figures/*.png")))


def test_currents_are_compared_with_those_that_were_observed(protocol):
    """Pearson's r in float64, the first current with the noise of `key`, which x has."""
    theta, key = quick(2, seed=1), jax.random.key(3)
    both = jnp.asarray(theta.ravel(), float)
    r = jax.jit(resemblance)(key, both, protocol)
    observed = channels.trace(key, theta[0], protocol)
    other = channels.trace(jax.random.fold_in(key, 1), theta[1], protocol)
    flat = [np.concatenate([np.ravel(c) for c in t.currents]) for t in (observed, other)]
    np.testing.assert_allclose(r[0], np.corrcoef(np.asarray(flat, float))[0, 1], atol=2e-6)


def test_a_channel_is_like_itself_but_for_the_noise_and_a_dead_one_like_none(protocol, tmp_path):
    theta = quick(4, seed=2)
    told = Channels(tuple("abcd"), theta, True)
    modes = theta.copy()
    modes[3, 3] = -1.0  # of a negative time constant there is no current
    run = Run(tmp_path / "run", {"seed": 0})
    r, within = compare(jax.random.key(0), run, told, modes, protocol)
    assert np.all(r[:3] > 0.999) and np.all(r[:3] < 1) and r[3] == 0
    assert within.reached.all() and np.all(within.correlation > 1 - 1e-5)


def test_what_the_box_alone_loses_is_named():
    """Channels that are alike if a has one sign, and b lies within 3."""

    def correlate(one, other):
        same = np.sign(one[:, 0]) == np.sign(other[:, 0])
        return np.where(same & (np.abs(one[:, 1] - other[:, 1]) < 3), 1.0, 0.5)

    theta = np.tile((LOW + HIGH) / 2, (4, 1))
    theta[1, 0] = -1.0
    theta[2, [1, 3]] = HIGH[[1, 3]] + [4.0, 50.0]
    theta[3, 3] = HIGH[3] + 50.0
    found = reach(theta, correlate)
    assert found.reached.tolist() == [True, False, False, True]
    assert np.argwhere(found.lost).tolist() == [[1, 0], [2, 1]]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("97874_kdrca1.mod", "delayed rectifier"), ("3648_kdrmt.mod", "delayed rectifier"),
        ("20007_KmM95.mod", "M current"), ("8115_IM.mod", "M current"),
        ("144526_Kv7.mod", "M current"), ("182797_IMminret.mod", "M current"),
        ("180373_SKv3_1.mod", "Kv"), ("97860_kv2_simplehh.mod", "Kv"),
        ("150556_Kirm.mod", "inward rectifier"), ("149000_Kh.mod", "inward rectifier"),
        ("3434_khva.mod", "other"), ("139654_kml.mod", "other"),
    ],
)  # fmt: skip
def test_families_are_told_by_the_names_of_models(name, family):
    assert family_of(name) == family


def test_published_channels_and_the_distinct_ones_within_the_prior(data):
    told = published(data(channels.FITS))
    first, number = told.distinct
    assert (len(told.names), len(first), told.inside.sum()) == (361, 109, 42)
    np.testing.assert_array_equal(told.theta[first][number], told.theta)
    examples = told.examples(4)
    names = {told.names[i].split("_", 1)[1].removesuffix(".mod") for i in examples}
    assert names == {"kv", "kM", "Kdr_ChannelML", "KDRf"} and told.inside[examples].all()
    some = told.some(10)
    assert len(some.names) == 10 and set(some.names) <= set(told.names)


@pytest.mark.slow
def test_the_prior_reaches_80_of_the_109_distinct_channels(data, tmp_path):
    """None is near the line: NumPy in float64 tells the same ones."""
    told = published(data(channels.FITS))
    protocol = study.clamp(data("channels").parent, told, study.PRESETS["laptop"])
    first, _ = told.distinct
    each = Channels(tuple(told.names[i] for i in first), told.theta[first], True)
    run = Run(tmp_path / "run", {"seed": 0})
    _, within = compare(jax.random.key(0), run, each, each.theta, protocol)
    assert within.reached.sum() == 80 and np.abs(within.correlation - 0.99).min() > 1e-4


def test_without_a_folder_channels_are_drawn_from_the_prior():
    told = study.gather(jax.random.key(0), None, SMOKE)
    assert len(told.names) == SMOKE.channels and told.inside.all() and not told.published
    assert set(told.families) == {"draws of the prior"}


def test_modes_are_those_of_the_channels_in_their_order(tmp_path):
    """More of them than go through a program at once, and not a multiple."""

    class Known:
        map = staticmethod(lambda x, key: 2 * x)
        sample = staticmethod(lambda key, n, x: jnp.zeros((len(x), n, 8)))

    x = np.random.default_rng(0).uniform(size=(study.TOGETHER + 3, 8)).astype(np.float32)
    run = Run(tmp_path / "run", {"seed": 0})
    modes, milliseconds = study.find_modes(jax.random.key(1), run, Known(), x, SMOKE)
    np.testing.assert_array_equal(modes, 2 * x)
    assert min(milliseconds.values()) > 0


def test_channels_that_their_own_posterior_excludes_are_named():
    rng = np.random.default_rng(0)
    theta = np.tile(channels.NOMINAL, (2, 1))
    draws = channels.NOMINAL + 0.1 * rng.standard_normal((500, 8))
    theta[1, 2] += 0.5
    details = tuple(
        study.Detail(row, draws, denser, (), (), ()) for row, denser in ((0, 0.4), (1, 0.97))
    )
    told = Channels(("a.mod", "b.mod"), theta, True)
    within = study.Reach(np.array([0.9, 0.9901]), np.zeros((2, 8), bool))
    outcome = SimpleNamespace(details=details, channels=told, reach=within)
    (sentence,) = channels_report._outside(outcome)
    off = (theta[1, 2] - draws[:, 2].mean()) / draws[:, 2].std()
    assert f"parameters of b (c by {off:.2g} sds) lie outside" in sentence
    first, _ = told.distinct
    assert channels_report._borderline(outcome) == (told.names[first[1]][0], 0.9901)


def test_the_density_of_draws_is_compared_with_that_of_the_channels_own_parameters():
    class Normal:
        log_prob = staticmethod(lambda theta, x: -jnp.sum((theta - x[:, None]) ** 2, axis=-1))

    draws = np.random.default_rng(0).standard_normal((2, 4000, 8))
    theta = np.stack([np.zeros(8), np.full(8, np.sqrt(15.507 / 8))])  # χ² of 8: 95 %
    found = study.denser_than(Normal(), theta, draws, np.zeros((2, 8)))
    np.testing.assert_allclose(found, [0.0, 0.95], atol=0.015)


def test_targets_are_of_the_distinct_channels_within_reach():
    theta = np.tile(channels.NOMINAL, (6, 1))
    theta[3:, 0] += [0.1, 0.2, 0.3]
    told = Channels(tuple("abcdef"), theta, True)
    first, _ = told.distinct
    within = study.Reach(np.where(first == 5, 0.5, 1.0), np.zeros((4, 8), bool))
    r = np.array([0.8, 0.1, 0.1, 0.9, 1.0, 0.0])
    median, low = study.targets(told, r, within, 0.89)
    assert (median.found, median.met) == (0.9, True)
    assert low.found == pytest.approx(0.82) and not low.met


def test_the_paper_preset_is_what_it_says_of_itself():
    paper, said = study.PRESETS["paper"], DEVIATIONS["paper"]
    assert f"{paper.simulations:,} simulations" in said and paper.clamps == CLAMPS
    assert f"{paper.estimator.layers} blocks" in said
    assert "–".join(map(str, paper.estimator.hidden)) in said
    assert f"batches of {paper.training.batch_size}" in said
