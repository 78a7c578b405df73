"""Every simulator lowers for cpu, cuda and tpu, its stimuli as arguments and not as constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulators import _basis, channels, gabor, glm, stg
from simulators import hodgkin_huxley as hh
from simulators.voltage_clamp import activation

PLATFORMS = ("cpu", "cuda", "tpu")
CLAMP = activation()
CHANNEL = channels.Protocol(
    (CLAMP,), _basis.Basis((np.zeros((CLAMP.samples, CLAMP.sweeps, 10)),), (CLAMP.name,))
)
VIDEO = gabor.Protocol(np.zeros((2000, 41, 41)))
# model: protocol, outputs
MODELS = {
    glm: (glm.white_noise(bins=100_000), [(10,)]),
    gabor: (VIDEO, [(), (41, 41)]),
    channels: (CHANNEL, [(11,)]),
    hh: (hh.step(3.2, duration=500.0), [(7,)]),
    stg: (stg.DEFAULT, [(18,)]),
}


def exported(f, model, protocol):
    key = jax.eval_shape(lambda: jax.random.key(0))
    theta = jax.ShapeDtypeStruct((len(model.PARAMETERS),), jnp.float32)
    given = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), jnp.float32), protocol)
    return jax.export.export(jax.jit(f), platforms=PLATFORMS)(key, theta, given)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__.split(".")[-1])
def test_simulators_lower_for_every_platform_without_constants(model):
    protocol, shapes = MODELS[model]
    program = exported(model.simulate, model, protocol)
    assert program.platforms == PLATFORMS
    assert sorted(a.shape for a in program.out_avals) == shapes
    # The smallest of these stimuli takes 200 kB.
    assert len(program.mlir_module_serialized) < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("model", [hh, stg], ids=["hodgkin_huxley", "stg"])
def test_gradients_lower_for_every_platform_without_constants(model):
    def gradient(key, theta, protocol):
        return jax.grad(lambda t: jnp.nansum(model.simulate(key, t, protocol)))(theta)

    program = exported(gradient, model, MODELS[model][0])
    assert [a.shape for a in program.out_avals] == [(len(model.PARAMETERS),)]
    assert len(program.mlir_module_serialized) < 1_000_000
