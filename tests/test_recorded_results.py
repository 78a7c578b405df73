"""Recorded runs: each says how it was made, and the README's table says what they found."""

import json
import re
from pathlib import Path

import pytest

from experiments.studies import STUDIES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = {path.stem: path for path in sorted((ROOT / "experiments" / "results").glob("*.json"))}
README = (ROOT / "README.md").read_text()
ROWS = {row.split("`")[1].split()[0]: row for row in README.splitlines() if row.startswith("| `")}


def found(name):
    return json.loads(RESULTS[name].read_text())


def target(results, start):
    return next(t["found"] for t in results["targets"] if t["what"].startswith(start))


# What each row says: a pattern with a group for each number, and the numbers in results.


def glm(results):
    score = {
        (m, c): results["methods"][f"{m}-10000"][f"c2st_{c}"]
        for m in ("npe", "apt", "nle")
        for c in ("mlp", "rf")
    }
    worse = [max(score[m, "mlp"], score[m, "rf"]) for m in ("npe", "apt", "nle")]
    yield r"npe (\.\d+), apt (\.\d+), nle (\.\d+)", worse
    yield (
        r"MLP alone (\.\d+), (\.\d+), (\.\d+)",
        [score[m, "mlp"] for m in ("npe", "apt", "nle")],
    )
    off = results["methods"]["npe-10000"]["largest_error_of_a_mean_in_exact_sds"]
    yield r"up to (\.\d+) exact sds", [off]
    abc = [results["methods"][f"{kind}-1000000"] for kind in ("rejection ABC", "SMC-ABC")]
    yield (
        r"ABC with 1,000,000: (\.\d+) \(rejection\) and (\.\d+) \(SMC\)",
        [max(each["c2st_mlp"], each["c2st_rf"]) for each in abc],
    )
    published = [results["methods"][f"{m}-10000"]["published_c2st"] for m in ("npe", "apt", "nle")]
    yield r"other observations: (\.\d+), (\.\d+), (\.\d+)", published


def gabor(results):
    for name, pattern in (
        ("share_at_alpha_plus_pi", r"(\.\d+) of draws at α \+ π \(exact (\.\d+)\)"),
        ("share_on_the_axis", r"(\.\d+) of angles within 20° \(exact (1?\.\d+)\)"),
    ):
        yield pattern, [results[name][of] for of in ("learned", "exact")]
    fields = [results["correlation_of_fields"][of]["median"] for of in ("learned", "exact")]
    yield r"true field (\.\d+) \(exact (\.\d+);", fields
    yield r"C2ST (\.\d+)", [max(results["c2st_mlp"], results["c2st_rf"])]


def channels(results):
    within, beyond = (results["correlation"][f"distinct_{of}"] for of in ("within_reach", "beyond"))
    yield (
        r"(\.\d+) and (\.\d+), of (\d+) channels; the (\d+) beyond .*: median (\.\d+)",
        [within["median"], within["low_10"], within["count"], beyond["count"], beyond["median"]],
    )


def hodgkin_huxley(results):
    both = results["observations"].values()
    spikes = [each["map_spike_count"] for each in both]
    fired = [s[of] for s in spikes for of in ("median", "observed")]
    yield r"(\d+) of (\d+) and (\d+) of (\d+) spikes", fired
    gaps = [each["calibration"]["coverage_gaps"].values() for each in both]
    yield r"within ([\d.]+) and ([\d.]+) points", [100 * max(map(abs, each)) for each in gaps]


def hodgkin_huxley_cells(results):
    yield r"(\d+) of (\d+) features held", [results["features_held"], results["features"]]
    yield r"within ([\d.]+) points \(", [100 * target(results, "coverage off")]
    yield r"hold (\d+) %", [100 * results["coverage"]["0.95"]]
    yield r"([\d.]+) nats lost", [results["nats_lost_by_one_density_for_all"]["mean"]]


def hodgkin_huxley_features(results):
    nats = [results["subsets"][name]["information_nats"] for name in results["subsets"]]
    yield r"([\d.]+), ([\d.]+) and ([\d.]+) nats", nats
    share = results["evolution"]["share_in_the_region_of_95_percent"]
    yield r"(\d+) % of its last generation", [100 * share]


def stg(results):
    share = results["share_pyloric"]
    shares = [100 * share[of] for of in ("share", "low_95", "high_95")]
    of_prior = 100 * results["share_pyloric_of_prior"]
    yield r"(\d+) % \((\d+) to (\d+); of the prior's (\.\d+) %\)", [*shares, of_prior]
    yield r"medians of (\d+) of 15 features", [target(results, "features of 15")]
    yield r"(\d+) % along the path\. Across", [100 * results["path"]["pyloric"]["share"]]
    across = results["orthogonal_path"]
    ends = [100 * across[of]["share"] for of in ("pyloric", "pyloric_at_its_end")]
    yield r"Across it (\d+) %, and (\d+) % over the last five", ends


def compensation(results):
    hits, runs = {}, {}
    for arm, steps in results["pyloric"].items():
        hits[arm], runs[arm] = (sum(s[of] for s in steps.values()) for of in ("hits", "runs"))
    share = {arm: 100 * hits[arm] / runs[arm] for arm in ("compensated", "opposed", "one alone")}
    yield (
        r"(\d+) against (\d+) % of (\d+) runs",
        [share["compensated"], share["opposed"], runs["opposed"]],
    )
    yield r"one changed alone, [^|]*?(\d+) %", [share["one alone"]]
    for arm, words in (("opposed", "more in"), ("one alone", "helped in")):
        more = sum(pair["compensated"] > pair[arm] for pair in results["pairs"])
        yield rf"{words} (\d+) of (\d+) pairs", [more, len(results["pairs"])]


def own_model(results):
    assert results["diagnostics"]["sbc"]["verdict"].startswith("calibrated")
    return ()


CLAIMS = {
    each.__name__: each
    for each in (
        glm, gabor, channels, hodgkin_huxley, hodgkin_huxley_cells, hodgkin_huxley_features, stg,
        compensation, own_model,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_a_recorded_run_says_how_it_was_made(name):
    results = found(name)
    settings = results["settings"]
    assert name in (settings["study"], f"{settings['study']}_{settings['preset']}")
    assert isinstance(settings["seed"], int) and settings["config"] and settings["observations"]
    assert results["machine"]["processor"] and results["machine"]["cores"] > 0
    assert results["wall_time_s"] > 0 and results["peak_memory_mb"] > 0
    words = f"experiments {settings['study']} --preset {settings['preset']} --seed"
    assert words in results["command"]
    recorded = results.get("observation") == "recorded" or results.get("published")
    assert not recorded or "--data DIR" in results["command"]


def test_every_study_has_a_recorded_run_and_a_row():
    assert set(STUDIES) == set(ROWS) == set(CLAIMS) <= set(RESULTS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_table_says_what_was_found_to_the_digits_shown(name):
    results, row = found(name), ROWS[name]
    minutes = (r"\| (\d+) min \|", [results["wall_time_s"] / 60])
    for pattern, values in (minutes, *CLAIMS[name](results)):
        match = re.search(pattern, row)
        assert match, f"{name}: no {pattern} in its row"
        for told, value in zip(match.groups(), values, strict=True):
            digits = len(told.partition(".")[2])
            assert abs(float(told) - value) <= 0.5 / 10**digits + 1e-9, (name, pattern, told, value)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_miss_is_told_as_one_and_the_command_is_the_recorded_one(name):
    results, row = found(name), ROWS[name]
    missed = [t["what"] for t in results.get("targets") or () if not t["met"]]
    assert not missed or "missed" in row, missed
    for flag in re.findall(r"--[\w-]+", row.split("|")[1]):
        assert flag in results["command"]
