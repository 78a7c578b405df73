"""y = f(operands), its gradient computed apart: ∂L/∂operands = (∂f/∂operands)ᵀ ∂L/∂y in one branch.

XLA's CPU backend fuses an elementwise program into one kernel per output and repeats in each all
that leads to it. The adjoint of a step of a neuron has dozens of outputs, each of which would
repeat most of the step: ten to a hundred times the arithmetic. Nothing is fused across the border
of a conditional, so an adjoint cut into a few of them computes every intermediate once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def staged(f: Callable, t: jax.Array, *operands: Any) -> Any:
    """f(*operands), of which the operands alone are kept for the gradient.

    `t`: a number ≥ 0 that the compiler cannot foresee, the same for a whole batch, such as the
    time. f must not close over values that are being transformed: hand them over as operands.
    """
    leaves, tree = jax.tree.flatten(operands)
    return _staged(lambda *leaves: f(*tree.unflatten(leaves)), lax.stop_gradient(t) >= 0, *leaves)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _staged(f, certain, *leaves):
    return f(*leaves)


def _forward(f, certain, *leaves):
    return f(*leaves), (certain, leaves)


def _backward(f, kept, cotangent):
    certain, leaves = kept
    smooth = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]

    def adjoint(leaves, cotangent):
        gradients = jax.vjp(f, *leaves)[1](cotangent)
        return [g for g, wanted in zip(gradients, smooth, strict=True) if wanted]

    def nothing(leaves, cotangent):
        return [jnp.zeros_like(a) for a, wanted in zip(leaves, smooth, strict=True) if wanted]

    gradients = iter(lax.cond(certain, adjoint, nothing, leaves, cotangent))
    given = [
        next(gradients) if wanted else np.zeros(jnp.shape(leaf), jax.dtypes.float0)
        for leaf, wanted in zip(leaves, smooth, strict=True)
    ]
    return np.zeros(jnp.shape(certain), jax.dtypes.float0), *given


_staged.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def alike(plain: Callable, moving: Callable, *operands: Any) -> Any:
    """y = plain(*operands) = moving(*operands), of which the second gives the gradient.

    For a program that follows, for the gradient's sake, what does not change a value.
    """
    return plain(*operands)


def _moving(plain, moving, *operands):
    return jax.vjp(moving, *operands)


def _pull(plain, moving, back, cotangent):
    return back(cotangent)


alike.defvjp(_moving, _pull)
