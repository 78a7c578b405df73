"""What the report says of a posterior: nothing that the simulations at hand do not bear out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import hodgkin_huxley as study
from experiments import hodgkin_huxley_reach as reach
from experiments import hodgkin_huxley_results
from experiments import hodgkin_huxley_trust as trust
from experiments.predictions import Refinement
from jaxsbi.diagnostics import Calibration
from jaxsbi.ledger import Ledger, Round
from simulators import hodgkin_huxley as hh

N = 1000
NAMES = tuple(p.name for p in hh.PARAMETERS)
CENTRE = np.array([12.0, -86.6, 0.06, -59.7, 73.6, 4.5, 40.0])
SPREAD = np.array([2.0, 0.5, 0.01, 1.0, 10.0, 0.5, 5.0])
GRID = (np.arange(N) + 0.5) / N


def features(rng, n=N, width=1.0):
    x = CENTRE + width * SPREAD * rng.uniform(-1, 1, (n, 7))
    x[:, 0] = np.round(x[:, 0])
    return x


def calibration(credibility=GRID, ranks=None):
    ranks = np.tile((500 * GRID).astype(int)[:, None], (1, 8)) if ranks is None else ranks
    p_values = np.where((ranks == ranks[:, :1]).all(axis=0), 0.5, 1e-9)
    return Calibration(NAMES, 499, ranks, p_values, np.asarray(credibility))


def outcome(x_o=CENTRE, losses=(3.0, 2.0, 2.0), interrupted=False, **changes):
    """A sound posterior of a neuron in the middle of everything, but for the changes."""
    rng = np.random.default_rng(0)
    budget = study.PRESETS["smoke"].training.max_epochs
    losses = np.concatenate([losses, np.full(max(0, budget - len(losses)), min(losses))])
    losses = tuple(losses[: budget - 1] if interrupted else losses)
    last = Round(
        drawn=75_000, valid=75_000, used=75_000, simulate_seconds=1.0, compile_seconds=1.0,
        train_seconds=1.0, compilations=1, best_epoch=int(np.argmin(losses)),
        best_loss=float(min(losses)), interrupted=interrupted, training_losses=losses,
        validation_losses=losses,
    )  # fmt: skip
    whole = {
        "observation": study.Observation("a", "a", np.asarray(x_o, float), hh.DEFAULT),
        "config": study.PRESETS["smoke"],
        "learned": study.Learned(*2 * [SimpleNamespace(history=Ledger("npe", (last,)))]),
        "samples": rng.uniform(size=(N, 8)),
        "predicted": features(rng),
        "best": np.full(8, 0.5),
        "best_predicted": np.tile(CENTRE, (64, 1)),
        "at_bound": (),
        "from_prior": (rng.uniform(size=(N, 8)), features(rng, width=20.0)),
        "calibration": calibration(),
    }
    return study.Outcome(**(whole | changes))


def said(*args, **changes):
    return " ".join(trust.sentences(outcome(*args, **changes)))


def test_a_sound_posterior_is_reported_without_a_warning():
    text = said()
    for word in ("budget", "interrupted", "too wide", "too narrow", "do not", "Do not", "little"):
        assert word not in text
    assert "hold every observed feature" in text and "20 times narrower" in text


def test_calibration_is_said_to_be_that_of_the_first_round_where_there_were_more():
    assert "Calibration, over 1000 parameter sets" in said()
    text = said(refinement=Refinement(0.1, 0.016))
    assert "Calibration of the density before it was refined for this cell, over 1000" in text


def test_rounds_that_led_away_are_told_and_those_that_did_not():
    one_round = replace(study.PRESETS["smoke"], refinement=())
    assert "The rounds for this cell" not in said(config=one_round)
    assert "The rounds for this cell came to nothing" in said()
    text = said(refinement=Refinement(0.1, 0.016))
    assert "better predictions" in text and "fell from 0.1 to 0.016 prior" in text
    text = said(refinement=Refinement(0.069, 0.076))
    assert "led away from it" in text and "rose from 0.069 to 0.076 prior" in text
    assert "set aside" in text


def cause(x_o, **changes):
    """What is missed, and the one cause that is told for it."""
    found = outcome(x_o, **changes)
    ((name, cause),) = reach.causes(found).items()
    assert name in cause.sentence and cause.sentence in " ".join(trust.sentences(found))
    return name, cause


def test_a_feature_that_single_neurons_reach_with_all_others_is_the_densitys_limit():
    x_o = CENTRE + [0, 0, 0, 0, 0, 0.49, 0]  # skewness, just within what single neurons do
    found = outcome(x_o)
    reaching = found.predicted[found.predicted[:, 5] >= x_o[5]]
    low, high = np.quantile(found.predicted, [0.025, 0.975], axis=0)
    apart = np.abs(reaching - x_o) / ((high - low) / 3.92)
    both = int(np.sum(np.max(np.delete(apart, 5, axis=1), axis=1) <= 1.96))
    assert 0 < both < len(reaching) and not found.within[5]
    text = said(x_o)
    assert "Neurons drawn from this posterior do not hold skewness (observed 4.99," in text
    assert f"Single neurons reach it: {len(reaching)} of 1,000 drawn from the posterior" in text
    name, why = cause(x_o)
    assert name == "skewness" and why.model_can
    assert (
        f"the density rather than the model; {both} of the neurons that reach it agree"
        in why.sentence
    )
    assert "More simulations (a larger preset) should mend it" in text


def test_a_feature_reached_only_at_the_cost_of_another_is_told_with_the_other_one():
    """Skewness and kurtosis rise together, but the observation has the one without the other."""
    predicted, from_prior = outcome().predicted, outcome().from_prior
    from_prior[1][:] = predicted
    for x in (predicted, from_prior[1]):
        x[:, 6] = CENTRE[6] + (x[:, 5] - CENTRE[5]) / SPREAD[5] * SPREAD[6]
    x_o = CENTRE + [0, 0, 0, 0, 0, 0.49, -4]
    best = np.argmin(np.where(predicted[:, 5] >= x_o[5], predicted[:, 6], np.inf))
    name, why = cause(x_o, predicted=predicted, from_prior=from_prior)
    off = (predicted[best, 6] - x_o[6]) / (SPREAD[6] * 0.95 / 1.96)
    assert name == "skewness" and not why.model_can
    assert "a conflict with kurtosis; of the neurons that reach it" in why.sentence
    assert f"has a kurtosis of {predicted[best, 6]:.4g} for 36, {off:.1f}" in why.sentence
    text = said(x_o, predicted=predicted, from_prior=from_prior)
    assert "the density was learned from 75,000 and may be off" in text


def test_a_feature_that_no_simulation_reaches_is_said_to_be_so():
    x_o = CENTRE - [0, 100, 0, 0, 0, 0, 0]
    found = outcome(x_o)
    text = said(x_o)
    assert "No neuron among 1,000 drawn from the posterior, 64 runs of the mode and 1,000 " in text
    assert "has a resting mean of -186.6 or less" in text
    name, why = cause(x_o)
    lowest = min(found.predicted[:, 1].min(), found.from_prior[1][:, 1].min())
    assert name == "resting mean" and not why.model_can
    assert "out of reach; of 2,064 neurons" in why.sentence
    assert why.sentence.endswith(f"the farthest has {lowest:.4g} for -186.6.")


def test_the_nearest_neuron_is_looked_for_among_posterior_mode_and_prior():
    x_o = CENTRE + 5 * SPREAD
    for source in ("the posterior", "the mode", "the prior"):
        found = outcome(x_o)
        place = {
            "the posterior": found.predicted[7:8],
            "the mode": found.best_predicted[3:4],
            "the prior": found.from_prior[1][9:10],
        }[source]
        place[:] = x_o + [0, 0, 0, 0, 0, 0, 1e-3]
        neuron = reach.nearest(found)
        assert neuron.source == source
        assert reach.FEATURE_NAMES[neuron.worst] == "kurtosis"
        theta = {
            "the posterior": found.samples[7],
            "the mode": found.best,
            "the prior": found.from_prior[0][9],
        }[source]
        np.testing.assert_array_equal(neuron.theta, theta)


def test_undefined_features_are_never_near():
    found = outcome()
    found.predicted[0] = [*CENTRE[:5], np.nan, np.nan]
    assert np.isfinite(reach.nearest(found).deviations).all()


def test_ranges_that_the_prior_has_too_say_little():
    rng = np.random.default_rng(1)
    assert "This says little" in said(from_prior=(np.zeros((N, 8)), features(rng, width=1.2)))


def test_training_that_its_budget_or_a_person_ended_is_told():
    falling = np.linspace(5, 2, study.PRESETS["smoke"].training.max_epochs)
    fall = 3 * 3 / (len(falling) - 1)
    text = said(losses=falling)
    assert "stopped by its budget of 30 epochs while the loss still fell" in text
    assert f"by {fall:.2f} nats" in text
    text = said(losses=falling, interrupted=True)
    assert "Training was interrupted after 29 of at most 30 epochs" in text
    assert "budget" not in text


@pytest.mark.parametrize(
    ("credibility", "words"),
    [
        (GRID**1.5, "too wide: those of 50 and 80 % hold the truth in 63 and 86 %"),
        (GRID**0.5, "too narrow: those of 50, 80 and 95 % hold the truth in 25, 64 and 90 %"),
        (
            np.interp(GRID, [0, 0.9, 0.92, 1], [0, 0.9, 0.95, 1]),
            "a little off, more than by chance: regions of 95 % hold the truth in 92 %",
        ),
        (GRID[::25] ** 1.3, "Over 40 parameter sets, a gap of coverage of this size may be chance"),
    ],
)
def test_the_direction_of_wrong_coverage_is_told(credibility, words):
    assert words in said(calibration=calibration(credibility))


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (lambda u: u**2, "too high in -E_l"),
        (lambda u: 1 - u**2, "too low in -E_l"),
        (lambda u: 0.5 + np.sign(u - 0.5) * 2 * (u - 0.5) ** 2, "too wide in -E_l"),
        (lambda u: 0.5 + np.sign(u - 0.5) * np.sqrt(np.abs(u - 0.5) / 2), "too narrow in -E_l"),
    ],
)
def test_the_direction_of_wrong_ranks_is_told(law, words):
    ranks = calibration().ranks.copy()
    ranks[:, 7] = 499 * law(GRID)
    assert words in said(calibration=calibration(ranks=ranks))


def test_a_mode_with_another_spike_count_is_explained():
    another = np.tile(CENTRE + [4, 0, 0, 0, 0, 0, 0], (64, 1))
    found = outcome(best_predicted=another)
    share = np.mean(found.predicted[:, 0] == 12)
    text = said(best_predicted=another)
    assert "fires 16 spikes (median of 64 runs; observed: 12). The mode is the peak" in text
    assert f"{100 * share:.2g} % of the posterior samples fire 12: take single" in text
    none = outcome().predicted
    none[:, 0] = 30
    text = said(best_predicted=another, predicted=none)
    assert "Do not take the mode for this neuron. No posterior sample fires 12 either" in text


def test_targets_are_features_held_spikes_of_the_mode_and_coverage():
    met = hodgkin_huxley_results.targets(outcome())
    assert [t.met for t in met] == [True, True, True]
    found = outcome(
        CENTRE - [0, 100, 0, 0, 0, 0, 0],
        best_predicted=np.tile(CENTRE + [4, 0, 0, 0, 0, 0, 0], (64, 1)),
        calibration=calibration(GRID**0.5),
    )
    missed = hodgkin_huxley_results.targets(found)
    assert not any(t.met for t in missed)
    assert [t.found for t in missed[:2]] == [6, 4.0] and missed[2].found > 0.15
