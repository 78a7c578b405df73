"""Figures: regions hold the mass they name, thinning keeps every spike, nothing is cut off."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy import stats

from jaxsbi import plotting
from jaxsbi.diagnostics import holm
from jaxsbi.plotting import canvas, densities

RNG = np.random.default_rng(0)
NAMES = ["g_Na", "g_K", "tau_max", "-V_T", "sigma"]
UNITS = ["mS/cm²", "mS/cm²", "ms", "mV", "µA/cm²·√ms"]


def samples(d, n=2000):
    return RNG.normal(size=(n, d)) @ (np.eye(d) + 0.2 * RNG.normal(size=(d, d)))


def labels(d):
    return [f"{NAMES[k % 5]}" for k in range(d)], [UNITS[k % 5] for k in range(d)]


def pair(d, **kwargs):
    names, units = labels(d)
    s = samples(d)
    return plotting.pair_plot(
        s, names=names, units=units, truth=s[0], points={"MAP": s[1]}, **kwargs
    )


def every_figure():
    names, units = labels(5)
    s = samples(5)
    time = np.arange(30_000) * 0.02
    voltage = -60 + 80 * (np.sin(time / 10) > 0.99)
    levels = np.linspace(0.05, 0.95, 19)
    losses = np.exp(-np.arange(40) / 9) + 0.01 * RNG.normal(size=(2, 40))
    return {
        "pair": lambda: pair(5),
        "marginals": lambda: plotting.marginals(
            s, names=names, units=units, truth=s[0], points={"MAP": s[1]}, prior=3 * s
        ),
        "traces": lambda: plotting.traces(
            time, voltage, {"MAP": voltage - 1, "sample": voltage + 1}, current=0.01 * voltage
        ),
        "losses": lambda: plotting.loss_curves(*losses),
        "losses of rounds": lambda: plotting.loss_curves([losses[0]] * 2, [losses[1]] * 2),
        "ranks": lambda: plotting.sbc_ranks(
            RNG.integers(0, 100, (500, 5)),
            99,
            names,
            p_values=[0.51, 0.0234, 1e-9, 1.0, 0.2],
            rejected=[False, False, True, False, False],
        ),
        "ranks alone": lambda: plotting.sbc_ranks(RNG.integers(0, 100, (500, 5)), 99, names),
        "coverage": lambda: plotting.coverage(levels, levels**1.1, n=300),
        "coverage each": lambda: plotting.coverage(
            levels, levels[:, None] ** np.ones(5), n=300, names=names
        ),
        "predictive": lambda: plotting.predictive(s[0], s, names, units),
    }


FIGURES = every_figure() | {f"pair {d}": lambda d=d: pair(d) for d in (1, 2, 3, 8, 12)}


@pytest.mark.parametrize("kind", FIGURES)
def test_every_text_lies_inside_the_page_and_on_no_other_text(kind, monkeypatch):
    figure = FIGURES[kind]()
    assert figure.get_size_inches()[0] <= 7.0 + 1e-9
    drawn = drawn_texts(figure, monkeypatch)
    assert len(drawn) > 2
    page = figure.bbox.padded(1)
    for k, (text, box) in enumerate(drawn):
        assert area(Bbox.intersection(box, page)) > 0.99 * area(box), f"{text!r} leaves the page"
        for other, its in drawn[:k]:
            shared = area(Bbox.intersection(box, its))
            assert shared < 0.05 * min(area(box), area(its)), f"{text!r} lies on {other!r}"


def drawn_texts(figure, monkeypatch):
    """(text, box in pixels) of all that the renderer draws."""
    found, draw = {}, Text.draw

    def record(self, renderer, *args, **kwargs):
        draw(self, renderer, *args, **kwargs)
        if self.get_visible() and self.get_text().strip():
            found[self] = self.get_window_extent(renderer)

    monkeypatch.setattr(Text, "draw", record)
    with canvas.style():
        FigureCanvasAgg(figure).draw()
    return [(text.get_text(), box) for text, box in found.items()]


def area(box):
    return 0.0 if box is None else box.width * box.height


@pytest.mark.parametrize("d", [1, 2, 5, 12])
def test_a_pair_plot_has_one_panel_per_pair(d):
    assert len(pair(d).axes) == d * (d + 1) // 2


@pytest.mark.slow
def test_a_pair_plot_of_31_parameters_is_drawn_and_saved(tmp_path):
    figure = pair(31)
    assert len(figure.axes) == 31 * 32 // 2
    _, vector = plotting.save(figure, tmp_path, "pair")
    assert vector.stat().st_size < 4e6


def test_regions_contain_the_mass_they_name():
    """Of fresh draws of the same Gaussian, 95, 80 and 50 % lie above the thresholds."""
    covariance = np.array([[1.0, 0.7], [0.7, 2.0]])
    draws, fresh = (RNG.multivariate_normal([0, 1], covariance, n) for n in (20_000, 20_000))
    x, y, p = densities.density_2d(draws, [(-5, 5), (-6, 8)], 60)
    levels = densities.thresholds(p, (0.95, 0.8, 0.5))
    column = np.abs(x[:, None] - fresh[:, 0]).argmin(0)
    row = np.abs(y[:, None] - fresh[:, 1]).argmin(0)
    covered = [np.mean(p[row, column] >= level) for level in levels]
    np.testing.assert_allclose(covered, (0.95, 0.8, 0.5), atol=0.02)


@pytest.mark.parametrize("law", [stats.norm(0.5, 0.1), stats.uniform(), stats.beta(1, 3)])
def test_a_density_integrates_to_one_and_is_the_laws(law):
    """At a bound, too, where the uniform and the beta law do not vanish."""
    x, p = densities.density(law.rvs(200_000, random_state=0), (0.0, 1.0))
    assert np.sum(p) * (x[1] - x[0]) == pytest.approx(1, abs=1e-3)
    assert np.abs(p - law.pdf(x)).max() < 0.06 * law.pdf(x).max()


def test_thinning_keeps_the_extremes_of_every_stretch():
    time = np.arange(72_500) * 0.02
    voltage = RNG.normal(size=time.size)
    voltage[[5, 40_000, 72_498]] = 90, 100, -90  # spikes of one sample
    thin_time, thin_voltage = densities.thin(time, voltage)
    assert thin_time.size < 6000 and np.all(np.diff(thin_time) > 0)
    assert {90, 100, -90} <= set(thin_voltage)
    np.testing.assert_array_equal(voltage[np.searchsorted(time, thin_time)], thin_voltage)
    assert densities.thin(time[:2000], voltage[:2000])[0].size == 2000


def bounded(ranks, samples, p_values):
    """For each panel: whether its curve leaves the band, and in which colour it is drawn."""
    hits = holm(p_values, 0.01)
    figure = plotting.sbc_ranks(
        ranks, samples, ["θ"] * len(hits), p_values=p_values, rejected=hits, level=0.01
    )
    found = []
    for axis in figure.axes:
        half = axis.collections[0].get_paths()[0].vertices[:, 1].max()
        curve = axis.lines[1]
        found.append((np.abs(curve.get_ydata()).max() > half, curve.get_color() == canvas.RED))
    return np.array(found).T, hits


@pytest.mark.parametrize("seed", range(4))
def test_a_curve_of_ranks_leaves_the_band_where_the_test_rejects_it(seed):
    """From uniform ranks to hopeless ones, about Holm's thresholds among them."""
    rng = np.random.default_rng(seed)
    n, samples = 1000, 99_999
    u = rng.uniform(size=(n, 8)) ** np.linspace(1, 1.25, 8)
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in u.T])
    (outside, red), hits = bounded(np.floor(u * (samples + 1)), samples, p_values)
    assert 0 < hits.sum() < 8
    np.testing.assert_array_equal(red, hits)
    np.testing.assert_array_equal(outside, hits)


def test_saved_figures_are_a_png_and_a_well_formed_svg(tmp_path):
    bitmap, vector = plotting.save(FIGURES["coverage"](), tmp_path / "figures", "coverage")
    assert bitmap.read_bytes().startswith(b"\x89PNG\r\n")
    assert ElementTree.parse(vector).getroot().tag.endswith("svg")
    again = plotting.save(FIGURES["coverage"](), tmp_path, "again")[1]
    assert again.read_text() == vector.read_text()  # no dates, no random identifiers


def test_undefined_and_constant_features_are_drawn_and_named():
    simulated = np.stack([np.full(50, np.nan), np.ones(50), RNG.normal(size=50)], 1)
    simulated[:10, 2] = np.nan
    figure = plotting.predictive(
        np.array([np.nan, 1.0, 0.0]), simulated, ["a", "b", "c"], ["", "mV", ""]
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["observed: undefined, 100 % undefined", "", "20 % undefined"]


def test_a_point_mass_and_two_samples_are_drawn():
    names, units = labels(2)
    for s in (np.ones((100, 2)), RNG.normal(size=(2, 2))):
        plotting.pair_plot(s, names=names, units=units, limits=[(-3, 3)] * 2)
        plotting.marginals(s, names=names, units=units)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("g_Na", "$g_{Na}$"),
        ("PM g_CaT", "PM $g_{CaT}$"),
        ("tau_max", r"$\tau_{max}$"),
        ("-V_T", "$-V_{T}$"),
        ("sigma", r"$\sigma$"),
        ("spike count", "spike count"),
        ("AB→LP", "AB→LP"),
        ("burst_duration", "burst_duration"),
    ],
)
def test_symbols_are_set_as_symbols_and_words_as_words(name, shown):
    assert canvas.symbols(name) == shown


NAN = np.full((3, 2), np.nan)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plotting.pair_plot(np.zeros((5, 3)), names=["a", "b"]), r"samples: .*\(n, 2\)"),
        (lambda: plotting.pair_plot(NAN, names=["a", "b"]), "samples: .*3 of 3 rows"),
        (
            lambda: plotting.pair_plot(samples(2), names=["a", "b"], limits=[(1, 0), (0, 1)]),
            "limits: .*low < high",
        ),
        (lambda: plotting.pair_plot(samples(2), names=["a", "b"], truth=[1.0]), "truth: "),
        (lambda: plotting.pair_plot(samples(2), names=["a", "b"], units=["mV"]), "units: "),
        (lambda: plotting.sbc_ranks(np.full((9, 1), 12), 10, ["a"]), "ranks: expected 0 … 10"),
        (
            lambda: plotting.sbc_ranks(np.ones((9, 1)), 10, ["a"], p_values=[0.5, 0.5]),
            "p_values: expected one for each of 1 names",
        ),
        (lambda: plotting.coverage([0.1, 0.2], [0.1]), "empirical: "),
        (lambda: plotting.predictive(np.zeros(2), np.zeros((5, 3)), "ab"), "simulated: "),
        (lambda: plotting.traces(np.arange(5), np.arange(4), {}), "traces: "),
        (lambda: plotting.loss_curves([1.0], [np.nan]), "validation: "),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys, jaxsbi.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_users_settings_do_not_change_the_figures():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        axis = FIGURES["coverage"]().axes[0]
        assert axis.xaxis.label.get_size() == 8
        assert matplotlib.rcParams["font.size"] == 30
    assert re.fullmatch(r"nominal level", axis.get_xlabel())
