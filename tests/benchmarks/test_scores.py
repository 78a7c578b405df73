"""C2ST against Bayes' accuracy, its cache, and the published scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import _c2st, _published
from benchmarks._tasks import TASKS


def gaussians(shift: float, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 5 + 3 * rng.normal(size=(n, 2)), 5 + 3 * (rng.normal(size=(n, 2)) + [shift, 0])


@pytest.mark.parametrize(("name", "loss"), [("RF", 0.04), ("MLP", 0.015)])
def test_accuracy_is_that_of_the_best_classifier_of_two_gaussians(name: str, loss: float) -> None:
    """Φ(δ/2) for means δ apart; a forest of full depth loses a few hundredths."""
    bayes = stats.norm.cdf(1.0)
    assert bayes - loss - 0.02 < _c2st.c2st(*gaussians(2.0), name) < bayes + 0.02


@pytest.mark.parametrize("name", _c2st.CLASSIFIERS)
def test_equal_distributions_cannot_be_told_apart(name: str) -> None:
    assert abs(_c2st.c2st(*gaussians(0.0), name) - 0.5) < 3 * 0.5 / np.sqrt(2000)


def test_units_do_not_matter() -> None:
    reference, samples = gaussians(0.5, 300)
    unit = np.array([1e-6, 1e6])
    scores = [_c2st.c2st(reference * u, samples * u, "MLP") for u in (1, unit)]
    assert abs(scores[0] - scores[1]) < 0.01


def test_scores_are_remembered_by_content(tmp_path: Path, monkeypatch) -> None:
    reference, samples = gaussians(1.0, 100)
    first = _c2st.cached_c2st(reference, samples, "RF", tmp_path)
    calls = []
    monkeypatch.setattr(_c2st, "c2st", lambda *arguments: calls.append(arguments) or 0.25)
    assert _c2st.cached_c2st(reference.copy(), samples.copy(), "RF", tmp_path) == first
    assert not calls
    assert _c2st.cached_c2st(reference, samples[::-1], "RF", tmp_path) == 0.25
    (cut, *_) = tmp_path.iterdir()
    for path in tmp_path.iterdir():
        path.write_text("{")
    assert _c2st.cached_c2st(reference, samples, "RF", tmp_path) == 0.25
    assert len(calls) == 2


def test_samples_of_another_shape_are_refused() -> None:
    reference, samples = gaussians(1.0, 100)
    with pytest.raises(ValueError, match=r"samples must have the reference's shape .*\(100, 2\)"):
        _c2st.c2st(reference, samples[:50], "RF")
    with pytest.raises(ValueError, match="name must be one of"):
        _c2st.c2st(reference, samples, "SVM")


@pytest.mark.parametrize(
    ("task", "simulations", "classifier", "score"),
    [
        ("gaussian_linear", 1000, "MLP", 0.628),
        ("slcp", 1000, "RF", 0.831),
        ("slcp_distractors", 10_000, "RF", 0.912),
        ("bernoulli_glm", 100_000, "RF", 0.544),
        ("two_moons", 1000, "RF", 0.570),
        ("lotka_volterra", 10_000, "MLP", 0.738),
    ],
)
def test_best_published_means(
    data: Callable, task: str, simulations: int, classifier: str, score: float
) -> None:
    data("sbibm/published_c2st.csv")
    best = _published.best(task, simulations, classifier)
    assert round(best.c2st, 3) == score and not best.pretrained
    everything = _published.best(task, simulations, classifier, pretrained=True)
    assert everything.c2st <= best.c2st


def test_amortised_npe_is_the_one_of_the_library_beside(data: Callable) -> None:
    data("sbibm/published_c2st.csv")
    found = {
        (task, n): round(_published.amortised_npe(task, n, "RF").c2st, 3)
        for task, n in (("slcp", 1000), ("sir", 10_000), ("lotka_volterra", 10_000))
    }
    expected = {("slcp", 1000): 0.968, ("sir", 10_000): 0.556, ("lotka_volterra", 10_000): 0.967}
    assert found == expected
    assert round(_published.amortised_npe("gaussian_linear", 1000, "MLP").c2st, 4) == 0.6945


def test_means_over_all_observations_are_the_published_means(data: Callable) -> None:
    data("sbibm/published_c2st_per_observation.csv")
    for task in TASKS:
        for score in _published.scores():
            if (score.task, score.classifier) == (task, "MLP") and score.simulations < 100_000:
                mean = _published.on_observations(
                    task, score.simulations, score.method, range(1, 11)
                )
                assert abs(mean - score.c2st) < 2e-3, score


def test_scores_without_their_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"published_c2st.csv must hold .* JAXSBI_DATA"):
        _published.scores(tmp_path)
