"""The study of the pyloric circuit: what is observed, shares, disparate circuits, whole runs."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

from experiments import stg as study
from experiments import stg_circuits, stg_rhythms
from experiments.__main__ import main
from experiments.shares import Share
from experiments.stg_circuits import Circuits
from experiments.stg_drawings import smoothed
from experiments.stg_presets import DEVIATIONS, PAPER_ACROSS
from jaxsbi.analysis import Path
from simulators import stg

X_O = np.linspace(1.0, 18.0, 18)


def circuits(theta, features=None, pyloric=None):
    features = np.tile(X_O, (len(theta), 1)) if features is None else features
    return Circuits(theta, features, np.ones(len(theta), bool) if pyloric is None else pyloric)


@pytest.mark.slow
def test_the_nominal_circuit_is_run_until_it_is_pyloric():
    rhythm = stg_rhythms.nominal(jax.random.key(0))
    again = jax.jit(stg.outcome)
    found = (again(jax.random.fold_in(jax.random.key(0), row), rhythm.truth) for row in range(50))
    first = next(f for f in found if f.pyloric and np.all(np.isfinite(f.features)))
    np.testing.assert_array_equal(rhythm.x_o, first.features)


def test_the_recorded_rhythm_obeys_the_definitions_of_its_features(data):
    """Duty cycles, gaps and phases are durations, gaps and delays over the period."""
    path = data("stg/experimental_features.csv")
    rhythm = stg_rhythms.observe(jax.random.key(0), path.parents[1])
    x = np.asarray(rhythm.x_o, float)
    assert rhythm.name == "recorded"
    np.testing.assert_allclose(x[1:4] / x[0], x[8:11], rtol=1e-5)
    np.testing.assert_allclose(x[4:8] / x[0], x[[11, 12, 13, 14]], rtol=1e-5)
    assert x[15:].tolist() == [2.5] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "expected 18 lines"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "in the order of stg.FEATURES"),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",nan"], "all finite"),
        (lambda lines: [*lines[:-1], "plateau_PY_ms,much"], "much"),
    ],
)
def test_a_file_of_other_features_is_refused_in_one_line(data, tmp_path, capsys, change, said):
    lines = data("stg/experimental_features.csv").read_text().splitlines()
    (tmp_path / "stg").mkdir()
    (tmp_path / "stg" / "experimental_features.csv").write_text("\n".join(change(lines)))
    assert main(["stg", "--preset", "smoke", "--data", str(tmp_path), "--no-cache"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --data ") and said in told and told.count("\n") == 1


def test_an_interval_of_a_share_ends_where_the_score_test_rejects():
    """Wilson: |p̂ − p| = z √(p (1 − p)/n) at both ends."""
    z = norm.ppf(0.975)
    for hits, runs in ((0, 500), (4, 500), (170, 500), (500, 500)):
        share = Share(hits, runs)
        for end in share.interval:
            assert abs(share.value - end) == pytest.approx(
                z * np.sqrt(end * (1 - end) / runs), abs=1e-9
            )
    assert Share.of(np.array([True, False, True, True])) == (3, 4)


def test_what_differs_is_counted_by_neuron_and_by_synapse():
    first = np.concatenate([np.ones(24), np.zeros(7)])
    second = first.copy()
    second[[0, 1, 9]] = 2.01, 0.49, 2.0  # PM, PM, and LP by no more than a factor 2
    second[24:27] = 2.01, -2.01, 2.0
    by_neuron, synapses = stg_circuits.differing(first, second)
    assert by_neuron.tolist() == [2, 0, 0] and synapses == 2
    assert stg_circuits.differing(second, first)[0].tolist() == [2, 0, 0]


def test_the_pair_is_the_nearest_of_those_that_are_pyloric_and_disparate():
    theta = np.tile(np.concatenate([np.ones(24), np.zeros(7)]), (6, 1))
    theta[1:5, :24:2] = 3.0  # 12 membrane conductances, 4 in each neuron
    theta[1:5, 24:29] = 3.0
    features = np.tile(X_O, (6, 1))
    features[1, 0] += 0.5  # far from x_o
    features[3, 0] += 0.2
    features[2, 3] = np.nan
    features[5, 0] += 0.1  # near, but as the first circuit
    pyloric = np.array([True, True, True, True, False, True])
    pair = stg_circuits.find_pair(circuits(theta, features, pyloric), X_O, np.full(18, 2.0))
    assert (pair.first, pair.second) == (0, 3)
    assert (pair.membranes, pair.synapses, pair.disparate) == (12, 5, True)
    assert pair.apart == pytest.approx(0.1)


def test_without_disparate_circuits_the_two_that_differ_most_are_told_as_such():
    theta = np.tile(np.concatenate([np.ones(24), np.zeros(7)]), (3, 1))
    theta[2, :9] = 3.0  # 9 membrane conductances, but 1 of LP, none of PY
    pair = stg_circuits.find_pair(circuits(theta), X_O, np.ones(18))
    assert (pair.first, pair.second, pair.membranes, pair.disparate) == (0, 2, 9, False)
    none = stg_circuits.find_pair(circuits(theta, pyloric=np.zeros(3, bool)), X_O, np.ones(18))
    assert not none.disparate


def test_a_feature_is_within_scatter_by_the_median_of_pyloric_circuits_alone():
    features = np.tile(X_O, (5, 1))
    features[:, 1] += np.array([-2, -2, 0.9, 2, 2]) * stg_rhythms.SCATTER[1]
    features[:, 2] += np.array([0, 0, 1.1, 2, 2]) * stg_rhythms.SCATTER[2]
    features[4] = np.nan
    pyloric = np.array([True, True, True, True, False])
    near = study.within(circuits(np.zeros((5, 31)), features, pyloric), X_O)
    assert near.tolist() == [True] * 15
    some = study.within(circuits(np.zeros((5, 31)), features, np.arange(5) > 1), X_O)
    assert not some[1] and not some[2] and some[3:].all()


def test_a_draw_is_within_scatter_by_each_feature_and_an_undefined_one_is_not():
    x = np.tile(X_O, (3, 1))
    x[0, :15] += 0.99 * stg_rhythms.SCATTER
    x[1, 4] -= 1.01 * stg_rhythms.SCATTER[4]
    x[2, 7] = np.nan
    x[:, 15:] = 1e6  # plateaus are not seen by electrodes
    near = stg_rhythms.within_scatter(x, X_O)
    assert near.all(axis=1).tolist() == [True, False, False]
    assert np.argwhere(~near).tolist() == [[1, 4], [2, 7]]


@pytest.mark.parametrize("step", [PAPER_ACROSS.step, 0.05])
def test_runs_as_far_across_as_the_papers_are_those_up_to_a_27th_of_the_path(step):
    """A path 5.4 long, of which a 27th is 0.2: 20 steps of 0.01, 4 of 0.05."""
    path = straight(np.linspace(0, 5.4, 80))
    ended = step == PAPER_ACROSS.step
    across = straight(step * np.arange(21 if ended else 60))
    pyloric = np.arange(len(across.u))[:, None] * step < 0.2 + 1e-6
    runs = Circuits(across.theta, None, np.repeat(pyloric, 3, axis=1))
    near = stg_circuits.Ways(None, path, across, None, runs).near
    assert near.all() and near.shape == (round(0.2 / step) + 1, 3)


def straight(at):
    u = np.zeros((len(at), 31))
    u[:, 2] = at
    return Path(tuple(p.name for p in stg.PARAMETERS), u, u, np.zeros(len(at)))


def test_neighbours_are_averaged_as_far_as_there_are_any():
    shares = np.array([0.0, 1.0, 0.5, 0.0, 1.0, 1.0])
    found = smoothed(shares, 3)
    expected = [0.5, 0.5, 0.5, 0.5, 2 / 3, 1.0]
    np.testing.assert_allclose(found, expected)


def test_the_paper_preset_is_what_it_says_of_itself():
    paper, said = study.PRESETS["paper"], DEVIATIONS["paper"]
    assert f"{paper.simulations[0]:,} simulations of the prior in one round" in said
    assert paper.rounds == 1 and paper.estimator.layers == 5 and "five maps" in said
    assert "–".join(map(str, paper.estimator.hidden)) in said
    assert paper.across == (0.01, 1 / 27) and "path across the other one has the paper's" in said
    for preset in ("laptop", "overnight", "gpu"):
        across = study.PRESETS[preset].across
        assert (
            f"{across.share:g}" in DEVIATIONS[preset] and f"{across.step:g}" in DEVIATIONS[preset]
        )
