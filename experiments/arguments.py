"""Arguments of a command line, each checked where it comes in, each mistake told in one line."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

LONGEST, LONGEST_PATH = 60, 200
NO_CACHE = "do not keep compiled programs in the user's cache folder"


class Parser(argparse.ArgumentParser):
    """Raises ValueError with one line that names the argument, what was expected and what came."""

    def __init__(self, **kwargs: str):
        super().__init__(allow_abbrev=False, **kwargs)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        found, unknown = self.parse_known_args(_joined(arguments))
        if unknown:
            known = ", ".join(self._option_string_actions)
            self.error(f"{_shown(unknown[0])}: expected options among {known}, came another")
        return found

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace(
            "expected one argument", "expected a value after it, came none"
        )
        raise ValueError(f"{message}; {self.prog} --help tells what there is")


def one_of(*names: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(
                f"expected one of {', '.join(names)}, came {_shown(text)}"
            )
        return text

    return convert


def count(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
            if value < low or (high is not None and value > high):
                raise ValueError
        except ValueError:
            range_ = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(
                f"expected a whole number {range_}, came {_shown(text)}"
            ) from None
        return value

    return convert


def positive(text: str) -> float:
    try:
        value = float(text)
        if not (math.isfinite(value) and value > 0):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number above 0, came {_shown(text)}"
        ) from None
    return value


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--option -1e-4` as `--option=-1e-4`: argparse takes such numbers for options."""
    joined: list[str] = []
    for argument in arguments:
        follows = joined and re.fullmatch(r"--[\w-]+", joined[-1])
        if follows and re.match(r"-\.?\d", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def why(error: OSError) -> str:
    """What the system says, and of which file, where that is not of a name too long to tell."""
    said, file = error.strerror or str(error), str(error.filename or "")
    return f"{said}: {file}" if 0 < len(file) <= LONGEST_PATH else said


def cut(path: object) -> str:
    """The name of a file or a folder, its middle left out where it is too long to tell."""
    name = str(path)
    return name if len(name) <= LONGEST_PATH else f"{name[:LONGEST]}…{name[-LONGEST:]}"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r} and so on"
