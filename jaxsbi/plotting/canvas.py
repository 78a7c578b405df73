"""The page: 7 inches wide, one style sheet, Okabe and Ito's colours, labels "name [unit]"."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsbi.extras import needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).parents[1] / "jaxsbi.mplstyle"
PAGE, TALL = 7.0, 9.2  # inches of a printed page
INK, GREY, BLUE, RED = "#222222", "#D4D4D4", "#0072B2", "#D55E00"


@contextmanager
def style():
    """Within it figures are made and saved in the style sheet, whatever the user has set."""
    with needed("matplotlib.style", "plot", "figures").context(["default", STYLE]):
        yield


def save(figure: Figure, folder: str | Path, name: str) -> tuple[Path, Path]:
    """Write folder/name.png (300 dpi) and folder/name.svg; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.png", folder / f"{name}.svg"
    with style():
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


@cache
def _page() -> type[Figure]:
    from matplotlib.figure import Figure

    class Page(Figure):
        """A figure that a notebook shows without pyplot, drawn in the style sheet by whomever."""

        def draw(self, renderer) -> None:
            with style():
                super().draw(renderer)

        def _repr_png_(self) -> bytes:
            with style(), io.BytesIO() as png:
                self.savefig(png, dpi=150)
                return png.getvalue()

    return Page


def figure_of(width: float, height: float, **kwargs) -> Figure:
    """A figure of that size [inch] that no global state refers to."""
    return _page()(figsize=(width, height), **kwargs)


GREEK = "alpha beta gamma delta epsilon eta theta kappa lambda mu rho sigma tau phi psi omega"
SYMBOL = re.compile(rf"(?<![\w$])(-?)({'|'.join(GREEK.split())}|[A-Za-z]{{1,2}})(?:_(\w+))?(?!\w)")


def symbols(name: str) -> str:
    """name with its symbols set as such: g_Na, tau_max, -V_T with subscript, letter, minus."""

    def typeset(match: re.Match) -> str:
        sign, base, below = match.groups()
        if base in GREEK.split():
            base = rf"\{base}"
        elif not sign and not below:
            return match[0]
        return f"${sign}{base}" + (f"_{{{below}}}$" if below else "$")

    return SYMBOL.sub(typeset, name)


def label(name: str, unit: str, separator: str = " ") -> str:
    return symbols(name) + (f"{separator}[{unit}]" if unit else "")


def inches(text: str, size: float) -> float:
    """The width of a text of that many points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="sans-serif", size=size)
    return TextPath((0, 0), text, prop=font).get_extents().width / 72 if text.strip() else 0.0


def short(value: float) -> str:
    """Three digits, or four of a thousand, with a true minus."""
    text = f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def patch(colour: str, text: str):
    from matplotlib.patches import Patch

    return Patch(color=colour, label=text, lw=0)


def line(colour: str, text: str, width: float = 1.0, marker: str | None = None, dashes="-"):
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, label=text, lw=width, ls=dashes, marker=marker, mec="white", mew=0.4
    )


def line_on(ground: str, *of):
    """A line for legends, as it looks on that colour."""
    from matplotlib.patheffects import Normal, Stroke

    handle = line(*of)
    handle.set_path_effects([Stroke(linewidth=5, foreground=ground), Normal()])
    handle.set_solid_capstyle("butt")
    return handle
