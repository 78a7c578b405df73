"""What a study was to show, and whether it did: a miss is told as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.report import Table, number


class Target(NamedTuple):
    """A number of the study and a bound of our own, set with the study's design.

    strict: the bound itself does not do.
    """

    what: str
    found: float
    bound: float
    at_most: bool = True
    strict: bool = False

    @property
    def met(self) -> bool:
        """Whether the bound holds; of a number that is undefined, it does not."""
        within = self.found <= self.bound if self.at_most else self.found >= self.bound
        return bool(within and not (self.strict and self.found == self.bound))

    @property
    def asked(self) -> str:
        signs = "<>" if self.strict else "≤≥"
        return f"{signs[0 if self.at_most else 1]} {number(self.bound)}"


def in_results(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """As results.json has them."""
    return [{**t._asdict(), "met": t.met} for t in targets]


def as_table(targets: Sequence[Target]) -> Table:
    """As the report has them."""
    rows = [(t.what, t.asked, number(t.found), "met" if t.met else "missed") for t in targets]
    return Table(("target", "set", "found", ""), rows, "What the study was to show.")
