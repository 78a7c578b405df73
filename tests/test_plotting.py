"""Figures: regions hold the mass they name, thinning keeps every spike, nothing is cut off."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pictures
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy import stats

import jaxsbi
from jaxsbi import diagnostics, plotting
from jaxsbi.analysis import Correlations
from jaxsbi.ledger import Ledger
from jaxsbi.plotting import canvas, densities

RNG = np.random.default_rng(0)
FIGURES = pictures.every()
HEAVY = [name for name in FIGURES if name.endswith(("31", "12")) or name == "conditional pairs 8"]


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in HEAVY else k for k in FIGURES]
)
def test_every_text_lies_inside_the_page_and_on_no_other_text(kind, monkeypatch):
    figure = FIGURES[kind]()
    width, height = figure.get_size_inches()
    assert width <= 7.0 + 1e-9 and height <= 9.2 + 1e-9
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


@pytest.mark.parametrize("d", [1, 2, 5])
def test_pairs_have_one_panel_each(d):
    assert len(pictures.pair(d).axes) == d * (d + 1) // 2


@pytest.mark.slow
def test_pairs_of_31_parameters_are_drawn_and_saved(tmp_path):
    figure = pictures.pair(31)
    assert len(figure.axes) == 31 * 32 // 2
    _, vector = plotting.save(figure, tmp_path, "pairs")
    assert vector.stat().st_size < 4e6


def test_regions_contain_the_mass_they_name():
    """Of fresh draws of the same Gaussian, 95, 80 and 50 % lie above the thresholds."""
    covariance = np.array([[1.0, 0.7], [0.7, 2.0]])
    rng = np.random.default_rng(0)
    draws, fresh = (rng.multivariate_normal([0, 1], covariance, n) for n in (20_000, 20_000))
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


@pytest.mark.parametrize("seed", range(4))
def test_a_curve_of_ranks_leaves_the_band_where_the_test_rejects_it(seed):
    """From uniform ranks to hopeless ones, about Holm's thresholds among them."""
    rng = np.random.default_rng(seed)
    n, samples = 1000, 99_999
    u = rng.uniform(size=(n, 8)) ** np.linspace(1, 1.25, 8)
    ranks = np.floor(u * (samples + 1))
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in u.T])
    found = diagnostics.Calibration(tuple("abcdefgh"), samples, ranks, p_values, u[:, 0])
    hits = found.rejected()
    assert 0 < hits.sum() < 8
    for axis, hit in zip(plotting.ecdf(found).axes, hits, strict=True):
        half = axis.collections[0].get_paths()[0].vertices[:, 1].max()
        curve = axis.lines[1]
        assert (np.abs(curve.get_ydata()).max() > half) == hit
        assert (curve.get_color() == canvas.RED) == hit


def test_bars_of_uniform_ranks_stay_within_their_band():
    """But once in a hundred figures: the band is of level 1 % for all bars at once."""
    out = 0
    for _ in range(6):
        for axis in plotting.ranks(pictures.calibration(8, power=1)).axes:
            band = axis.collections[0].get_paths()[0].vertices[:, 1]
            bars = axis.patches[0].get_data().values
            out += bars.min() < band.min() or bars.max() > band.max()
    assert out <= 1


def test_slices_are_drawn_where_the_density_is():
    """Of a density with a curved ridge: the darkest region lies about θ₁ = 0.4 θ₀² in u."""
    figure = pictures.conditional(3)
    posterior = pictures.Bent(3)
    axis = figure.axes[1]
    darkest = axis.collections[0].get_paths()[-1].vertices
    middle = np.array(posterior.low + posterior.high) / 2
    rows = np.tile(middle, (len(darkest), 1))
    rows[:, [1, 0]] = darkest
    edge = np.asarray(posterior.log_prob(rows))
    inside = posterior.log_prob(middle)
    assert edge.max() < inside and np.ptp(edge) < 0.5  # a contour of the density


def test_slices_of_chosen_parameters_are_those_of_a_figure_of_all(monkeypatch):
    kept = pictures.samples(3)
    monkeypatch.setattr(pictures, "samples", lambda d: kept)
    whole = pictures.conditional(3)
    some = pictures.conditional(3, free=[pictures.prior_of(3).names[i] for i in (2, 0)])
    for few, many in {0: 5, 2: 0}.items():  # (2, 2) and (0, 0), of the panels by rows
        found, expected = some.axes[few], whole.axes[many]
        assert found.get_xlim() == expected.get_xlim()
        for one, other in zip(found.lines, expected.lines, strict=True):
            np.testing.assert_allclose(one.get_xydata(), other.get_xydata())
    darkest = [figure.axes[k].collections[0].get_paths()[-1].vertices
               for figure, k in ((some, 1), (whole, 2))]  # fmt: skip
    for axis, other in ((0, 1), (1, 0)):  # what was along y is along x
        np.testing.assert_allclose(np.ptp(darkest[0][:, axis]), np.ptp(darkest[1][:, other]))


def test_saved_figures_are_a_png_and_a_well_formed_svg(tmp_path):
    found = pictures.calibration(2)
    bitmap, vector = plotting.save(plotting.coverage(found), tmp_path / "figures", "coverage")
    assert bitmap.read_bytes().startswith(b"\x89PNG\r\n")
    assert ElementTree.parse(vector).getroot().tag.endswith("svg")
    again = plotting.save(plotting.coverage(found), tmp_path, "again")[1]
    assert again.read_text() == vector.read_text()  # no dates, no random identifiers


def test_undefined_and_constant_features_are_drawn_and_named():
    simulated = np.stack([np.full(50, np.nan), np.ones(50), RNG.normal(size=50)], 1)
    simulated[:10, 2] = np.nan
    figure = plotting.predictive(
        np.array([np.nan, 1.0, 0.0]), simulated, names=["a", "b", "c"], units=["", "mV", ""]
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [
        "observed: undefined\nsimulated: 100 % undefined",
        "",
        "simulated: 20 % undefined",
    ]


def test_a_point_mass_and_two_samples_are_drawn():
    for s in (np.ones((100, 2)), RNG.normal(size=(2, 2))):
        plotting.pairs(s, names=["a", "b"], limits=[(-3, 3)] * 2)
        plotting.marginals(s)


def test_marks_at_a_limit_are_whole_and_those_beyond_it_out_of_sight():
    points = {"at it": [1.0, 0.5], "beyond": [2.0, 0.5]}
    figure = plotting.pairs(TWO, limits=[(0, 1), (0, 1)], points=points)
    corner, pair, _ = figure.axes
    assert [line.get_clip_on() for line in corner.lines[-2:]] == [False, True]
    assert [line.get_clip_on() for line in pair.lines[-2:]] == [False, True]


def test_without_bounds_the_range_is_that_of_samples_and_marks():
    prior = jaxsbi.gaussian([0.0, 0.0], sd=[1.0, 1.0])
    figure = plotting.pairs(RNG.normal(size=(500, 2)), prior, truth=[9.0, 0.0])
    low, high = figure.axes[0].get_xlim()
    assert -6 < low < -2 and 9 < high < 12


def test_the_reach_of_samples_ends_at_the_priors_bounds():
    prior = jaxsbi.box([0.0, -5.0], [1.0, 5.0])
    samples = np.stack([np.linspace(0, 1, 2001) ** 8, RNG.normal(0, 0.1, 2001)], axis=1)
    limits = plotting.reach(samples, prior)
    assert limits[0].tolist() == [0.0, 1.0] and np.all(np.abs(limits[1]) < 0.5)
    inside = (samples >= limits[:, 0]) & (samples <= limits[:, 1])
    assert inside.mean() > 0.998
    assert plotting.reach(samples)[0, 1] > 1.0
    assert 0.85**8 < plotting.reach(samples, prior, mass=0.7)[0, 1] < 0.3
    with pytest.raises(ValueError, match="mass must be a number between 0 and 1"):
        plotting.reach(samples, mass=1.0)


def test_a_notebook_shows_a_figure():
    assert FIGURES["coverage"]()._repr_png_().startswith(b"\x89PNG\r\n")


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
TWO = RNG.normal(size=(9, 2))
THREE = Correlations(("a", "b", "c"), np.eye(3), np.eye(3), 9)
PAIR = Correlations(("a", "b"), np.eye(2), np.eye(2), 9)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: plotting.pairs(np.zeros(5)), r"samples: .*\(n, d\)"),
        (lambda: plotting.pairs(np.zeros((5, 3)), names=["a", "b"]), "names: expected 3"),
        (lambda: plotting.pairs(NAN), "samples: .*3 of 3 rows"),
        (lambda: plotting.pairs(TWO, limits=[(1, 0), (0, 1)]), "limits: .*low < high"),
        (lambda: plotting.pairs(TWO, truth=[1.0]), "truth: "),
        (lambda: plotting.pairs(TWO, units=["mV"]), "units: "),
        (lambda: plotting.pairs(TWO, paths={"ridge": np.ones(2)}), "ridge: "),
        (lambda: pictures.conditional(2, free=["g_x"]), "free must name different parameters"),
        (lambda: plotting.correlations(THREE, PAIR), "conditional.names: expected 3"),
        (lambda: plotting.paths({"a": TWO}), "found: expected paths"),
        (lambda: plotting.predictive(np.zeros(2), np.zeros((5, 3))), "simulated: "),
        (lambda: plotting.traces(np.arange(5), np.arange(4), {}), "traces: "),
        (lambda: plotting.bands(np.arange(5), None, np.zeros((9, 4))), "simulated: "),
        (lambda: plotting.losses(Ledger("npe")), "history: "),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys, jaxsbi.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_users_settings_do_not_change_the_figures():
    """Neither when they are made nor when the user saves them."""
    import matplotlib

    def picture(figure):
        agg = FigureCanvasAgg(figure)
        agg.draw()
        return np.asarray(agg.buffer_rgba())

    named = {name: pictures.calibration(2) for name in ("g_Na", "tau_max")}
    plain = picture(plotting.coverage(named))
    theirs = {"font.size": 30, "axes.facecolor": "black", "mathtext.default": "it"}
    with matplotlib.rc_context(theirs | {"axes.prop_cycle": matplotlib.cycler(color="rgb")}):
        figure = plotting.coverage(named)
        assert figure.axes[0].xaxis.label.get_size() == 8
        assert figure.axes[0].get_xlabel() == "nominal level"
        np.testing.assert_array_equal(picture(figure), plain)
        assert matplotlib.rcParams["font.size"] == 30


def test_curves_of_many_are_told_apart():
    """By colour or by dashes, as many as there are parameters of a circuit's cell and more."""
    found = pictures.calibration(2)
    lines = plotting.coverage({f"c{i}": found for i in range(28)}).axes[0].lines[1:]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 28
