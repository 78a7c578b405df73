"""Every figure of jaxsbi.plotting, of made-up results with the circuit's 31 names or fewer."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import jaxsbi
from jaxsbi import plotting
from jaxsbi.analysis import Correlations, Path
from jaxsbi.diagnostics import Calibration
from jaxsbi.diagnostics.significance import uniformity
from jaxsbi.ledger import Ledger, Round
from simulators import hodgkin_huxley, stg

RNG = np.random.default_rng(0)
PARAMETERS = {8: hodgkin_huxley.PARAMETERS, 31: stg.PARAMETERS}


def prior_of(d):
    return jaxsbi.box((PARAMETERS[8] if d <= 8 else PARAMETERS[31])[:d])


def shares(d, n=2000):
    """(n, d) correlated points of the unit cube, some piled at a bound."""
    mixed = RNG.normal(size=(n, d)) @ (np.eye(d) + 0.25 * RNG.normal(size=(d, d)))
    return np.clip(0.5 + 0.15 * mixed, 0, 1) ** np.linspace(0.5, 2, d)


def samples(d, n=2000):
    low, high = (np.asarray(b, float) for b in prior_of(d).bounds)
    return low + (high - low) * shares(d, n)


def pair(d, **more):
    theta = samples(d)
    trail = theta[2] + np.linspace(0, 1, 40)[:, None] ** np.linspace(0.5, 2, d) * (
        theta[3] - theta[2]
    )
    return plotting.pairs(
        theta, prior_of(d), truth=theta[0], points={"MAP": theta[1]}, paths={"ridge": trail}, **more
    )


class Bent:
    """A density in θ with a curved ridge, up to a constant, and draws of something near it."""

    def __init__(self, d):
        self.prior = prior_of(d)
        self.low, self.high = self.prior.bounds

    def log_prob(self, theta):
        u = 4 * (theta - self.low) / (self.high - self.low) - 2
        bend = u - 0.4 * jnp.roll(u, 1, axis=-1) ** 2
        inside = jnp.all((theta >= self.low) & (theta <= self.high), axis=-1)
        return jnp.where(inside, dist.Normal(0, 0.5).log_prob(bend).sum(-1), -jnp.inf)

    def sample(self, key, n, x=None):
        return jnp.asarray(samples(self.prior.dim, n))


def conditional(d, free=None):
    theta = np.mean(prior_of(d).bounds, axis=0)
    return plotting.conditional_pairs(Bent(d), theta, free=free, samples=samples(d), resolution=30)


def calibration(d, n=500, power=None):
    """Ranks uniform but for the last parameter, whose truth lies low among the draws."""
    u = RNG.uniform(size=(n, d)) ** (np.r_[np.ones(d - 1), 1.5] if power is None else power)
    ranks = np.floor(100 * u).astype(int)
    return Calibration(
        prior_of(d).names, 99, ranks, uniformity(ranks, 99), RNG.uniform(size=n) ** 0.9
    )


def correlation(d):
    matrix = np.corrcoef(RNG.normal(size=(d, 2 * d)))
    return Correlations(prior_of(d).names, matrix, 0.01 * np.ones((d, d)), 500)


def history(rounds, epochs=40):
    def one(k):
        loss = np.exp(-np.arange(epochs) / 9) + 0.01 * RNG.normal(size=(2, epochs)) - k
        best = int(np.argmin(loss[1]))
        return Round(
            1000, 900, 900 * (k + 1), 1.5, 2.0 * (k == 0), 3.0 + k, 3, best, loss[1, best],
            training_losses=tuple(loss[0]), validation_losses=tuple(loss[1]),
        )  # fmt: skip

    return Ledger("apt", tuple(map(one, range(rounds))))


def trail(d, length):
    theta = samples(d, 2)
    s = np.linspace(0, 1, 40)[:, None]
    rows = theta[0] + s * (theta[1] - theta[0]) * length
    log_prob = -(np.sin(9 * s[:, 0]) ** 2) - s[:, 0] / length
    return Path(prior_of(d).names, rows, s * np.ones(d) * length, log_prob)


def feature_rows(d):
    features = hodgkin_huxley.FEATURES if d <= 8 else stg.FEATURES
    x = 100 * RNG.normal(size=(300, len(features)))
    x[:30, 2] = np.nan
    x[:, 0] = np.round(x[:, 0] / 100)
    return x, features


def predicted(d):
    x, features = feature_rows(d)
    return plotting.predictive(np.r_[x[0, :-1], np.nan], x, features)


def voltages():
    time = np.arange(30_000) * 0.02
    voltage = -60 + 80 * (np.sin(time / 10) > 0.99)
    return time, voltage


def traced():
    time, voltage = voltages()
    simulated = {"MAP": voltage - 1, "sample": voltage + 1}
    return plotting.traces(time, voltage, simulated, current=0.01 * voltage)


def banded(signals):
    time = np.linspace(0, 50, 60 if signals == 1 else 400)
    x = np.sin(time / 4)[:, None] * np.exp(-time / 30)[:, None] * np.arange(1, signals + 1)
    simulated = x + 0.2 * RNG.normal(size=(200, 1, signals)) * (1 + time[:, None] / 20)
    named = {"names": ["V", "w", "g_syn"][:signals], "units": ["mV", "", "nS"][:signals]}
    return plotting.bands(time, x, simulated, **named)


def every():
    """{name: () -> figure} at each dimension at which its layout differs."""
    found = {f"pairs {d}": lambda d=d: pair(d) for d in (1, 2, 3, 8, 12, 31)}
    found |= {f"conditional pairs {d}": lambda d=d: conditional(d) for d in (1, 2, 8, 31)}
    for d in (1, 3, 8, 31):
        prior = prior_of(d)
        found |= {
            f"marginals {d}": lambda d=d, prior=prior: plotting.marginals(
                samples(d), prior, truth=samples(d)[0], points={"MAP": samples(d)[1]}
            ),
            f"ranks {d}": lambda d=d: plotting.ranks(calibration(d)),
            f"ecdf {d}": lambda d=d: plotting.ecdf(calibration(d)),
            f"paths {d}": lambda d=d, prior=prior: plotting.paths(
                {"along the ridge": trail(d, 1.0), "across": trail(d, 0.2)}, prior
            ),
        }
    found |= {f"predictive {d}": lambda d=d: predicted(d) for d in (8, 31)}
    found |= {
        f"correlations {d}": lambda d=d: plotting.correlations(correlation(d), correlation(d))
        for d in (2, 8, 31)
    }
    found |= {
        "correlations alone": lambda: plotting.correlations(correlation(8)),
        "coverage": lambda: plotting.coverage(calibration(2)),
        "coverage of many": lambda: plotting.coverage(
            {f"{name}": calibration(2) for name in prior_of(8).names}
        ),
        "traces": traced,
        "bands 1": lambda: banded(1),
        "bands 3": lambda: banded(3),
        "losses 1": lambda: plotting.losses(history(1)),
        "losses 5": lambda: plotting.losses(history(5)),
        "ledger 1": lambda: plotting.ledger(history(1)),
        "ledger 10": lambda: plotting.ledger(history(10)),
    }
    return found
