"""What a user sees of the rounds: a table on a terminal, plain lines elsewhere."""

import io

import pytest

from jaxsbi.ledger import Ledger, Round
from jaxsbi.progress import Reporter

ROUND = Round(
    drawn=1200, valid=1100, used=2100, simulate_seconds=1.0, compile_seconds=2.0,
    train_seconds=3.5, compilations=4, best_epoch=7, best_loss=-1.25, effective=1900.4,
    acceptance=0.125, lost=0.004, validation_losses=(0.0, -1.25),
)  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "columns"),
    [(Terminal(), "120"), (io.StringIO(), "80"), (io.StringIO(), "20")],
    ids=["terminal", "file", "narrow"],
)
def test_every_round_is_told_with_its_numbers(stream, columns, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    with Reporter(stream) as reporter:
        reporter.update("train", 0.5, "epoch 3")
        for number in (1, 2):
            reporter.row(ROUND.cells(number))
    text = stream.getvalue()
    for value in ("1,200", "1,100", "2,100", "1,900", "0.125", "-1.250", "6.5"):
        assert value in text
    if not stream.isatty():
        assert text.splitlines() == [
            ", ".join(f"{name} {value}" for name, value in ROUND.cells(number).items())
            for number in (1, 2)
        ]


def test_the_ledger_tells_what_was_weighed_restricted_and_lost():
    text = str(Ledger("snpe_b", (ROUND,)))
    assert "effective 1,900" in text
    assert "acceptance 0.125" in text
    assert "lost 0.4 % of the valid" in text
    assert Ledger.from_dict(Ledger("x", (ROUND,)).to_dict())[0] == ROUND
