"""`python -m experiments STUDY --preset … --out DIR --seed N`: every study by one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from experiments.arguments import NO_CACHE, Parser, count, cut, one_of, why
from experiments.studies import ALL, DEFAULT, PRESETS, STUDIES, Study, contents

SEEDS = 2**32  # jax.random.key takes a seed modulo this
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM, told in one line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    top = Parser(
        prog="python -m experiments",
        description="The studies of Gonçalves et al. 2020 (eLife 9:e56261), each by one command.",
    )
    add = top.add_argument
    add("--list", action="store_true", help="what there is: figures, budgets, times, memory")
    add(
        "study",
        metavar="STUDY",
        nargs="?",
        type=one_of(*STUDIES, "all"),
        help=f"{', '.join(STUDIES)}, or all of them: see its --help",
    )
    add("options", metavar="…", nargs=argparse.REMAINDER, help="options of the study")
    if not arguments:
        top.print_help()
        return BAD_INPUT

    def run() -> int | None:
        chosen = top.parse(arguments)
        if chosen.list:
            return print(contents())
        if chosen.study is None:
            top.error("STUDY: expected one of " + ", ".join((*STUDIES, "all")) + ", came none")
        if chosen.study == "all":
            return start_all(chosen.options)
        return start(STUDIES[chosen.study], chosen.options)

    return _status(run)


def _status(run: Callable[[], int | None]) -> int:
    """What `run` returns, 0 for nothing; one line and a status of its own where it fails."""
    try:
        return run() or 0
    except (ValueError, OSError) as error:
        if "JAXSBI_TRACEBACK" in os.environ:
            raise
        said = str(error)
        if isinstance(error, OSError):
            said = (
                f"{why(error)}; what is finished is kept: mend that, and the same command goes on"
            )
        print(f"error: {' '.join(said.split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return _ended(INTERRUPTED)
    except SystemExit as ended:
        if ended.code != TERMINATED:
            raise
        return _ended(TERMINATED)


def _ended(status: int) -> int:
    print("interrupted: what is finished is kept; the same command goes on", file=sys.stderr)
    return status


def start(study: Study, arguments: Sequence[str]) -> None:
    """Run one study as its arguments say."""
    given = parser_of(study).parse(arguments)
    if "data" in given:
        given.data = _data(given.data, may_be_new=getattr(given, "download", None) is not None)
    if given.cache:
        from jaxsbi.compilation import keep_compilations

        keep_compilations()
    options, module = study.chosen(given), study.module
    name = module.folder_name(given.preset, given.seed, options)
    module.run(given.preset, given.seed, given.out or Path("runs") / name, options)


def start_all(arguments: Sequence[str]) -> int:
    """Run every study in turn, each in a folder of its own; the worst of their exit statuses."""
    parser = _shared("all", "Every study that has the preset, one after the other.", PRESETS)
    given = parser.parse(arguments)
    worst = 0
    for study in ALL:
        if given.preset not in study.costs:
            others = ", ".join(study.costs)
            print(f"== {study.name}: skipped, has no preset {given.preset} ({others})", flush=True)
            continue
        print(f"== {study.name}", flush=True)
        words = ["--preset", given.preset, "--seed", str(given.seed)]
        words += ["--out", str(given.out / study.name)] if given.out else []
        words += [] if given.cache else ["--no-cache"]
        worst = max(worst, _status(partial(start, study, words)))
        if worst >= INTERRUPTED:
            break
    return worst


def parser_of(study: Study) -> Parser:
    """Of the options that all studies share, and of those that are the study's own."""
    parser = _shared(study.name, study.asks, study.costs)
    for flag, told in study.options.items():
        parser.add_argument(flag, **told)
    return parser


def _shared(study: str, description: str, presets: Iterable[str]) -> Parser:
    parser = Parser(prog=f"python -m experiments {study}", description=description)
    add = parser.add_argument
    add(
        "--preset",
        type=one_of(*presets),
        default=DEFAULT,
        metavar="NAME",
        help="; ".join(f"{name}: {PRESETS[name]}" for name in presets),
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the run; taken up again if it is the same run, else refused",
    )
    add(
        "--seed",
        type=count(0, SEEDS - 1),
        default=0,
        metavar="N",
        help="seed of every random number (default 0)",
    )
    add("--no-cache", dest="cache", action="store_false", help=NO_CACHE)
    return parser


def _data(given: str | None, may_be_new: bool) -> Path | None:
    """The folder of recordings that the option or, without it, JAXSBI_DATA names."""
    name = "JAXSBI_DATA" if given is None else "--data"
    given = (os.environ.get("JAXSBI_DATA") or None) if given is None else given
    if given is None:
        return None
    try:
        flaw = None if given and (may_be_new or Path(given).is_dir()) else "there is none"
    except OSError as error:
        flaw = error.strerror
    if flaw:
        raise ValueError(
            f"{name}: expected a folder of recordings, came {cut(given)!r} ({flaw}); name another, "
            "or leave it out"
        )
    return Path(given)


if __name__ == "__main__":
    sys.exit(main())
