"""Kinds of options that the commands take, and what is told of one that is not of its kind."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

SEEDS = 2**32  # jax.random.key takes a seed modulo this


def _count(_: Any, tokens: Any) -> int:
    """A whole number, 1e6 among them."""
    text = tokens[0].value
    try:
        value = float(text)
        if value != int(value) or not 0 <= value < 2**53:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"expected a whole number such as 5000 or 1e6, came {text!r}") from None
    return int(value)


def _seed(kind: Any, tokens: Any) -> int:
    value = _count(kind, tokens)
    if value >= SEEDS:
        raise ValueError(f"expected a seed below {SEEDS}, came {value}")
    return value


Seed = Annotated[int, Parameter(converter=_seed)]
Count = Annotated[int, Parameter(converter=_count)]
Flag = Annotated[bool, Parameter(negative="")]


def chosen(option: str, name: str, known: dict[str, Any]) -> Any:
    """What is known by a name."""
    if name not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}, got {name!r}")
    return known[name]
