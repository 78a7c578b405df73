"""The page: 7 inches wide, one style sheet, Okabe and Ito's colours, labels "name [unit]"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxsbi.extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = Path(__file__).parents[1] / "jaxsbi.mplstyle"
PAGE = 7.0  # inches
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


def figure_of(width: float, height: float, **kwargs) -> Figure:
    """A figure of that size [inch] that no global state refers to."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **kwargs)


def grid(count: int, height: float, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """`count` panels, four in a row, each row `height` inches; (figure, axes)."""
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = figure_of(max(3.4, PAGE * columns / 4), 0.45 + rows * height, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for axis in axes[count:]:
        axis.remove()
    return figure, list(axes[:count])


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


def patch(colour: str, text: str):
    from matplotlib.patches import Patch

    return Patch(color=colour, label=text, lw=0)


def line(colour: str, text: str, width: float = 1.0, marker: str | None = None, dashes="-"):
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, label=text, lw=width, ls=dashes, marker=marker, mec="white", mew=0.4
    )


def matrix(name: str, values, columns: int) -> np.ndarray:
    """values as finite float64 (n, columns); ValueError naming the argument otherwise."""
    values = np.asarray(values, float)
    if values.ndim != 2 or values.shape[1] != columns or values.shape[0] < 1:
        raise ValueError(f"{name}: expected shape (n, {columns}), came {values.shape}")
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise ValueError(
            f"{name}: expected finite numbers, came {bad.sum()} of {len(values)} rows that are not"
        )
    return values


def texts(name: str, values: Sequence[str], count: int) -> list[str]:
    values = list(values)
    if len(values) != count:
        raise ValueError(f"{name}: expected {count}, came {len(values)}: {values}")
    return values
