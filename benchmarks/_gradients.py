"""What a gradient in theta costs, and how large it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _measure
from benchmarks._measurements import Bench, Lines


def gradient(bench: Bench) -> Lines:
    """Cost of a reverse-mode gradient in theta; its finite share and norm over the prior."""
    subject = bench.subject

    def value(key, theta, given):
        protocol, scale = given
        outputs = subject.smooth(key, theta, protocol)
        defined = jnp.where(jnp.isfinite(outputs), outputs, 0)
        return jnp.sum(defined / scale), outputs

    def slope(key, theta, given):
        return jax.grad(value, argnums=1, has_aux=True)(key, theta, given)

    def unscaled(protocol):
        x = jax.eval_shape(subject.smooth, jax.random.key(0), subject.draw(1, 0)[0], protocol)
        return protocol, jnp.ones(x.shape)

    given, compiled = unscaled(bench.protocol), {}
    forward, backward, few = {}, {}, -(-bench.simulations // 4)
    for batch in bench.gradient_batches:
        forward[batch], _ = bench.time(value, batch, given, few)
        backward[batch], compiled[batch] = bench.time(slope, batch, given, few)
        line = bench.line("gradient in theta", batch, backward[batch], compiled[batch])
        line |= {"of": subject.smooth_name, "forward_ms": forward[batch]}
        line["ratio"] = backward[batch] / forward[batch]
        yield line | {"ratio_to": "forward pass of the same outputs at the same batch"}
    batch, ahead = (min(times, key=times.get) for times in (backward, forward))
    yield {
        "what": "gradient in theta, each pass at its best batch",
        "batches": {"gradient": batch, "forward": ahead},
        "ratio": backward[batch] / forward[ahead],
        "ratio_to": "forward pass of the same outputs",
    }

    inputs = bench.calls(batch, bench.rows, seed=3)
    spread = np.std(subject.draw(10_000, 0), axis=0)
    for protocol in subject.spans or (bench.protocol,):
        given = jax.tree.map(jnp.asarray, unscaled(protocol))
        program = compiled[batch]
        if protocol is not bench.protocol:
            program = jax.jit(jax.vmap(slope, (0, 0, None))).lower(*inputs[0], given).compile()

        def everywhere(given, program=program):
            run = _measure.on_all_cores(lambda i: program(*inputs[i], given), len(inputs))
            return (np.concatenate(parts) for parts in zip(*run(), strict=True))

        _, outputs = everywhere(given)
        sds = np.nanstd(np.where(np.isfinite(outputs), outputs, np.nan), axis=0)
        sds = np.where(sds > 0, sds, 1)  # NaN too: undefined throughout
        slopes, _ = everywhere((given[0], jnp.asarray(sds, jnp.float32)))
        slopes = slopes[np.isfinite(outputs).any(axis=1)]
        norms = np.linalg.norm(slopes * spread, axis=1)
        finite = norms[np.isfinite(norms)]
        yield {
            "what": "gradient's norm: defined outputs, summed in prior sds, per prior sd of theta",
            "of": subject.smooth_name,
            "simulated_ms": subject.milliseconds(protocol),
            "rows": len(outputs),
            "defined_share": len(norms) / len(outputs),
            "finite_share": len(finite) / max(len(norms), 1),
            "median": float(np.median(finite)) if len(finite) else None,
            "p90": float(np.quantile(finite, 0.9)) if len(finite) else None,
        }
