"""The report: everything in one file, nothing asked of the network, text escaped."""

import base64
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments import report
from experiments.report import Figure, Section, Table

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)
SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="9pt"/>'


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.svg").write_text(SVG)
    sections = [
        Section(
            "Posterior <script>alert(1)</script>",
            ["5 < 6 & more"],
            [Figure(tmp_path / "a.png", 'the "first"'), Figure(str(tmp_path / "b.svg"), "second")],
            [Table(["name", "mean"], [["g_Na", 50.123456], ["sigma", -1.5e-7]], "Numbers")],
        ),
        Section(
            "Names",
            ["ranks of g_l, -E_l and tau_max are off; g_lx, sigmas and a-E_l <b>are</b> no names"],
            tables=[Table(["parameter"], [["-E_l"], ["A"]])],
        ),
        Section("Two"),
        Section("Three", ["end"]),
    ]
    names = ["g_l", "-E_l", "tau_max", "sigma", "A"]
    path = report.write(tmp_path / "report.html", "Title", "Lead", sections, "seed 0", names)
    assert [p.name for p in tmp_path.iterdir() if "report" in p.name] == ["report.html"]
    return Page(path.read_text())


def test_the_page_is_well_formed_and_asks_nothing_of_the_network(page):
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), value
    policy = next(a["content"] for t, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_figures_are_inside_it_whole_with_their_captions(page):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [i["alt"] for i in images] == ['the "first"', "second"]
    first, second = (base64.b64decode(i["src"].split(",")[1]) for i in images)
    assert first == PNG
    assert ElementTree.fromstring(second).tag.endswith("svg")
    assert images[1]["width"] == "672"  # 504 points are 7 inches
    assert "second" in page.text


def test_parameters_are_spelt_as_in_figures_and_nothing_else_is(page):
    assert "ranks of gl, −El and τmax are off; g_lx, sigmas and a-E_l <b>are</b> no" in page.text
    assert "g_Na" in page.text and "σ" in page.text and "−El" in page.text
    tags = [tag for tag, _ in page.tags]
    assert tags.count("sub") == 4 and "b" not in tags


def test_text_is_escaped_and_numbers_are_readable(page):
    assert "Posterior <script>alert(1)</script>" in page.text  # as text, see the tags above
    assert "5 < 6 & more" in page.text
    for part in ("Lead", "seed 0", "50.12", "−1.5 · 10⁻⁷", "Numbers"):
        assert part in page.text
    links = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert links == {a["id"] for t, a in page.tags if t == "section"}


@pytest.mark.parametrize(
    "value, text",
    [
        (5, "5"),
        (5.0, "5"),
        (125_000, "125000"),
        (np.float32(0.3), "0.3"),
        (-3.2e-9, "−3.2 · 10⁻⁹"),
        (1e12, "1 · 10¹²"),
        (-np.inf, "−∞"),
        (np.nan, "–"),
        (None, "–"),
        (True, "True"),
        ("g_Na-x", "g_Na-x"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert report.number(value) == text


def test_a_missing_or_foreign_figure_and_a_ragged_table_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("no picture")
    for figure, message in (
        (Figure(tmp_path / "none.svg", ""), "expected a picture at .*none.svg"),
        (Figure(tmp_path / "a.txt", ""), "expected an SVG or PNG picture"),
    ):
        with pytest.raises(ValueError, match=message):
            report.write(tmp_path / "r.html", "t", "l", [Section("s", figures=[figure])])
    with pytest.raises(ValueError, match="expected 2 cells"):
        ragged = Section("s", tables=[Table(["a", "b"], [[1]])])
        report.write(tmp_path / "r.html", "t", "l", [ragged])
    assert not (tmp_path / "r.html").exists()
