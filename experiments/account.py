"""The last section of every report: command, settings, trainings, machine and times of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from experiments import report
from experiments.runs import Run, machine, versions
from jaxsbi.posteriors import Posterior


def what_was_done(
    run: Run,
    command: str,
    how: Sequence[tuple[str, str]],
    trained: Sequence[tuple[str, Posterior, int]],
    loss: str = "−log q in z",
    deviations: Mapping[str, str] = MappingProxyType({}),
) -> report.Section:
    """how: rows of the settings; trained: what was inferred, its posterior, its most epochs.

    deviations: by preset, what it does otherwise than its name says.
    """
    where = machine()
    rows = [
        ("command", command),
        *how,
        ("total time", f"{run.seconds:.0f} s, {_share_compiled(run)} of it compilation"),
        ("machine", f"{where['processor']}; {where['cores']} cores; {where['device']}"),
        ("versions", ", ".join(f"{name} {found}" for name, found in versions().items())),
    ]
    stages = [
        (name, stage["compile_s"], stage["run_s"], stage["compile_s"] + stage["run_s"])
        for name, stage in run.stages.items()
    ]
    return report.Section(
        "What was done",
        [told for preset, told in deviations.items() if preset == run.settings["preset"]],
        tables=[
            report.Table(("run", ""), rows),
            report.Table(
                ("observation", "simulated", "valid", "used", "epochs", "best loss"),
                [_trained(*each) for each in trained],
                caption="Simulations, and the lowest validation loss of the last training [nats]: "
                f"{loss}.",
            ),
            report.Table(("stage", "compile [s]", "run [s]", "total [s]"), stages),
        ],
    )


def said(settings: Mapping[str, Any]) -> str:
    """name, key value, … of a dictionary of settings, what is absent left out."""
    words = [settings["name"]] if "name" in settings else []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words.append(f"{key.replace('_', ' ')} ({said(value)})")
        elif key != "name" and value is not None:
            each = value if isinstance(value, list | tuple) else [value]
            words.append(f"{key.replace('_', ' ')} {', '.join(map(report.number, each))}")
    return "; ".join(words)


def _trained(title: str, posterior: Posterior, most_epochs: int) -> tuple[object, ...]:
    rounds = posterior.history.rounds
    last = rounds[-1]
    counts = (sum(r.drawn for r in rounds), sum(r.valid for r in rounds), last.used)
    ended = " (interrupted)" if last.interrupted else ""
    epochs = f"{last.epochs} of at most {most_epochs}{ended}"
    return title, *map(float, counts), epochs, last.best_loss


def _share_compiled(run: Run) -> str:
    compiled = sum(stage["compile_s"] for stage in run.stages.values())
    return f"{100 * compiled / max(run.seconds, 1e-9):.0f} %"
