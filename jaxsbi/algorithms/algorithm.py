"""The seam between the engine and an algorithm: pure functions over rows and a memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

from jaxsbi.algorithms.proposals import AtObservation, Proposal
from jaxsbi.dataset import Moments, Simulations
from jaxsbi.losses import density_loss
from jaxsbi.parameters import Spread
from jaxsbi.posteriors import DirectPosterior, Posterior
from jaxsbi.priors import Prior
from jaxsbi.types import Data, Estimator, Loss, PRNGKey

Memory = PyTree[Array]
"""What an algorithm keeps from round to round: arrays of sizes fixed by the number of rounds."""


@dataclass(frozen=True)
class Algorithm:
    """What distinguishes one method of inference from another; training knows none of it.

    A method is a frozen value: its fields are its settings. The functions here are those of neural
    posterior estimation, and a method overrides what it does otherwise. All but `check` are
    traceable. A memory has the same structure in all rounds, so that two compilations of the
    training, one of `first_loss` and one of `loss`, serve any number of rounds.
    """

    name: ClassVar[str] = ""
    sequential: ClassVar[bool] = True
    """Whether rounds after the first draw from a proposal made for one x_o, not from the prior."""
    refines: ClassVar[bool] = False
    """Whether rounds after the first may follow an amortised posterior without its rows."""
    anew: ClassVar[bool] = False
    """Whether what then is trained is a module of its own, not the posterior's."""
    compiled: ClassVar[bool] = True
    """Whether the driver compiles `propose`; where not, it calls what is compiled already."""
    warm: ClassVar[bool] = True
    """Whether later rounds' trainings begin with the weights of the round before, if not told."""
    weighted: ClassVar[bool] = False
    """Whether `weights` or `loss` reads `log_proposal`, which is computed for such methods only."""
    whitens: ClassVar[bool] = False
    """Whether `init` reads the spread of z, which is computed for such methods only."""
    trials: ClassVar[bool] = False
    """Whether an observation is a set of iid trials, along a leading axis of x."""
    posterior: ClassVar[type[Posterior]] = DirectPosterior
    """The kind of posterior that `density` makes."""

    def check(self, prior: Prior, estimator: Estimator, training: Any) -> None:
        """A ValueError where the method does not fit the prior, the estimator or the training."""

    def init(
        self,
        key: PRNGKey,
        estimator: Estimator,
        prior: Prior,
        moments: Moments,
        spread: Spread | None = None,
    ) -> nnx.Module:
        """The module to train, with fresh weights; `moments` are those of x, `spread` is that of z
        among the rows to learn from, None for the prior's."""
        return estimator.init(key, prior.dim, moments)

    def memory(
        self, conditional: nnx.Module, prior: Prior, x_o: Data | None, rounds: int
    ) -> Memory:
        """The memory before the first round."""
        return ()

    def begin(
        self, q: nnx.Module, prior: Prior, x_o: Data, rounds: int
    ) -> tuple[nnx.Module | None, Memory]:
        """What stands for a first round that gave q(z | x): the module from which training goes on,
        None for fresh weights, and the memory. For methods that refine."""
        return q, self.memory(q, prior, x_o, rounds)

    def first_loss(self) -> Loss:
        """The loss of the first round, whose rows come from the prior."""
        return Partial(density_loss)

    def loss(self, memory: Memory, prior: Prior) -> Loss:
        """The loss of later rounds: a `Partial` of a static function over traced arrays."""
        return Partial(density_loss)

    def first_weights(self, simulations: Simulations) -> Float[Array, " capacity"]:
        """How much each row counts in the first loss; 0 leaves it out. Default: valid rows, 1."""
        return (simulations.filled & simulations.rows.valid).astype(simulations.rows.z.dtype)

    def weights(
        self, memory: Memory, prior: Prior, simulations: Simulations
    ) -> Float[Array, " capacity"]:
        """How much each row counts in later losses. Default: as in the first."""
        return self.first_weights(simulations)

    def propose(
        self, key: PRNGKey, conditional: nnx.Module | None, memory: Memory, prior: Prior, x_o: Data
    ) -> tuple[Memory, Proposal]:
        """The next round's proposal, and the memory that holds of it what later rounds need.

        conditional: the module trained in the round before, or what `begin` gave.
        """
        return memory, AtObservation.of(conditional, prior, x_o)

    def density(self, conditional: nnx.Module, memory: Memory) -> nnx.Module:
        """The module of the posterior: what was trained, or what corrects it."""
        return conditional

    def remark(self, conditional: nnx.Module, memory: Memory, x_o: Data | None) -> str | None:
        """What the user should be told of a finished round, if anything."""

    def spec(self) -> dict[str, Any]:
        """Name and settings as JSON values."""
        return {"name": self.name, **asdict(self)}
