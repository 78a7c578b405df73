"""Docstrings of jaxsbi as reStructuredText: paragraphs, lists of "name: what it is", and code."""

from __future__ import annotations

import re

ITEM = re.compile(r"^([a-z_][\w, ]{0,40}): (?=\S)")


def process(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """For Sphinx's autodoc-process-docstring."""
    lines[:] = restructured(lines)


def shorten(app, what, name, obj, options, signature, returns):
    """For autodoc-process-signature: long defaults of records are left out."""
    if signature and what == "class" and len(signature) > 200:
        return "", ""
    return signature, returns


def restructured(lines: list[str]) -> list[str]:
    found: list[str] = []
    for block in _blocks(lines):
        if all(line.startswith("    ") for line in block):
            found += ["::", "", *block, ""]
        elif any(_starts(block)):
            found += [*_list(block), ""]
        else:
            found += [_inline(" ".join(line.strip() for line in block)), ""]
    return found


def _blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs: runs of lines that are not empty."""
    text = "\n".join(line.rstrip() for line in lines)
    return [block.split("\n") for block in re.split(r"\n{2,}", text.strip("\n")) if block]


def _starts(block: list[str]) -> list[bool]:
    """Which lines begin an item, "name: what it is", and not the rest of a sentence."""
    ended = [True, *(line.endswith((".", ":", ";", ")")) for line in block[:-1])]
    return [end and bool(ITEM.match(line)) for end, line in zip(ended, block, strict=True)]


def _list(block: list[str]) -> list[str]:
    """Items, each with its continuation; what stands before them is a paragraph."""
    items: list[str] = []
    for start, line in zip(_starts(block), block, strict=True):
        if start or not items:
            items.append(line.strip())
        else:
            items[-1] += " " + line.strip()
    written = []
    for item in items:
        head = ITEM.match(item)
        if head:
            written.append(f"- **{head[1]}**: {_inline(item[head.end() :])}")
        else:
            written += [_inline(item), ""]
    return written


def _inline(text: str) -> str:
    """`code` as literal; what reStructuredText would take for markup, as it stands."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is a character
        parts = [text.replace("`", "'")]
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part.strip()}``"
        else:
            parts[i] = re.sub(r"([\\*|])", r"\\\1", part)
            parts[i] = re.sub(r"(\w)_(?!\w)", r"\1\\_", parts[i])
    return _spaced(parts)


def _spaced(parts: list[str]) -> str:
    """Literals apart from letters that touch them, which reStructuredText would not close."""
    out = parts[0]
    for i, part in enumerate(parts[1:], start=1):
        touching = out[-1:].isalnum() if i % 2 else part[:1].isalnum()
        out += ("\\ " if touching else "") + part
    return out
