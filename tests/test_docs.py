"""The pages of docs/: their code runs, what it names exists, the site builds without a warning."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxsbi

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CELL = re.compile(r"^```\{code-cell\}\n(?:(:tags: [^\n]*)\n)?(.*?)^```", re.M | re.S)
FENCED = re.compile(r"^```(?:\{code-cell\}|python)\n(?::tags: [^\n]*\n)?(.*?)^```", re.M | re.S)
NAME = re.compile(r"jaxsbi((?:\.[a-z_]\w*)+)")


def cells(page):
    return [(tags, code) for tags, code in CELL.findall(page.read_text())]


RUN = [page for page in PAGES if cells(page)]


def exists(path):
    found = jaxsbi
    for part in path.strip(".").split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_what_a_page_names_exists_and_takes_the_arguments_it_shows(page):
    text = page.read_text()
    for path in NAME.findall(re.sub(r"https?://\S+", "", text)):
        exists(path)
    for code in FENCED.findall(text):
        for node in ast.walk(ast.parse(code)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.startswith("jaxsbi.") and "(" not in called:
                inspect.signature(exists(called.removeprefix("jaxsbi."))).bind_partial(
                    **{k.arg: None for k in node.keywords if k.arg}
                )


@pytest.fixture
def model(monkeypatch):
    """The pages' module can be imported; its posterior is trained once for all of them."""
    monkeypatch.syspath_prepend(str(DOCS))


def run(page):
    names = {"__name__": "__main__"}
    for tags, code in cells(page):
        program = compile(code, str(page), "exec")
        if "raises-exception" in tags:
            with pytest.raises(ValueError):
                exec(program, names)
        else:
            exec(program, names)
    return names


def test_the_way_to_a_first_posterior_runs(model):
    """Failures and simulators need no trained posterior; the other pages are slow."""
    assert 0 < run(DOCS / "howto" / "failures.md")["x"].shape[0]
    run(DOCS / "howto" / "simulators.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda p: str(p.relative_to(DOCS)))
def test_the_code_of_a_page_runs(page, model):
    run(page)


def test_the_tutorials_model_is_that_of_the_other_pages():
    """oscillator.py says again what the tutorial builds up."""
    module = ast.parse((DOCS / "oscillator.py").read_text())
    shared = {node.name: ast.unparse(node) for node in module.body if hasattr(node, "name")}
    tutorial = "".join(code for _, code in cells(DOCS / "tutorial.md"))
    for node in ast.parse(tutorial).body:
        if hasattr(node, "name"):
            assert shared[node.name] == ast.unparse(node)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for needed in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(needed, reason="the site is built with the extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)],
        env={**os.environ, "JAXSBI_DOCS_RUN": "off"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    reference = (tmp_path / "reference" / "diagnostics.html").read_text()
    assert "simulation-based calibration" in reference.lower()
    named = set(jaxsbi.diagnostics.__all__) - {"LEVELS"}
    assert all(f"jaxsbi.diagnostics.{name}" in reference for name in named)
