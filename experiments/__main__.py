"""`python -m experiments STUDY --preset … --out DIR --seed N`: every study by one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.arguments import NO_CACHE, Parser, count, cut, one_of, positive, why

PRESETS = {
    "smoke": "seconds, for tests",
    "laptop": "minutes on two cores, the default",
    "gpu": "under 8 minutes on one H200",
    "paper": "as many simulations as in the paper",
}
SEEDS = 2**32  # jax.random.key takes a seed modulo this


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 2 for bad input, 130 for Ctrl-C, with one line on standard error."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    top = Parser(
        prog="python -m experiments",
        description="The studies of Gonçalves et al. 2020 (eLife 9:e56261), each by one command.",
    )
    top.add_argument(
        "study",
        metavar="STUDY",
        type=one_of(*STUDIES),
        help=f"{', '.join(STUDIES)}: see its --help",
    )
    top.add_argument("options", metavar="…", nargs=argparse.REMAINDER, help="options of the study")
    if not arguments:
        top.print_help()
        return 2
    try:
        chosen = top.parse(arguments)
        STUDIES[chosen.study](chosen.options)
    except (ValueError, OSError) as error:
        if "JAXSBI_TRACEBACK" in os.environ:
            raise
        said = str(error)
        if isinstance(error, OSError):
            said = (
                f"{why(error)}; what is finished is kept: mend that, and the same command goes on"
            )
        print(f"error: {' '.join(said.split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept; the same command goes on", file=sys.stderr)
        return 130
    return 0


def hodgkin_huxley(arguments: Sequence[str]) -> None:
    """Eight parameters of a Hodgkin–Huxley neuron (fig. 4): a synthetic one and a recorded one."""
    parser = _parser("hodgkin_huxley", hodgkin_huxley.__doc__)
    add = parser.add_argument
    add(
        "--cell",
        type=Path,
        metavar="FILE",
        help="a recording to infer instead: .npz, or .nwb of the Allen Cell Types Database",
    )
    add("--sweep", type=count(0), metavar="N", help="sweep of the recording, if it has many")
    add(
        "--soma-area",
        type=positive,
        metavar="CM²",
        help="area of the recorded soma [cm²], if the file has none",
    )
    add(
        "--download",
        type=count(1),
        metavar="CELL_ID",
        help="fetch this cell of the Allen Cell Types Database and infer it",
    )
    add("--all-cells", action="store_true", help="all six recorded cells instead of one")
    add(
        "--data",
        metavar="DIR",
        help="folder of recordings (default: JAXSBI_DATA); with it the "
        "default cell is drawn with its recorded trace, and downloads are kept there",
    )
    chosen = parser.parse(arguments)
    data = _data(chosen.data, may_be_new=chosen.download is not None)
    _start(chosen.cache)
    from experiments import hodgkin_huxley as study

    options = study.Options(
        chosen.cell, chosen.sweep, chosen.soma_area, chosen.download, data, chosen.all_cells
    )
    out = chosen.out or Path("runs") / study.folder_name(chosen.preset, chosen.seed, options)
    study.run(chosen.preset, chosen.seed, out, options)


STUDIES = {"hodgkin_huxley": hodgkin_huxley}


def _parser(study: str, description: str) -> Parser:
    """The options that all studies share."""
    parser = Parser(prog=f"python -m experiments {study}", description=description)
    add = parser.add_argument
    add(
        "--preset",
        type=one_of(*PRESETS),
        default="laptop",
        metavar="NAME",
        help="; ".join(f"{name}: {size}" for name, size in PRESETS.items()),
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


def _start(cache: bool) -> None:
    from jaxsbi.compilation import keep_compilations

    if cache:
        keep_compilations()


if __name__ == "__main__":
    sys.exit(main())
