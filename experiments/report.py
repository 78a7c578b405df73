"""One self-contained HTML page of a study: what was asked, figures, numbers, how far to trust them.

Style sheet and figures are inside the page and a content security policy forbids any request; it
reads on a phone and prints. Text is escaped.
"""

import base64
import html
import os
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxsbi.plotting.canvas import symbols

TEMPLATE = "report.html.jinja"
POINT = 96 / 72  # CSS pixels
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
WIDE = 500  # CSS pixels; a wider figure scrolls on a phone instead of shrinking


@dataclass(frozen=True)
class Figure:
    """A picture that lies in a file, .svg or .png, and what is to be seen in it."""

    path: str | Path
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers under a header; numbers are written with four digits."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, then paragraphs, tables that sum it up, figures and tables, in this order."""

    heading: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = field(default=())
    tables: Sequence[Table] = field(default=())
    summary: Sequence[Table] = field(default=())


def write(
    path: str | Path,
    title: str,
    lead: str | Sequence[str],
    sections: Sequence[Section],
    footer: str = "",
    names: Sequence[str] = (),
) -> Path:
    """Write the page to `path` (whole or not at all) and return it.

    lead: one or several paragraphs under the title. names: parameters, whose names are set in text
    and tables as they are in figures. Raises ValueError for a figure that is not
    there or is neither SVG nor PNG, and for a table whose rows do not match its header.
    """
    import jinja2

    path = Path(path)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )
    environment.filters["text"] = _typesetter(names)
    page = environment.get_template(TEMPLATE).render(
        title=title,
        lead=[lead] if isinstance(lead, str) else list(lead),
        sections=[
            {
                "heading": section.heading,
                "paragraphs": list(section.paragraphs),
                "figures": [_figure(figure) for figure in section.figures],
                "tables": [_table(table) for table in section.tables],
                "summary": [_table(table) for table in section.summary],
            }
            for section in sections
        ],
        footer=footer,
    )
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)
    return path


def number(value: object) -> str:
    """A cell as text: four digits for a float, a true minus, an en dash for None and NaN."""
    if value is None or value != value:
        return "–"
    if not _is_number(value):
        return str(value)
    value = float(value)
    whole = abs(value) < 1e6 and value == int(value)
    mantissa, _, exponent = (str(int(value)) if whole else f"{value:.4g}").partition("e")
    if exponent:
        mantissa += " · 10" + str(int(exponent)).translate(SUPERSCRIPT)
    return mantissa.replace("-", "−").replace("inf", "∞")


def _typesetter(names: Sequence[str]) -> Callable[[str], str]:
    """Text as HTML: escaped, and of the given names g_Na as g with subscript, tau as τ."""
    from markupsafe import Markup, escape

    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    named = re.compile(rf"(?<![\w-])(?:{'|'.join(longest_first) or '(?!)'})(?!\w)")

    def html_of(match: re.Match) -> str:
        return re.sub(r"\$(-?)(\\?)(\w+?)(?:_\{(\w+)\})?\$", symbol, symbols(match[0]))

    def symbol(match: re.Match) -> str:
        sign, greek, base, below = match.groups()
        base = html.unescape(f"&{base};") if greek else base
        return ("−" if sign else "") + base + (f"<sub>{below}</sub>" if below else "")

    return lambda text: Markup(named.sub(html_of, str(escape(text))))


def _table(table: Table) -> dict:
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(
                f"table {table.caption or table.header[0]!r}: expected {len(table.header)} cells "
                f"in each row, came {len(row)}: {list(row)}"
            )
    numeric = [
        bool(table.rows) and all(_is_number(row[k]) for row in table.rows)
        for k in range(len(table.header))
    ]
    rows = [[number(cell) for cell in row] for row in table.rows]
    return {
        "header": list(table.header),
        "rows": rows,
        "caption": table.caption,
        "numeric": numeric,
    }


def _is_number(cell: object) -> bool:
    return cell is None or (hasattr(cell, "__float__") and not isinstance(cell, bool))


def _figure(figure: Figure) -> dict:
    path = Path(figure.path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"figure: expected a picture at {path}, came {error.strerror}") from error
    if content.startswith(b"\x89PNG\r\n"):
        kind, width = "png", _png_width(content)
    elif b"<svg" in content[:2000]:
        kind, width = "svg+xml", _svg_width(content)
    else:
        raise ValueError(f"figure: expected an SVG or PNG picture, came {path}")
    encoded = base64.b64encode(content).decode("ascii")
    return {
        "source": f"data:image/{kind};base64,{encoded}",
        "caption": figure.caption,
        "width": round(width),
        "wide": width > WIDE,
    }


def _png_width(content: bytes) -> float:
    pixels = struct.unpack(">I", content[16:20])[0]
    at = content.find(b"pHYs")
    per_metre = struct.unpack(">I", content[at + 4 : at + 8])[0] if at > 0 else 96 / 0.0254
    return pixels / per_metre / 0.0254 * 96


def _svg_width(content: bytes) -> float:
    found = re.search(rb'<svg[^>]*?\swidth="([\d.]+)pt"', content)
    return float(found[1]) * POINT if found else 672.0
