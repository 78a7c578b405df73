"""The ledger of an inference: what every round drew, used, took and reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Round:
    """One round: rows drawn in it, rows valid among them, rows its training used; times [s].

    effective: the effective sample size of the rows used, (Σw)² / Σw² of their weights.
    acceptance: share of the proposal's candidates that lay in the set to which it is restricted.
    lost: share of the held-out valid rows that the learned model of failures would leave out.
    compilations: programs compiled for its simulation and its training, small ones included.
    Losses are means per row, one number per epoch: of −log q(z | x) [nats], unless the algorithm or
    the estimator trains on something else.
    """

    drawn: int
    valid: int
    used: int
    simulate_seconds: float
    compile_seconds: float
    train_seconds: float
    compilations: int
    best_epoch: int
    best_loss: float
    interrupted: bool = False
    effective: float = float("nan")
    acceptance: float = 1.0
    lost: float = 0.0
    training_losses: tuple[float, ...] = field(default=(), repr=False)
    validation_losses: tuple[float, ...] = field(default=(), repr=False)

    @property
    def epochs(self) -> int:
        return len(self.validation_losses)

    def cells(self, number: int) -> dict[str, str]:
        """Round `number`, from 1, as the words of a table's row."""
        seconds = self.simulate_seconds + self.compile_seconds + self.train_seconds
        return {
            "round": f"{number}",
            "drawn": f"{self.drawn:,}",
            "valid": f"{self.valid:,}",
            "used": f"{self.used:,}",
            "effective": f"{self.effective:,.0f}",
            "acceptance": f"{self.acceptance:.3g}",
            "epochs": f"{self.epochs}",
            "loss": f"{self.best_loss:.3f}",
            "seconds": f"{seconds:.1f}",
        }


@dataclass(frozen=True, eq=False)
class Ledger:
    """The rounds of one inference, in order.

    A label on a posterior, which no number depends on: all ledgers are equal, so that posteriors
    that differ in nothing else can be stacked and share a compilation. What comes out of a stack,
    or of a compiled function, carries the first one's.
    """

    algorithm: str
    rounds: tuple[Round, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger)

    def __hash__(self) -> int:
        return hash(Ledger)

    def __len__(self) -> int:
        return len(self.rounds)

    def __getitem__(self, index: int) -> Round:
        return self.rounds[index]

    def with_round(self, new: Round) -> Ledger:
        return Ledger(self.algorithm, (*self.rounds, new))

    @property
    def simulations(self) -> int:
        """All simulations drawn."""
        return sum(r.drawn for r in self.rounds)

    @property
    def seconds(self) -> float:
        """Wall time of simulation, compilation and training together."""
        return sum(r.simulate_seconds + r.compile_seconds + r.train_seconds for r in self.rounds)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Ledger:
        rounds = []
        for entry in content["rounds"]:
            losses = {k: tuple(entry[k]) for k in ("training_losses", "validation_losses")}
            rounds.append(Round(**{**entry, **losses}))
        return cls(content["algorithm"], tuple(rounds))

    def __str__(self) -> str:
        head = f"{self.algorithm}: {self.simulations:,} simulations, {self.seconds:.1f} s"
        lines = [
            f"  round {i + 1}: {r.drawn:,} drawn, {r.valid:,} valid, {r.used:,} used; simulate "
            f"{r.simulate_seconds:.1f} s, compile {r.compile_seconds:.1f} s, train "
            f"{r.train_seconds:.1f} s ({r.epochs} epochs, best loss {r.best_loss:.3f})"
            + (f"; effective {r.effective:,.0f}" if r.effective < 0.999 * r.used else "")
            + (f"; acceptance {r.acceptance:.3g}" if r.acceptance < 1 else "")
            + (f"; lost {100 * r.lost:.2g} % of the valid" if r.lost else "")
            for i, r in enumerate(self.rounds)
        ]
        return "\n".join([head, *lines])
