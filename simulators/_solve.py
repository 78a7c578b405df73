"""Exponential Euler, y ← y + (y∞ − y)(1 − e^{−r h}), as a diffrax solver; streaming observers.

Gating and membrane equations are linear in their own state, dy/dt = r (y∞ − y) with y∞ and r set
by the other states: for frozen coefficients the update is exact for any h > 0.

One step of diffrax is a block of steps of the model. Inputs (noise, current) are drawn for a whole
block outside the innermost loop, the samples of a block are observed together, and a block is the
unit of recomputation in reverse-mode gradients: memory does not grow with simulated time.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ._gating import approach

State = dict[str, jax.Array]
SAMPLES = "samples"


class Relaxation(diffrax.AbstractTerm):
    """dy/dt = rate · (steady − y): `field(t, y, args)` gives {name: (steady, rate)}."""

    field: Callable[..., dict[str, tuple[jax.Array, jax.Array]]]

    def vf(self, t, y: State, args) -> dict[str, tuple[jax.Array, jax.Array]]:
        return self.field(t, y, args)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        return {name: control * rate * steady for name, (steady, rate) in vf.items()}


class ExponentialEuler(diffrax.AbstractSolver):
    """y_g ← y_g + (y∞ − y_g)(1 − e^{−r h}) for one group of states after the other.

    `groups` partitions the names of the states; y∞ and r of a group are evaluated at the states
    as the earlier groups left them. One group alone is the plain, simultaneous update.
    """

    groups: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms) -> int:
        return 1

    def init(self, terms, t0, t1, y0, args) -> None:
        return None

    def func(self, terms, t0, y0, args):
        return {n: r * (s - y0[n]) for n, (s, r) in terms.vf(t0, y0, args).items()}

    def update(self, terms, t, h, y: State, args) -> State:
        """The states one step of length h later."""
        for group in self.groups:
            field = terms.vf(t, y, args)
            y = y | {n: y[n] + (field[n][0] - y[n]) * approach(h * field[n][1]) for n in group}
        return y

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1 = self.update(terms, t0, terms.contr(t0, t1), y0, args)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


class Observer(eqx.Module):
    """Folds a trajectory into a state of fixed size, as it is computed.

    Samples are numbered: 0 is the initial state, sample i the state after i steps. Samples past
    the end of the simulation may be shown (a last block is completed): an observer leaves them out.
    """

    @abc.abstractmethod
    def begin(self, y: State) -> Any:
        """The observer's state after sample 0."""

    def sample(self, seen: Any, index, before: State, after: State) -> Any:
        """After each step, to sample `index`; for what needs one sample after the other."""
        return seen

    def block(self, seen: Any, index: jax.Array, samples: jax.Array) -> Any:
        """After each block of samples, numbered by `index`; for sums and other array work."""
        return seen


class Blocks(diffrax.AbstractSolver):
    """`length` steps of dt of the inner solver in one step of diffrax, whose time counts blocks.

    `inputs(first, length, args)` gives arrays with leading axis `length`, one entry a step from
    step `first` on; the term is called with (args, the step's inputs) as its args. `emit(y)` is
    what is observed of a sample. diffrax's y is the model's states and, if it holds that name,
    SAMPLES: the samples of the block just made.
    """

    solver: ExponentialEuler
    observer: Observer
    inputs: Callable = eqx.field(static=True)
    emit: Callable = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    length: int = eqx.field(static=True)
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms) -> int:
        return self.solver.order(terms)

    def init(self, terms, t0, t1, y0, args):
        return self.observer.begin(y0)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        args, _ = args
        first = jnp.round(t0).astype(jnp.int32) * self.length
        index = first + 1 + jnp.arange(self.length, dtype=jnp.int32)

        def advance(carry, given):
            y, seen = carry
            number, inputs = given
            new = self.solver.update(terms, t0, self.dt, y, (args, inputs))
            return (new, self.observer.sample(seen, number, y, new)), self.emit(new)

        inputs = self.inputs(first, self.length, args)
        y = {name: value for name, value in y0.items() if name != SAMPLES}
        (y, seen), samples = lax.scan(advance, (y, solver_state), (index, inputs))
        seen = self.observer.block(seen, index, samples)
        y1 = y | ({SAMPLES: samples} if SAMPLES in y0 else {})
        return y1, None, {"y0": y0, "y1": y1}, seen, diffrax.RESULTS.successful


def integrate(
    term: Relaxation,
    solver: ExponentialEuler,
    y0: State,
    args: Any,
    *,
    inputs: Callable,
    emit: Callable,
    dt: float,
    steps: int,
    length: int,
    observer: Observer,
    keep: bool = False,
) -> tuple[Any, jax.Array | None]:
    """(the observer's last state, the samples 0 … steps if kept, else None) of one trajectory."""
    blocks = -(-steps // length)
    start = emit(y0)
    shape = jax.eval_shape(lambda: inputs(0, length, args))
    one_step = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), shape)
    saveat = diffrax.SaveAt(t1=True, solver_state=True)
    if keep:
        y0 = y0 | {SAMPLES: jnp.zeros((length, *start.shape), start.dtype)}
        saveat = diffrax.SaveAt(steps=True, fn=_kept, solver_state=True)
    solution = diffrax.diffeqsolve(
        term,
        Blocks(solver, observer, inputs, emit, dt, length),
        t0=0.0,
        t1=float(blocks),
        dt0=1.0,
        y0=y0,
        args=(args, one_step),
        saveat=saveat,
        stepsize_controller=diffrax.ConstantStepSize(),
        adjoint=diffrax.RecursiveCheckpointAdjoint(),
        max_steps=blocks,
        throw=False,
    )
    if not keep:
        return solution.solver_state, None
    samples = solution.ys.reshape(blocks * length, *start.shape)[:steps]
    return solution.solver_state, jnp.concatenate([start[None], samples])


def _kept(t, y, args):
    return y[SAMPLES]
