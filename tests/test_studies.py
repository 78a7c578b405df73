"""The table of contents: it is true of the studies, and `all` runs each of them."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import main, parser_of
from experiments.studies import ALL, NOTE, PRESETS, STUDIES, contents

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
MODELS = {"hodgkin_huxley_features": "hodgkin_huxley", "compensation": "stg"}


def test_the_list_has_every_study_with_its_presets_and_budgets(capsys):
    assert main(["--list"]) == 0
    told = capsys.readouterr().out
    assert told.rstrip() == contents()
    for study in ALL:
        assert study.name in told and set(study.costs) <= set(PRESETS)
        assert all(cost.simulations in told for cost in study.costs.values())


@pytest.mark.parametrize("study", ALL, ids=lambda s: s.name)
def test_a_study_has_the_presets_and_options_that_are_told_of_it(study):
    module = study.module
    assert set(module.PRESETS) == set(study.costs)
    given = parser_of(study).parse([])
    options = study.chosen(given)
    assert set(options._fields) <= set(vars(given))
    assert options == module.Options()
    names = {module.folder_name(p, s, options) for p in study.costs for s in (0, 1)}
    assert len(names) == 2 * len(study.costs)
    typed = module.command("smoke", 3, Path("a b"), options)
    assert typed.startswith(f"python -m experiments {study.name} --preset smoke --seed 3")


def test_budgets_are_those_of_the_configurations():
    def simulated(name, config):
        if name == "glm":
            learned = len(config.methods) * sum(config.budgets)
            return learned + len(config.abc) * sum(config.abc_budgets)
        if name == "gabor":
            return config.rounds * config.simulations
        if name == "hodgkin_huxley":
            return config.simulations + config.cell_simulations + sum(config.refinement)
        if name == "hodgkin_huxley_cells":
            return 2 * config.simulations
        if name in ("stg", "compensation"):
            return sum(config.simulations)
        return config.simulations

    for study in ALL:
        for preset, cost in study.costs.items():
            config = study.module.PRESETS[preset]
            assert cost.simulations == f"{simulated(study.name, config):,}", (study.name, preset)


@pytest.mark.parametrize("study", ALL, ids=lambda s: s.name)
def test_estimated_times_are_those_of_the_simulations_as_benchmarked(study):
    """Of the fastest batch that simulates as long as the study does."""
    for preset, cost in study.costs.items():
        assert cost.time.startswith("≈") == (preset in ("overnight", "paper")), (study.name, preset)
        if not cost.time.startswith("≈"):
            continue
        lines = (
            (BENCHMARKS / f"{MODELS.get(study.name, study.name)}.jsonl").read_text().splitlines()
        )
        found = [each for each in map(json.loads, lines) if each["what"].startswith("simulate")]
        longest = max(each["simulated_ms"] for each in found)
        each = min(f["ms_per_simulation"] for f in found if f["simulated_ms"] == longest)
        number, unit, learning = cost.time.removeprefix("≈").split()
        told = float(number) * SECONDS[unit]
        expected = float(cost.simulations.replace(",", "")) * each / 1000
        assert learning == "+" and abs(told - expected) <= max(0.05 * expected, 0.6 * SECONDS[unit])
    assert NOTE in contents()


def test_all_runs_each_study_in_its_folder_and_goes_on_after_one_that_fails(
    monkeypatch, capsys, tmp_path
):
    seen = []

    def run(preset, seed, out, options):
        seen.append((preset, seed, out.name))
        if out.name == "glm":
            raise ValueError("no such thing")

    for study in ALL:
        monkeypatch.setattr(study.module, "run", run)
    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    monkeypatch.delenv("JAXSBI_TRACEBACK", raising=False)
    words = ["all", "--preset", "smoke", "--seed", "4", "--no-cache", "--out", str(tmp_path)]
    assert main(words) == 2
    assert seen == [("smoke", 4, name) for name in STUDIES]
    assert capsys.readouterr().err == "error: no such thing\n"


def test_ctrl_c_ends_all_of_them(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ALL[0].module, "run", interrupted)
    assert main(["all", "--no-cache"]) == 130
    assert capsys.readouterr().out.count("==") == 1


def test_a_study_without_the_preset_is_left_out_and_told(monkeypatch, capsys):
    seen = []
    for study in ALL:
        monkeypatch.setattr(study.module, "run", lambda *a, name=study.name: seen.append(name))
    monkeypatch.delenv("JAXSBI_DATA", raising=False)
    assert main(["all", "--preset", "paper", "--no-cache"]) == 0
    assert seen == [s.name for s in ALL if "paper" in s.costs] and "own_model" not in seen
    told = capsys.readouterr().out
    assert told.count("skipped") == len(ALL) - len(seen)
    assert "== own_model: skipped, has no preset paper" in told
