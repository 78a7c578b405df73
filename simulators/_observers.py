"""What watches a trajectory as it is computed, so that nothing of it need be kept."""

import abc
from typing import Any

import equinox as eqx
import jax

State = dict[str, jax.Array]


class Observer(eqx.Module):
    """Folds a trajectory into a state of fixed size, as it is computed.

    Samples are numbered: 0 is the initial state, sample i the state after i steps. Samples past
    the end of the simulation may be shown (a last block is completed): an observer leaves them out.
    """

    @abc.abstractmethod
    def begin(self, y: State) -> Any:
        """The observer's state after sample 0."""

    def open(self, seen: Any, y: State) -> Any:
        """Before a stretch of samples; y is the last sample before it."""
        return seen

    @abc.abstractmethod
    def sample(self, seen: Any, index, before: State, after: State) -> Any:
        """After the step from sample index − 1 (`before`) to sample index (`after`)."""

    def close(self, seen: Any) -> Any:
        """After a stretch of samples."""
        return seen


class BlockObserver(Observer):
    """Looks at a stretch of samples at once, as `emit` gave them: for sums that are a product."""

    def sample(self, seen: Any, index, before: State, after: State) -> Any:
        return seen

    @abc.abstractmethod
    def block(self, seen: Any, first, samples: jax.Array, args: Any) -> Any:
        """After the samples first + 1 … first + n, shape (n, …); args as in Drive."""


class Both(Observer):
    """Two observers of one trajectory; their states are a pair."""

    first: Observer
    second: Observer

    def begin(self, y):
        return self.first.begin(y), self.second.begin(y)

    def open(self, seen, y):
        return self.first.open(seen[0], y), self.second.open(seen[1], y)

    def sample(self, seen, index, before, after):
        return (
            self.first.sample(seen[0], index, before, after),
            self.second.sample(seen[1], index, before, after),
        )

    def close(self, seen):
        return self.first.close(seen[0]), self.second.close(seen[1])
