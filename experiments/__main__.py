"""`python -m experiments STUDY --preset … --out DIR --seed N`: every study by one command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The studies of Gonçalves et al. 2020 (eLife 9:e56261), each by one command.",
)


class Preset(StrEnum):
    """How large a study is."""

    smoke = "smoke"
    laptop = "laptop"
    gpu = "gpu"
    paper = "paper"


PresetOption = Annotated[
    Preset,
    typer.Option(
        help="smoke: seconds, for tests; laptop: minutes on two cores; gpu: under 8 minutes on "
        "one H200; paper: the paper's budget."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the run; taken up again if it is the same run, else refused."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of every random number.")]
CacheOption = Annotated[
    bool, typer.Option(help="Keep compiled programs in the user's cache folder.")
]


@app.callback()
def main() -> None:
    """The studies of Gonçalves et al. 2020 (eLife 9:e56261), each by one command."""


@app.command("hodgkin_huxley")
def hodgkin_huxley(
    preset: PresetOption = Preset.laptop,
    out: OutOption = None,
    seed: SeedOption = 0,
    cell: Annotated[
        Path | None,
        typer.Option(help="A recording to infer instead: .npz, or .nwb of the Allen Cell Types."),
    ] = None,
    sweep: Annotated[int | None, typer.Option(help="Sweep of the recording, if it has many.")] = (
        None
    ),
    soma_area: Annotated[
        float | None, typer.Option(help="Area of the recorded soma [cm²], if the file has none.")
    ] = None,
    download: Annotated[
        int | None,
        typer.Option(help="Fetch this cell of the Allen Cell Types Database and infer it."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of recordings (default: JAXSBI_DATA); with it the default cell is drawn "
            "with its recorded trace, and downloads are kept there."
        ),
    ] = None,
    all_cells: Annotated[
        bool, typer.Option("--all-cells", help="All six recorded cells instead of one.")
    ] = False,
    cache: CacheOption = True,
) -> None:
    """Eight parameters of a Hodgkin–Huxley neuron (fig. 4): a synthetic one and a recorded one."""
    with _in_one_line():
        from experiments import hodgkin_huxley as study

        if data is None and "JAXSBI_DATA" in os.environ:
            data = Path(os.environ["JAXSBI_DATA"])
        options = study.Options(cell, sweep, soma_area, download, data, all_cells)
        _start(cache)
        folder = out or Path("runs") / study.folder_name(preset.value, seed, options)
        study.run(preset.value, seed, folder, options)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Bad input as one line and status 2, Ctrl-C as one line and status 130: no traceback."""
    try:
        yield
    except ValueError as error:
        if "JAXSBI_TRACEBACK" in os.environ:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept; the same command goes on", file=sys.stderr)
        raise typer.Exit(130) from None


def _start(cache: bool) -> None:
    from jaxsbi.compilation import keep_compilations

    if cache:
        keep_compilations()


if __name__ == "__main__":
    app()
