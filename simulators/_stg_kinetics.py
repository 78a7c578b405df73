"""Currents of the pyloric network's three neurons: gates, calcium, synapses (Prinz et al. 2004).

Arrays have the neurons PM (AB/PD), LP, PY on their leading axis. V [mV], t [ms], [Ca] [µM];
conductances are per capacitance [1/ms], so that currents are in mV/ms. Each gate's steady state and
rate are written over one common denominator: one division a gate.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ._observers import Observer

GAS, FARADAY = 8314.51, 96485.3415  # mJ/(mol·K), C/mol
SURFACE, CAPACITANCE = 0.628e-3, 0.6283e-3  # cm², µF
E_NA, E_K, E_H, E_LEAK, E_GLUTAMATE, E_CHOLINE = 50.0, -80.0, -20.0, -50.0, -70.0, -80.0  # mV
OUTSIDE, BASE = 3000.0, 0.05  # [Ca] outside and at rest inside, µM
TAU_CA, CALCIUM_PER_CURRENT = 200.0, 14961.0  # ms, µM/µA
NEURONS = ("PM", "LP", "PY")
SYNAPSES = (
    ("PM", "glut", "LP"),
    ("PM", "chol", "LP"),
    ("PM", "glut", "PY"),
    ("PM", "chol", "PY"),
    ("LP", "glut", "PM"),
    ("LP", "glut", "PY"),
    ("PY", "glut", "LP"),
)
MEMBRANE = ("Na", "CaT", "CaS", "A", "KCa", "Kd", "H", "leak")
GATES = {
    "Na": ("Na_m", "Na_h"),
    "CaT": ("CaT_m", "CaT_h"),
    "CaS": ("CaS_m", "CaS_h"),
    "A": ("A_m", "A_h"),
    "KCa": ("KCa_m",),
    "Kd": ("Kd_m",),
    "H": ("H_m",),
}
POWERS = {"KCa": 4, "Kd": 4, "H": 1}
K_GLUTAMATE, K_CHOLINE = 40.0, 100.0  # ms
REFERENCE, Q10_CONDUCTANCE = 283.0, 1.5  # K
Q10_RATES = {"m": 2.4, "CaS_m": 2.0, "KCa_m": 1.6, "h": 2.8, "ca": 2.0, "s": 1.7}
STATES = (
    *(f"{me}.{name}" for me in NEURONS for name in ("v", "ca", "glut")),
    *(f"{me}.{gate}" for me in NEURONS for pair in GATES.values() for gate in pair),
    "PM.chol",
)


def fastest(temperature):
    """The least time constant of a gate [ms], of Na activation, at a temperature [K]."""
    return (2.64 - 2.52) * Q10_RATES["m"] ** ((REFERENCE - temperature) / 10)


def nernst(ca: jax.Array, temperature: jax.Array) -> jax.Array:
    """E_Ca = (RT/2F) ln([Ca]_out/[Ca]) [mV]."""
    slope = GAS / (2 * FARADAY) * temperature
    return slope * (jnp.log(OUTSIDE) - jnp.log(jnp.maximum(ca, 1e-9)))


def _over(e, top, bottom):
    """(steady, rate) = (1/(1 + e), top/bottom), with one division."""
    r = 1 / ((1 + e) * bottom)
    return r * bottom, r * (1 + e) * top


def _sigmoid(e, f, most, drop):
    """Steady state 1/(1 + e) and τ = most − drop/(1 + f)."""
    return _over(e, 1 + f, (most - drop) + most * f)


def gates(v: jax.Array, ca: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
    """{gate: (steady state, rate [1/ms])} at 283 K."""
    # Beyond ±150 mV every gate is settled; the products of exponentials stay finite in float32.
    v = jnp.clip(v, -150, 150)

    def exp(shift, slope):
        return jnp.exp((v + shift) * (1 / slope))

    # τ_h of Na is 1.34 s(62.9, −10) (1.5 + s(34.9, 3.6)); its second factor is settled from 30 mV.
    g = jnp.exp((jnp.minimum(v, 30) + 34.9) * (1 / 3.6))
    bell_m, bell_h = exp(27, 10) + exp(70, -13), exp(55, 9) + exp(65, -16)
    activated, rate = _sigmoid(exp(28.3, -12.6), exp(46, -22.7), 180.6, 150.2)
    return {
        "Na_m": _sigmoid(exp(25.5, -5.29), exp(120, -25), 2.64, 2.52),
        "Na_h": _over(exp(48.9, 5.18), (1 + exp(62.9, -10)) * (1 + g), 1.34 * (2.5 + 1.5 * g)),
        "CaT_m": _sigmoid(exp(27.1, -7.2), exp(68.1, -20.5), 43.4, 42.6),
        "CaT_h": _sigmoid(exp(32.1, 5.5), exp(55, -16.9), 210.0, 179.6),
        "CaS_m": _over(exp(33, -8.1), bell_m, 2.8 * bell_m + 14),
        "CaS_h": _over(exp(60, 6.2), bell_h, 120 * bell_h + 300),
        "A_m": _sigmoid(exp(27.2, -8.7), exp(32.9, -15.2), 23.2, 20.8),
        "A_h": _sigmoid(exp(56.9, 4.9), exp(38.9, -26.5), 77.2, 58.4),
        "KCa_m": (ca / (ca + 3) * activated, rate),
        "Kd_m": _sigmoid(exp(12.3, -11.8), exp(28.3, -19.2), 14.4, 12.8),
        "H_m": (
            1 / (1 + exp(75, 5.5)),
            0.5 * (jnp.exp(-14.59 - 0.086 * v) + jnp.exp(-1.87 + 0.0701 * v)),
        ),
    }


def transmission(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(s̄, 1/(1 − s̄)), s̄ = 1/(1 + e^{(−35 − V)/5}), of a presynaptic voltage."""
    w = jnp.exp((jnp.clip(v, -150, 150) + 35) / 5)
    return w / (1 + w), 1 + w


def conductances(i: int, y, c):
    """{channel: conductance [1/ms]} of neuron i: its membrane and the synapses onto it."""
    me, c = NEURONS[i], c[NEURONS[i]]
    g = {}
    for name in MEMBRANE:
        g[name] = c[name]
        if name in GATES:
            m, *h = (y[f"{me}.{gate}"] for gate in GATES[name])
            g[name] = c[name] * m ** POWERS.get(name, 3) * (h[0] if h else 1)
    for kind in ("glut", "chol"):
        names = [f"{pre}.{kind}" for pre in NEURONS]
        g[kind] = sum((c[name] * y[name] for name in names if name in c), start=0.0)
    return g


def reversals(i: int, y, c) -> dict[str, jax.Array | float]:
    """{channel: E [mV]} of neuron i."""
    e_ca = nernst(y[f"{NEURONS[i]}.ca"], c["temperature"])
    return {
        "Na": E_NA,
        "CaT": e_ca,
        "CaS": e_ca,
        "A": E_K,
        "KCa": E_K,
        "Kd": E_K,
        "H": E_H,
        "leak": E_LEAK,
        "glut": E_GLUTAMATE,
        "chol": E_CHOLINE,
    }


def field(t, y, args):
    """(steady state, rate [1/ms]) of every state; args = ((constants, …), noise of each neuron)."""
    (c, *_), noise = args
    q, result = c["q10"], {}
    for i, me in enumerate(NEURONS):
        v, ca = y[f"{me}.v"], y[f"{me}.ca"]
        g, e = conductances(i, y, c), reversals(i, y, c)
        total = sum(g.values())
        drive = sum(g[name] * e[name] for name in g) + noise[i]
        # Where nothing conducts, V moves by dt·I/C: the limit of the relaxation as g falls to 0.
        total = jnp.where(total < 1e-20, 1e-20, total)
        calcium = (g["CaT"] + g["CaS"]) * (v - e["CaT"]) * CAPACITANCE
        for gate, (steady, rate) in gates(v, ca).items():
            result[f"{me}.{gate}"] = steady, rate * q.get(gate, q[gate[-1]])
        steady, opening = transmission(v)
        result[f"{me}.glut"] = steady, opening * (q["s"] / K_GLUTAMATE)
        if me == "PM":
            result[f"{me}.chol"] = steady, opening * (q["s"] / K_CHOLINE)
        result[f"{me}.v"] = drive / total, total
        result[f"{me}.ca"] = BASE - CALCIUM_PER_CURRENT * calcium, q["ca"] / TAU_CA
    return result


def initial(dtype) -> dict[str, jax.Array]:
    """V = −50 mV, [Ca] at rest, all gates and synapses closed."""
    start = {"v": -50.0, "ca": BASE}
    return {name: jnp.asarray(start.get(name[3:], 0.0), dtype) for name in STATES}


def constants(theta: jax.Array, temperature: jax.Array) -> dict:
    """What `field` needs of θ (31,) at a temperature [K]."""
    tens = (temperature - REFERENCE) / 10
    scale = Q10_CONDUCTANCE**tens / CAPACITANCE
    membrane = theta[:24].reshape(3, 8) * (SURFACE * scale)
    c = {me: dict(zip(MEMBRANE, g, strict=True)) for me, g in zip(NEURONS, membrane, strict=True)}
    for (pre, kind, post), log_g in zip(SYNAPSES, theta[24:], strict=True):
        c[post][f"{pre}.{kind}"] = jnp.exp(log_g) * scale
    c["temperature"] = temperature
    return c | {"q10": {name: value**tens for name, value in Q10_RATES.items()}}


class Spent(NamedTuple):
    """Σ of the power [mV²/ms] over samples, a neuron each: total, what it lost to rounding; the
    present stretch's; number of the latest sample in it."""

    totals: tuple[jax.Array, ...]
    lost: tuple[jax.Array, ...]
    stretch: tuple[jax.Array, ...]

    def total(self) -> jax.Array:
        """Σ of the power [pJ/ms], shape (3,)."""
        return CAPACITANCE * jnp.stack([t - r for t, r in zip(self.totals, self.lost, strict=True)])


class Energy(Observer):
    """Σ over the samples start … stop − 1 of the power Σ g (V − E)² of each neuron."""

    c: dict
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)

    def begin(self, y):
        zero = (jnp.zeros_like(y["PM.v"]),) * 3
        return Spent(zero, zero, zero)

    def open(self, seen, y):
        return seen._replace(stretch=tuple(jnp.zeros_like(s) for s in seen.stretch))

    def sample(self, seen, index, before, after):
        inside = (index - 1 >= self.start) & (index - 1 < self.stop)
        sums = []
        for i, s in enumerate(seen.stretch):
            v = before[f"{NEURONS[i]}.v"]
            g, e = conductances(i, before, self.c), reversals(i, before, self.c)
            sums.append(s + jnp.where(inside, sum(g[n] * (v - e[n]) ** 2 for n in g), 0))
        return seen._replace(stretch=tuple(sums))

    def close(self, seen):
        # Kahan's sum: ten seconds hold 10⁵ stretches.
        terms = tuple(s - r for s, r in zip(seen.stretch, seen.lost, strict=True))
        totals = tuple(t + s for t, s in zip(seen.totals, terms, strict=True))
        lost = tuple((n - t) - s for n, t, s in zip(totals, seen.totals, terms, strict=True))
        return seen._replace(totals=totals, lost=lost)
