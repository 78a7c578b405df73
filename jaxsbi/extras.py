"""Extras: packages that only some functions need, imported when they are called."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def needed(module: str, extra: str, purpose: str) -> ModuleType:
    """The module; an ImportError in one line that says what needs it and how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{package} is needed for {purpose}, and not installed: pip install 'jaxsbi[{extra}]'"
        ) from error
