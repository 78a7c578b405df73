"""Sphinx: pages in MyST Markdown, run as notebooks; the reference from docstrings."""

import os
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:2], os.environ.get("PYTHONPATH", "")])

import docstrings  # noqa: E402

project, author, language = "jaxsbi", "jaxsbi developers", "en"
try:
    release = metadata.version("jaxsbi")
except metadata.PackageNotFoundError:
    release = ""

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

# JAXSBI_DOCS_RUN=off builds the pages without their results, in seconds.
nb_execution_mode = os.environ.get("JAXSBI_DOCS_RUN", "cache")
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "exclude-members": "tree_flatten, tree_unflatten"}

html_theme = "furo"
html_title = "jaxsbi"
html_show_sourcelink = False
html_show_copyright = False


def setup(app) -> None:
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-process-signature", docstrings.shorten)
