"""Packages that come with an extra, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType


def needed(package: str, purpose: str, extra: str = "store") -> ModuleType:
    """The package; an ImportError that says how to get it, where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.split(".")[0]
        raise ImportError(
            f'{purpose} needs {name}, which is not installed: pip install "jaxsbi[{extra}]"'
        ) from error
