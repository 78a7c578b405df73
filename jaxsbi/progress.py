"""Progress: a live table and bars on a terminal, plain lines elsewhere, nothing where nobody asked.

Also the deferred Ctrl-C: long loops ask between compiled slices whether the user wants to stop.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

SECONDS_BETWEEN_LINES = 10.0


class Reporter:
    """One bar per stage and one row per round on a terminal; elsewhere a line where one ends.

    Use as a context manager; `update(stage, fraction, detail)` between compiled slices,
    `row(cells)` when a round is done.
    """

    def __init__(self, stream: Any = None):
        self._console = Console(file=stream or sys.stderr)
        self._bars: Progress | None = None
        self._table: Table | None = None
        self._live: Live | None = None
        self._tasks: dict[str, Any] = {}
        self._last_line: dict[str, float] = {}

    def __enter__(self) -> Reporter:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description:>9}"),
                BarColumn(bar_width=30),
                TimeElapsedColumn(),
                TextColumn("{task.fields[detail]}"),
            )
            self._bars = Progress(*columns, console=self._console)
            self._live = Live(self._bars, console=self._console)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, stage: str, fraction: float, detail: str) -> None:
        """State how far a stage is, 0 to 1, and in words."""
        if self._bars is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=1.0, detail="")
            self._bars.update(self._tasks[stage], completed=fraction, detail=detail)
            return
        now = time.monotonic()
        last = self._last_line.setdefault(stage, now)
        if fraction >= 1 or now - last >= SECONDS_BETWEEN_LINES:
            self._last_line[stage] = now
            self._line(f"{stage}: {detail}")

    def row(self, cells: dict[str, str]) -> None:
        """One row more of the table whose columns the first row names."""
        if self._live is None:
            self._line(", ".join(f"{name} {value}" for name, value in cells.items()))
            return
        if self._table is None:
            self._table = Table(*cells, box=None, header_style="bold")
            self._live.update(Group(self._table, self._bars))
        self._table.add_row(*cells.values())
        self._live.refresh()

    def say(self, text: str) -> None:
        """One line, once."""
        self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class _Quiet(Reporter):
    def __enter__(self) -> Reporter:
        return self

    def update(self, stage: str, fraction: float, detail: str) -> None:
        pass

    def row(self, cells: dict[str, str]) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def quiet() -> Reporter:
    """A reporter that says nothing."""
    return _Quiet()


class Interrupt:
    """Whether Ctrl-C was pressed since the loop began, and whether the system asked it to end."""

    requested = False
    terminated = False


@contextmanager
def deferred_interrupt(terminable: bool = False) -> Iterator[Interrupt]:
    """Within the block the first Ctrl-C only sets `requested`; the second one raises.

    terminable: so does SIGTERM, which sets `terminated` too and is raised as SystemExit behind the
    block. Outside the main thread, where signals cannot be caught, nothing is ever set.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def on_signal(number: int, frame: object) -> None:
        if number == signal.SIGTERM:
            interrupt.terminated = True
        elif interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM) if terminable else (signal.SIGINT,)
    previous = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield interrupt
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
    if interrupt.terminated:
        raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def termination() -> Iterator[None]:
    """Within the block SIGTERM is raised as SystemExit, so that what is done is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
