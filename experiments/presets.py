"""What tells the runs of two configurations apart, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import jaxsbi


def settings_of(config: Any) -> dict[str, Any]:
    """The fields of a dataclass: trainings, densities and algorithms as what they are made of."""
    return {f.name: _plain(getattr(config, f.name)) for f in fields(config)}


def _plain(value: Any) -> Any:
    if isinstance(value, jaxsbi.Training):
        return {f.name: getattr(value, f.name) for f in fields(value) if f.name != "optimizer"}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value.spec() if hasattr(value, "spec") else value
