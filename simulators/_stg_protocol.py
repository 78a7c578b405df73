"""How a pyloric circuit is run: simulated time, burn-in, time step, temperature, noise."""

import equinox as eqx
import jax
import numpy as np

from . import _stg_kinetics as kinetics
from ._parameters import concrete
from .stimuli import at_or_after


class Protocol(eqx.Module):
    """Simulated time, of which the first part is discarded [ms], time step [ms]; temperature [K]
    and sd of the current noise [µA].

    Samples i = 0 … n − 1 are at t = i·dt < duration; features see those with burn_in ≤ t.
    Temperature and noise are dynamic, the others static.
    """

    duration: float = eqx.field(static=True, converter=float, default=11_000.0)
    burn_in: float = eqx.field(static=True, converter=float, default=1000.0)
    dt: float = eqx.field(static=True, converter=float, default=0.025)
    temperature: jax.Array | float = kinetics.REFERENCE
    noise: jax.Array | float = 0.001

    def __check_init__(self):
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt: expected a positive time step [ms], got {self.dt}")
        if not 0 <= self.burn_in < self.duration < np.inf:
            raise ValueError(
                f"duration, burn_in: expected 0 ≤ burn_in < duration [ms], got {self.duration} "
                f"and {self.burn_in}"
            )
        if self.samples - self.start < 3:
            raise ValueError(
                f"duration: expected at least three samples after the burn-in of {self.burn_in} "
                f"ms, got {self.duration} ms; lengthen it or take a smaller dt"
            )
        if self.samples > 1 << 24:  # times are counted in floats
            raise ValueError(
                f"duration: expected at most 2²⁴ samples, got {self.samples}; simulate a shorter "
                "time or take a larger dt"
            )
        t, sd = self.temperature, self.noise
        if np.shape(sd) == () and concrete(sd) and not (np.isfinite(sd) and sd >= 0):
            raise ValueError(f"noise: expected a standard deviation ≥ 0 [µA], got {sd}")
        if np.shape(t) == () and concrete(t):
            if not (np.isfinite(t) and 250 <= t <= 350):
                raise ValueError(f"temperature: expected 250 to 350 K, got {t}")
            if self.dt > kinetics.fastest(float(t)):
                raise ValueError(
                    f"dt: expected at most {kinetics.fastest(float(t)):.3g} ms, the fastest time "
                    f"constant (of sodium) at {float(t):g} K, got {self.dt}; 0.025 is usual"
                )

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return int(at_or_after(self.duration, self.dt))

    @property
    def start(self) -> int:
        """Number of the first sample that features see."""
        return int(at_or_after(self.burn_in, self.dt))

    @property
    def time(self) -> np.ndarray:
        """t = i·dt [ms], shape (n,)."""
        return np.arange(self.samples) * self.dt
