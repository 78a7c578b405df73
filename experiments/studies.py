"""Which studies there are: what each asks, the figure it repeats, what each of its presets costs.

A study is a module of this package with `Options`, a NamedTuple of what may be asked of it beside
preset and seed; `folder_name(preset, seed, options)`; and `run(preset, seed, out, options)`. It is
imported when it is run: what is said here is said without JAX.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from experiments.arguments import count, positive

PRESETS = {
    "smoke": "seconds, for tests",
    "laptop": "minutes on two cores, the default",
    "overnight": "hours on two cores",
    "gpu": "meant for under 8 minutes on one H200",
    "paper": "as many simulations as in the paper",
}
DEFAULT = "laptop"


AIM = "aim: 8 min"


class Cost(NamedTuple):
    """What a preset asks for: simulations, wall time and memory; – where it was not measured.

    ≈: not measured, but estimated as NOTE says, learning left out; AIM: not measured at all.
    """

    simulations: str
    time: str = "–"
    memory: str = "–"


@dataclass(frozen=True)
class Study:
    """An entry of the table of contents; options: flags and what argparse is told of each."""

    name: str
    figure: str
    asks: str
    costs: Mapping[str, Cost]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(f"experiments.{self.name}")

    def chosen(self, given: Namespace) -> NamedTuple:
        """The options of its own among the arguments of a command line."""
        kind = self.module.Options
        return kind(**{name: getattr(given, name) for name in kind._fields})


RECORDING = {
    "--cell": {
        "type": Path,
        "metavar": "FILE",
        "help": "a recording to infer instead: .npz, or .nwb of the Allen Cell Types Database",
    },
    "--sweep": {
        "type": count(0),
        "metavar": "N",
        "help": "sweep of the recording, if it has many",
    },
    "--soma-area": {
        "type": positive,
        "metavar": "CM²",
        "help": "area of the recorded soma [cm²], if the file has none",
    },
    "--download": {
        "type": count(1),
        "metavar": "CELL_ID",
        "help": "fetch this cell of the Allen Cell Types Database and infer it",
    },
    "--all-cells": {
        "action": "store_true",
        "help": "all six recorded cells instead of one",
    },
    "--data": {
        "metavar": "DIR",
        "help": "folder of recordings (default: JAXSBI_DATA); with it the default cell is drawn "
        "with its recorded trace, and downloads are kept there",
    },
}

RHYTHM = {
    "metavar": "DIR",
    "help": "folder of recordings (default: JAXSBI_DATA) with stg/experimental_features.csv; "
    "without it the rhythm is that of a simulated circuit",
}

ALL = (
    Study(
        "glm",
        "2",
        "Ten parameters of a linear–nonlinear neuron (fig. 2), against its exact posterior.",
        {
            "smoke": Cost("1,000", "1 min", "1.5 GB"),
            "laptop": Cost("2,064,000", "18 min", "2.8 GB"),
            "gpu": Cost("20,644,000", AIM),
            "paper": Cost("2,030,000", "≈ 1 s +"),
        },
    ),
    Study(
        "gabor",
        "2",
        "Nine parameters of a receptive field from a spike-triggered average (fig. 2).",
        {
            "smoke": Cost("400", "1 min", "0.6 GB"),
            "laptop": Cost("20,000", "12 min", "4.3 GB"),
            "gpu": Cost("200,000", AIM),
            "paper": Cost("20,000", "≈ 9 s +"),
        },
        {
            "--cell": {
                "type": count(1, 6),
                "default": 6,
                "metavar": "N",
                "help": "which of the paper's six cells (default 6, that of the figure)",
            },
        },
    ),
    Study(
        "channels",
        "3",
        "Eight parameters of any potassium channel from its currents: one posterior for all.",
        {
            "smoke": Cost("200", "2 min", "1.5 GB"),
            "laptop": Cost("50,000", "19 min", "3.0 GB"),
            "gpu": Cost("500,000", AIM),
            "paper": Cost("1,000,000", "≈ 3.3 h +"),
        },
        {
            "--data": {
                "metavar": "DIR",
                "help": "folder with channels/omnimodel_fits.npz (default: JAXSBI_DATA); without "
                "it, channels are drawn from the prior",
            },
        },
    ),
    Study(
        "hodgkin_huxley",
        "4",
        "Eight parameters of a Hodgkin–Huxley neuron (fig. 4): a synthetic one and a recorded one.",
        {
            "smoke": Cost("1,200", "1 min"),
            "laptop": Cost("76,000", "4 min", "2.3 GB"),
            "gpu": Cost("1,350,000", AIM),
            "paper": Cost("350,000", "≈ 24 s +"),
        },
        RECORDING,
    ),
    Study(
        "hodgkin_huxley_features",
        "4",
        "The same synthetic neuron from seven, four and one feature; against a genetic algorithm.",
        {
            "smoke": Cost("500"),
            "laptop": Cost("30,000", "3 min", "1.6 GB"),
            "gpu": Cost("1,000,000", AIM),
            "paper": Cost("100,000", "≈ 7 s +"),
        },
        {
            "--evolution": {
                "action": "store_true",
                "help": "compare with a genetic algorithm (IBEA, extra `evolution`) at as many "
                "simulations",
            },
        },
    ),
    Study(
        "hodgkin_huxley_cells",
        "4",
        "Six recorded cells by one density, which sees the current that each was given.",
        {
            "smoke": Cost("400", "1 min", "1.5 GB"),
            "laptop": Cost("60,000", "4 min", "1.5 GB"),
            "gpu": Cost("500,000", AIM),
        },
        {
            "--data": {
                "metavar": "DIR",
                "help": "folder of recordings (default: JAXSBI_DATA), drawn beside simulations",
            },
        },
    ),
    Study(
        "stg",
        "5",
        "31 conductances of the crab's pyloric circuit from a recorded rhythm (fig. 5).",
        {
            "smoke": Cost("96", "1 min", "1.8 GB"),
            "laptop": Cost("10,000", "11 min", "2.2 GB"),
            "overnight": Cost("100,000", "≈ 48 min +"),
            "gpu": Cost("4,000,000", AIM),
            "paper": Cost("18,500,000", "≈ 6.2 d +"),
        },
        {"--data": RHYTHM},
    ),
    Study(
        "compensation",
        "6",
        "Which conductances of the pyloric circuit make up for each other (fig. 6).",
        {
            "smoke": Cost("128", "1 min", "1.8 GB"),
            "laptop": Cost("12,000", "22 min", "2.1 GB"),
            "overnight": Cost("108,000", "≈ 52 min +"),
            "gpu": Cost("4,020,000", AIM),
            "paper": Cost("18,520,000", "≈ 6.2 d +"),
        },
        {
            "--posterior": {
                "type": Path,
                "metavar": "DIR",
                "help": "a finished run of the study stg, whose posterior is taken; without it one "
                "is inferred as there",
            },
            "--data": RHYTHM,
        },
    ),
    Study(
        "own_model",
        "–",
        "A template: a differential equation, a prior and a recording of your own.",
        {
            "smoke": Cost("500", "1 min", "1.1 GB"),
            "laptop": Cost("10,000", "2 min", "1.4 GB"),
            "gpu": Cost("1,000,000", AIM),
        },
        {
            "--recording": {
                "type": Path,
                "metavar": "FILE",
                "help": "30 voltages [mV], one a line, instead of a recording that is made up",
            },
        },
    ),
)
STUDIES = {study.name: study for study in ALL}


HEADER = ("study", "figure", "preset", "simulations", "time", "memory")
NOTE = (
    "≈ … +: not measured; the simulations alone, estimated from the milliseconds of each on two\n"
    "cores in benchmarks/results; learning and checks come on top. aim: neither measured nor\n"
    "estimated. All other times and memories were measured on two cores."
)


def contents() -> str:
    """The studies as a table, a row for each preset, and how its times are known."""
    rows = [HEADER]
    for study in ALL:
        names = [(study.name, study.figure), *[("", "")] * (len(study.costs) - 1)]
        costs = [(preset, *cost) for preset, cost in study.costs.items()]
        rows += [(*name, *cost) for name, cost in zip(names, costs, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{'>' if i > 2 else '<'}{width}}}" for i, width in enumerate(widths))
    return "\n".join([*(line.format(*row).rstrip() for row in rows), "", NOTE])
