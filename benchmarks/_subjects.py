"""The five models as the benchmark sees them: what is run, from which draws, beside which peer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _measure
from benchmarks._subject import Subject, deviation, difference, in_one_call, one_column_each
from simulators import _stg_kinetics, channels, gabor, glm, stg
from simulators import hodgkin_huxley as hh


def hodgkin_huxley() -> Subject:
    """A neuron under a current step of 100 ms; the loop computes all features."""
    from benchmarks import _peers_numba, _peers_scan

    draw = partial(_measure.uniform_draws, hh.PARAMETERS)

    def lasting(duration):
        amplitude = float(np.max(hh.DEFAULT.current))
        return hh.step(amplitude, t_off=duration - 10, duration=duration)

    def silent(theta, protocol):
        quiet = np.array(theta)
        quiet[:, 6] = 0
        return quiet, protocol

    def agreement(rows):
        theta, protocol = silent(draw(rows, 2), hh.DEFAULT)
        ours = np.asarray(in_one_call(hh.simulate, theta, protocol))
        loop = _peers_numba.hodgkin_huxley(theta, protocol)
        equal = {"equal_spike_counts": float((ours[:, 0] == loop[:, 0]).mean())}
        return {"noise": False} | equal | deviation(ours[:, 1:], loop[:, 1:])

    def step():
        c = hh._constants(jnp.asarray(hh.NOMINAL, jnp.float32), hh.DEFAULT.dt)

        def one(y, c):
            return hh.SOLVER.update(hh.TERM, 0.0, hh.DEFAULT.dt, y, ((c,), 0.0))

        return one, (hh._initial(jnp.float32(-70), c), c), 1

    return Subject(
        simulate=hh.simulate,
        protocol=hh.DEFAULT,
        draw=draw,
        milliseconds=lambda p: p.duration,
        neuron_steps=lambda p: p.samples - 1,
        exponentials=14,  # V, four gates; of the rates two for p's τ, one for each of seven others
        step=step,
        loop=lambda theta: _peers_numba.hodgkin_huxley(theta, hh.DEFAULT),
        loop_rows=1024,
        agreement=agreement,
        columns=one_column_each(hh.FEATURES),
        batches={"cpu": (32, 64, 128, 256, 1024, 4096), "gpu": (4096, 16384, 65536, 262144)},
        simulations={"cpu": 4096, "gpu": 262144},
        gradient_batches={"cpu": (32, 128, 512), "gpu": (4096, 32768)},
        smooth=lambda key, theta, protocol: hh.simulate(key, theta, protocol)[1:],
        smooth_name="the features but the spike count",
        plain=_peers_scan.hodgkin_huxley,
        silent=silent,
        spans=(lasting(30.0), hh.DEFAULT, lasting(240.0)),
        lengths=(4096, (lasting(60.0), lasting(240.0))),
    )


def pyloric() -> Subject:
    """A circuit of three neurons for 11 s; the loop detects bursts and computes no features."""
    from benchmarks import _peers_stg

    draw = partial(_measure.uniform_draws, stg.PARAMETERS)
    short = stg.Protocol(550.0, 50.0)
    still = stg.Protocol(50.0, 0.0, noise=0.0)

    def steps(protocol):
        return protocol.samples - 1

    def agreement(rows):
        theta = draw(rows, 2)

        def last(key, theta, protocol):
            return stg.trace(key, theta, protocol).voltage[:, -1]

        ours = np.asarray(in_one_call(last, theta, still))
        _, loop = _peers_stg.in_numba(theta, steps(still), sd=0.0)
        gap = np.abs(ours - loop)
        return {
            "noise": False,
            "milliseconds": still.duration,
            "median_of_last_voltage_in_mV": float(np.median(gap)),
            "p90_of_last_voltage_in_mV": float(np.quantile(gap, 0.9)),
        }

    def step():
        c = _stg_kinetics.constants(jnp.asarray(stg.NOMINAL, jnp.float32), jnp.float32(283))
        noise = (jnp.float32(0),) * 3

        def one(y, c):
            return stg.SOLVER.update(stg.TERM, 0.0, short.dt, y, ((c,), noise))

        return one, (_stg_kinetics.initial(jnp.float32), c), 3

    return Subject(
        simulate=stg.simulate,
        protocol=stg.DEFAULT,
        short=short,
        draw=draw,
        milliseconds=lambda p: p.duration,
        neuron_steps=lambda p: 3 * steps(p),
        # V, [Ca], eleven gates; steady states and time constants; one for the synapses it drives
        exponentials=13 + 26 + 1,
        step=step,
        loop=lambda theta: _peers_stg.in_numba(theta, steps(stg.DEFAULT)),
        loop_rows=16,
        agreement=agreement,
        columns=one_column_each(stg.FEATURES),
        batches={"cpu": (32, 128, 512), "gpu": (1024, 4096, 16384, 65536)},
        simulations={"cpu": 512, "gpu": 65536},
        gradient_batches={"cpu": (16, 64), "gpu": (1024, 4096)},
        smooth=stg.simulate,
        smooth_name="the features that are defined",
        plain=_peers_stg.plain,
        silent=lambda theta, p: (theta, stg.Protocol(p.duration, p.burn_in, p.dt, noise=0.0)),
        spans=(stg.Protocol(1000.0, 100.0), stg.Protocol(3000.0, 1000.0), stg.DEFAULT),
        lengths=(4096, (stg.Protocol(500.0, 100.0), stg.Protocol(2000.0, 100.0))),
        crowd=(100_000, stg.Protocol(50.0, 0.0)),
        shares=_peers_stg.defined,
        rows=128,
        repeats=2,
    )


def potassium_channels() -> Subject:
    """A potassium channel under five voltage clamps, 45 sweeps; the loop computes all features."""
    from benchmarks import _peers_channels

    draw = partial(_measure.uniform_draws, channels.PARAMETERS)
    protocol = channels.default_protocol()
    given = _peers_channels.arguments(protocol)

    def silent(theta, protocol):
        still = jnp.zeros_like(protocol.noise)
        return theta, channels.Protocol(protocol.clamps, protocol.basis, still)

    def agreement(rows):
        theta, quiet = silent(draw(rows, 2), protocol)
        ours = in_one_call(channels.simulate, theta, quiet)
        loop = _peers_channels.channels(theta, _peers_channels.arguments(quiet))
        return {"noise": False} | deviation(ours, loop)

    def columns(x):
        x = np.asarray(x, float).reshape(len(x), -1, 11)
        return {clamp.name: x[:, i] for i, clamp in enumerate(protocol.clamps)}

    return Subject(
        simulate=channels.simulate,
        protocol=protocol,
        draw=draw,
        milliseconds=lambda p: sum(c.sweeps * c.samples * c.dt for c in p.clamps),
        neuron_steps=lambda p: sum(c.sweeps * (c.samples - 1) for c in p.clamps),
        exponentials=4,  # the gate's move; one for m∞, two for τ
        step=lambda: (_peers_channels.step, _peers_channels.at_rest(channels.NOMINAL), 1),
        loop=lambda theta: _peers_channels.channels(theta, given),
        loop_rows=16,
        agreement=agreement,
        columns=columns,
        batches={"cpu": (4, 8, 16, 32), "gpu": (16, 64, 256)},
        simulations={"cpu": 32, "gpu": 256},
        gradient_batches={"cpu": (2, 4), "gpu": (16, 64)},
        smooth=channels.simulate,
        smooth_name="all features",
        plain=_peers_channels.plain,
        silent=silent,
        spans=(protocol,),
        rows=64,
        repeats=3,
    )


def receptive_field() -> Subject:
    """A Gabor receptive field and a video of 300 s; the loop computes all features."""
    from benchmarks import _peers_receptive_fields as peers

    protocol = gabor.default_protocol()
    frames = np.asarray(protocol.frames)

    def loop(theta):
        return peers.gabor(np.asarray(gabor.constrain(theta)), frames)

    def agreement(rows):
        theta = draw(rows, 2)
        ours = np.asarray(in_one_call(gabor.simulate, theta, protocol)["count"], float)
        ours = np.nan_to_num(ours)  # a silent run is a rejected one
        theirs = loop(theta)[1]
        z = (ours - theirs) / np.sqrt(np.maximum(ours + theirs, 1))  # both are Poisson
        return {
            "noise": True,
            "z_of_the_mean_count": float(np.mean(z) * np.sqrt(rows)),
            "rms_z_of_counts": float(np.sqrt(np.mean(z**2))),
        }

    def columns(x):
        sta = np.asarray(x["sta"], float)
        count = np.asarray(x["count"], float)[:, None]
        return {"sta": sta.reshape(len(sta), -1), "count": count}

    def smooth(key, theta, protocol):
        x = gabor.simulate(key, theta, protocol)
        return jnp.append(x["sta"].reshape(-1), x["count"])

    def draw(rows, seed):
        z = np.random.default_rng(seed).standard_normal((rows, len(gabor.PRIOR_SD)))
        return gabor.PRIOR_MEAN + gabor.PRIOR_SD * z

    return Subject(
        simulate=gabor.simulate,
        protocol=protocol,
        draw=draw,
        milliseconds=lambda p: 1e3 * gabor.DT * len(p.frames),
        neuron_steps=lambda p: len(p.frames),
        exponentials=1 + frames[0].size / len(frames),  # the rate; the field, once a simulation
        step=lambda: (gabor.simulate, (jax.random.key(0), gabor.NOMINAL, protocol), len(frames)),
        loop=loop,
        loop_rows=64,
        agreement=agreement,
        columns=columns,
        batches={"cpu": (16, 64, 256), "gpu": (256, 1024, 4096)},
        simulations={"cpu": 512, "gpu": 4096},
        gradient_batches={"cpu": (16, 64), "gpu": (256, 1024)},
        smooth=smooth,
        smooth_name="spike-triggered average and count",
        noiseless=peers.gabor_mean,
        essential=("the two products with the video", peers.gabor_products),
        spans=(protocol,),
        rows=256,
        repeats=3,
    )


def linear_nonlinear() -> Subject:
    """A neuron with a temporal filter, 100 bins; the loop computes all features."""
    from benchmarks import _peers_receptive_fields as peers

    root = np.linalg.cholesky(np.linalg.inv(glm.PRIOR_PRECISION))

    def agreement(rows):
        theta = draw(16 * rows, 2)
        ours = in_one_call(glm.simulate, theta, glm.DEFAULT)
        return {"noise": True} | difference(ours, peers.glm(theta, glm.DEFAULT))

    def draw(rows, seed):
        z = np.random.default_rng(seed).standard_normal((rows, len(root)))
        return glm.PRIOR_MEAN + z @ root.T

    bins = glm.DEFAULT.bins
    return Subject(
        simulate=glm.simulate,
        protocol=glm.DEFAULT,
        draw=draw,
        milliseconds=lambda p: p.bins * glm.DT,
        neuron_steps=lambda p: p.bins,
        exponentials=1,
        step=lambda: (glm.simulate, (jax.random.key(0), glm.NOMINAL), bins),
        loop=lambda theta: peers.glm(theta, glm.DEFAULT),
        loop_rows=65536,
        agreement=agreement,
        columns=one_column_each(glm.FEATURES),
        batches={"cpu": (64, 256, 1024, 4096), "gpu": (16384, 131072, 1 << 20)},
        simulations={"cpu": 65536, "gpu": 1 << 20},
        gradient_batches={"cpu": (64, 256, 1024), "gpu": (16384, 131072)},
        smooth=glm.simulate,
        smooth_name="all features",
        noiseless=peers.glm_mean,
        spans=(glm.DEFAULT,),
    )


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "hodgkin_huxley": hodgkin_huxley,
    "stg": pyloric,
    "channels": potassium_channels,
    "gabor": receptive_field,
    "glm": linear_nonlinear,
}
