"""Memory of a run: that of its circuits, whatever the simulated time."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from simulators import stg

RUN = """
import resource
import jax, jax.numpy as jnp
from simulators import stg

rows, milliseconds = {rows}, {milliseconds}
protocol = stg.Protocol(duration=milliseconds, burn_in=10.0)
run = jax.jit(jax.vmap(lambda k, t: stg.outcome(k, t, protocol)))
theta = jnp.broadcast_to(jnp.asarray(stg.NOMINAL, jnp.float32), (rows, 31))
jax.block_until_ready(run(jax.random.split(jax.random.key(0), rows), theta))
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def reckoned(milliseconds, rows):
    """Bytes of arguments, results and temporaries of the compiled program."""
    protocol = stg.Protocol(duration=milliseconds, burn_in=10.0)
    run = jax.jit(jax.vmap(lambda k, t: stg.outcome(k, t, protocol)))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows))
    lowered = run.lower(keys, jax.ShapeDtypeStruct((rows, 31), jnp.float32))
    m = lowered.compile().memory_analysis()
    return m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes


def measured(milliseconds, rows):
    """Peak bytes of a process of its own, compilation included."""
    code = RUN.format(rows=rows, milliseconds=milliseconds)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(out.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("peak", [reckoned, measured])
def test_memory_does_not_grow_with_simulated_time(peak):
    short, long = peak(500.0, 4096), peak(2000.0, 4096)
    assert abs(long / short - 1) < 0.05, (short, long)


@pytest.mark.slow
@pytest.mark.parametrize("peak", [reckoned, measured])
def test_a_hundred_thousand_circuits_in_one_call(peak):
    assert peak(50.0, 100_000) < 4e9
