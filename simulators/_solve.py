"""Exponential Euler, y ← y + (y∞ − y)(1 − e^{−r h}), as a diffrax solver; streaming observers.

Gating and membrane equations are linear in their own state, dy/dt = r (y∞ − y) with y∞ and r set
by the other states: for frozen coefficients the update is exact for any h > 0.

One step of diffrax is a block of steps of the model, taken by an inner loop that also draws the
noise and feeds the observer. A reverse-mode gradient keeps the state at the start of each block,
and the states of the steps of one block at a time; a simulation keeps nothing.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ._gating import approach
from ._observers import BlockObserver, Observer, State
from ._stages import staged

SAMPLES = "samples"
GROUP = 4  # steps per turn of the innermost loop, which share one draw of random words


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
    as the earlier groups left them. One group alone is the plain, simultaneous update. `shares`
    names the states that close another share of their gap than 1 − e^{−x}, x = r h: the identity
    would be forward Euler.
    """

    groups: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    shares: tuple[tuple[str, Callable], ...] = eqx.field(static=True, default=())
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
        shares = dict(self.shares)
        moving, fixed = eqx.partition(terms, eqx.is_array)
        for group in self.groups:

            def move(moving, t, y, args, group=group):
                field = eqx.combine(moving, fixed).vf(t, y, args)
                gaps = {n: (field[n][0] - y[n], h * field[n][1]) for n in group}
                return {n: y[n] + gap * shares.get(n, approach)(x) for n, (gap, x) in gaps.items()}

            y = y | staged(move, t, moving, t, y, args)
        return y

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1 = self.update(terms, t0, terms.contr(t0, t1), y0, args)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


class Drive(NamedTuple):
    """What enters the equations from outside.

    `given(first, length, args)`: arrays with leading axis `length`, one entry a step from step
    `first` on, looked up once a block. `draw(first, args)`: random words for steps first …
    first + GROUP − 1. `inputs(given, drawn, args)`: the inputs of these GROUP steps, one entry
    each. The term sees ((constants,), the step's input) as args, its constants the first of args.
    """

    given: Callable[..., Any]
    draw: Callable[..., Any]
    inputs: Callable[..., tuple]


class Blocks(diffrax.AbstractSolver):
    """`length` steps of dt of the inner solver in one step of diffrax, whose time counts blocks.

    The observer opens and closes every `stretch` steps. `emit(y)` is what is kept of a sample.
    diffrax's y is the model's states and, if it holds that name, SAMPLES: the samples of the block
    just made.
    """

    solver: ExponentialEuler
    observer: Observer
    drive: Drive = eqx.field(static=True)
    emit: Callable = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    length: int = eqx.field(static=True)
    stretch: int = eqx.field(static=True)
    unrolled: bool = eqx.field(static=True)
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
        whole = isinstance(self.observer, BlockObserver)
        keep = whole or SAMPLES in y0
        begin = jnp.round(t0).astype(jnp.int32) * self.length

        # What a loop carries is computed once; what is left in a loop's body, XLA recomputes for
        # each of its uses. Hence the words of the next turn are carried, and a model whose steps
        # share many terms takes them in a loop of their own instead of one after the other.
        def advance(carry, turn):
            y, seen, drawn = carry
            first, given = turn
            ahead = self.drive.draw(first + GROUP, args)
            inputs = self.drive.inputs(given, drawn, args)

            def one(carry, q):
                y, seen, (entering, *later) = carry
                new = self.solver.update(terms, t0, self.dt, y, ((args[0],), entering))
                look = type(self.observer).sample
                seen = staged(look, t0, self.observer, seen, first + q + 1, y, new)
                return (new, seen, (*later, entering)), self.emit(new) if keep else ()

            carry = (y, seen, tuple(inputs))
            if self.unrolled:
                samples = []
                for q in range(GROUP):
                    carry, sample = one(carry, q)
                    samples.append(sample)
                samples = tuple(samples)
            else:
                # The inputs take turns at the front: indexing a stack of them would make a buffer
                # beyond the size up to which XLA runs a loop's body without its task queue.
                carry, samples = lax.scan(one, carry, jnp.arange(GROUP, dtype=jnp.int32))
            y, seen, _ = carry
            return (y, seen, ahead), samples

        def part(carry, turns):
            y, seen, drawn = carry
            carry = (y, self.observer.open(seen, y), drawn)
            (y, seen, drawn), samples = lax.scan(advance, carry, turns)
            if keep:
                samples = jnp.stack(samples, axis=1) if self.unrolled else samples
                samples = samples.reshape(self.stretch, *samples.shape[2:])
            if whole:
                seen = self.observer.block(seen, turns[0][0], samples, args)
            return (y, self.observer.close(seen), drawn), samples

        y = {name: value for name, value in y0.items() if name != SAMPLES}
        firsts = begin + jnp.arange(0, self.length, GROUP, dtype=jnp.int32)
        given = self.drive.given(begin, self.length, args)
        given = jax.tree.map(lambda a: tuple(a[q::GROUP] for q in range(GROUP)), given)
        parts = (self.length // self.stretch, self.stretch // GROUP)
        turns = jax.tree.map(lambda a: a.reshape(*parts, *a.shape[1:]), (firsts, given))
        carry = (y, solver_state, self.drive.draw(begin, args))
        (y, seen, _), samples = lax.scan(part, carry, turns)
        y1 = y | {SAMPLES: samples.reshape(y0[SAMPLES].shape)} if SAMPLES in y0 else y
        return y1, None, {"y0": y0, "y1": y1}, seen, diffrax.RESULTS.successful


def integrate(
    term: Relaxation,
    solver: ExponentialEuler,
    y0: State,
    args: Any,
    *,
    drive: Drive,
    emit: Callable,
    dt: float,
    steps: int,
    length: int,
    observer: Observer,
    stretch: int | None = None,
    unrolled: bool = True,
    keep: bool = False,
) -> tuple[Any, jax.Array | None]:
    """(the observer's last state, the samples 0 … steps if kept, else None) of one trajectory.

    `length`: steps per block; `stretch`: steps per opening of the observer, a block unless given:
    a multiple of GROUP, and the block one of it; `unrolled`: whether the GROUP steps of a turn are
    written out, which is faster for a small model and hopeless for a large one.
    """
    stretch = stretch or length
    blocks = -(-steps // length)
    start = emit(y0)
    shape = jax.eval_shape(
        lambda: drive.inputs(drive.given(0, GROUP, args), drive.draw(0, args), args)[0]
    )
    one_step = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape)
    saveat = diffrax.SaveAt(t1=True, solver_state=True)
    if keep:
        y0 = y0 | {SAMPLES: jnp.zeros((length, *start.shape), start.dtype)}
        saveat = diffrax.SaveAt(steps=True, fn=_kept, solver_state=True)
    solution = diffrax.diffeqsolve(
        term,
        Blocks(solver, observer, drive, emit, dt, length, stretch, unrolled),
        t0=0.0,
        t1=float(blocks),
        dt0=1.0,
        y0=y0,
        args=(args, one_step),
        saveat=saveat,
        stepsize_controller=diffrax.ConstantStepSize(),
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=blocks),
        max_steps=blocks,
        throw=False,
    )
    if not keep:
        return solution.solver_state, None
    samples = solution.ys.reshape(blocks * length, *start.shape)[:steps]
    return solution.solver_state, jnp.concatenate([start[None], samples])


def _kept(t, y, args):
    return y[SAMPLES]


def replay(observer: Observer, states: State, length: int) -> Any:
    """What the observer has seen after a stored trajectory {name: (n, …)}, block by block."""
    return follow(observer, states, length, lambda seen: ())[0]


def follow(
    observer: Observer, states: State, length: int, look: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """What `replay` gives, and look(what was seen so far) after each block."""
    steps = next(iter(states.values())).shape[0] - 1
    blocks = -(-steps // length)

    def cut(a):
        spare = [(0, blocks * length - steps)] + [(0, 0)] * (a.ndim - 1)
        return jnp.pad(a[1:], spare, mode="edge").reshape(blocks, length, *a.shape[1:])

    def sample(carry, given):
        seen, before = carry
        index, after = given
        return (observer.sample(seen, index, before, after), after), None

    def block(carry, given):
        seen, before = carry
        (seen, last), _ = lax.scan(sample, (observer.open(seen, before), before), given)
        seen = observer.close(seen)
        return (seen, last), look(seen)

    start = {name: a[0] for name, a in states.items()}
    index = 1 + jnp.arange(blocks * length, dtype=jnp.int32).reshape(blocks, length)
    given = (index, {name: cut(a) for name, a in states.items()})
    (seen, _), looks = lax.scan(block, (observer.begin(start), start), given)
    return seen, looks
