"""`jaxsbi`, or `python -m jaxsbi`: simulate, train, sample, diagnose, inspect.

Results go to standard output, progress to standard error. Exit status: 0; 2 for what users get
wrong, in one line; 130 for Ctrl-C and 143 for SIGTERM, with the command that goes on or begins
again.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from jaxsbi.extras import needed


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "JAXSBI_TRACEBACK" in os.environ
    try:
        CycloptsError = needed("cyclopts", "store", "the command").CycloptsError
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    warnings.showwarning = _warn
    goes_on = as_json = False
    try:
        from jaxsbi.commands import KEEPING, app, setup

        setup()
        command, given, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        goes_on, as_json = command in KEEPING, given.arguments.get("json", False)
        result = command(*given.args, **given.kwargs)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        if debug:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted(arguments, goes_on, signal.SIGINT)
    except SystemExit as ended:
        if ended.code != 128 + signal.SIGTERM:
            raise
        return _interrupted(arguments, goes_on, signal.SIGTERM)
    if isinstance(result, dict):
        print(json.dumps(result) if as_json else _readable(result))
    return 0


def _interrupted(arguments: Sequence[str], goes_on: bool, number: int) -> int:
    command = shlex.join(["jaxsbi", *arguments])
    hint = "what is done is kept; this goes on" if goes_on else "this begins again"
    print(f"interrupted: {hint}: {command}", file=sys.stderr)
    return 128 + number


def _warn(message: Any, *_: Any, **__: Any) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _readable(value: Any, indent: int = 0) -> str:
    """A tree of results as indented lines."""
    lines = []
    entries = value.items() if isinstance(value, dict) else enumerate(value, 1)
    width = max((len(str(name)) for name, _ in entries), default=0)
    for name, entry in value.items() if isinstance(value, dict) else enumerate(value, 1):
        start = (
            f"{' ' * indent}{name:<{width}}" if isinstance(name, str) else f"{' ' * indent}{name}"
        )
        nested = isinstance(entry, dict) or (
            isinstance(entry, list) and any(isinstance(e, dict | list) for e in entry)
        )
        if nested and entry:
            lines.append(f"{start.rstrip()}\n{_readable(entry, indent + 2)}")
        else:
            lines.append(f"{start}  {_shown(entry)}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
