"""What is done to a neuron: currents injected in time, with the window in which they act."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._parameters import as_numbers, concrete


class CurrentClamp(eqx.Module):
    """Current density I_i [µA/cm²] at t = i·dt, i = 0 … n − 1; V₀ [mV]; window t_on, t_off [ms].

    A pytree: current (n,), v0, t_on and t_off are dynamic, dt [ms] and n are static, so that
    protocols of one length and step share a compilation, and can be stacked for `jax.vmap`.
    A time closer than dt/20 to a sample is the sample's.
    """

    current: jax.Array | np.ndarray = eqx.field(converter=as_numbers)
    v0: jax.Array | np.ndarray = eqx.field(converter=as_numbers)
    t_on: jax.Array | np.ndarray = eqx.field(converter=as_numbers)
    t_off: jax.Array | np.ndarray = eqx.field(converter=as_numbers)
    dt: float = eqx.field(static=True, converter=float)

    def __check_init__(self):
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise ValueError(f"dt: expected a positive time step [ms], got {self.dt}")
        if self.current.ndim != 1 or self.current.shape[0] < 3:
            raise ValueError(
                "current: expected shape (n,), n ≥ 3, one density [µA/cm²] per sample, "
                f"got {self.current.shape}"
            )
        for name in ("v0", "t_on", "t_off"):
            value = getattr(self, name)
            if value.shape != ():
                raise ValueError(f"{name}: expected one number, got shape {value.shape}")
        for name in ("current", "v0", "t_on", "t_off"):
            value = getattr(self, name)
            if concrete(value) and not np.all(np.isfinite(value)):
                bad = int(np.sum(~np.isfinite(value)))
                raise ValueError(
                    f"{name}: expected finite numbers, got {bad} of {np.size(value)} NaN or "
                    "infinite; cut or fill the gap first"
                )
        if concrete(self.t_on) and concrete(self.t_off):
            end = self.duration + 0.05 * self.dt
            if not 0 <= self.t_on < self.t_off <= end:
                raise ValueError(
                    f"t_on, t_off: expected 0 ≤ t_on < t_off ≤ {self.duration:g} ms (the end), "
                    f"got {float(self.t_on):g} and {float(self.t_off):g}"
                )

    @property
    def samples(self) -> int:
        """Number of samples n; the last is at (n − 1)·dt."""
        return self.current.shape[0]

    @property
    def duration(self) -> float:
        """Time of the last sample [ms]."""
        return (self.samples - 1) * self.dt

    @property
    def time(self) -> np.ndarray:
        """t = i·dt [ms], shape (n,)."""
        return np.arange(self.samples) * self.dt


def step(
    amplitude: float,
    t_on: float = 10.0,
    t_off: float = 110.0,
    duration: float = 120.0,
    dt: float = 0.01,
    v0: float = -70.0,
) -> CurrentClamp:
    """I(t) = amplitude [µA/cm²] for t_on ≤ t < t_off [ms], 0 before and after."""
    for name, value in {"dt": dt, "duration": duration}.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a positive time [ms], got {value}")
    samples = int(np.rint(duration / dt)) + 1
    index = jnp.arange(samples) if isinstance(amplitude, jax.Array) else np.arange(samples)
    on, off = at_or_after(t_on, dt), at_or_after(t_off, dt)
    return CurrentClamp(amplitude * ((index >= on) & (index < off)), v0, t_on, t_off, dt)


def position(t, dt: float):
    """t/dt, exactly the whole number k if within 1/20 of it (float32 times are that far off)."""
    array = jnp if isinstance(t, jax.Array) else np
    x = t / dt
    near = array.round(x)
    return array.where(array.abs(x - near) < 0.05, near, x)


def at_or_after(t, dt: float):
    """Number of the first sample with i·dt ≥ t."""
    return _whole(jnp.ceil if isinstance(t, jax.Array) else np.ceil, position(t, dt))


def after(t, dt: float):
    """Number of the first sample with i·dt > t."""
    return _whole(jnp.floor if isinstance(t, jax.Array) else np.floor, position(t, dt)) + 1


def _whole(rounding, x):
    return rounding(x).astype(np.int32)
