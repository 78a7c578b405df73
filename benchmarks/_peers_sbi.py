"""The same inference in `sbi`: NPE with its defaults, on the same simulations."""

from __future__ import annotations

import contextlib
import tempfile
import time
import warnings
from typing import Any

import numpy as np
import numpyro.distributions as dist

import jaxsbi


def torch_prior(prior: jaxsbi.Prior) -> Any:
    """The prior as a torch distribution."""
    import torch
    from sbi.utils import BoxUniform
    from torch import distributions

    def tensor(array: Any) -> torch.Tensor:
        return torch.tensor(np.array(array, np.float32)).expand(prior.dim).contiguous()

    (component,) = prior.components
    base = getattr(component, "base_dist", component)
    if isinstance(component, dist.MultivariateNormal):
        factor = torch.tensor(np.array(component.scale_tril, np.float32))
        return distributions.MultivariateNormal(tensor(component.loc), scale_tril=factor)
    if isinstance(base, dist.Uniform):
        return BoxUniform(tensor(base.low), tensor(base.high))
    if isinstance(base, dist.Normal | dist.LogNormal):
        kind = distributions.LogNormal if isinstance(base, dist.LogNormal) else distributions.Normal
        return distributions.Independent(kind(tensor(base.loc), tensor(base.scale)), 1)
    raise ValueError(f"prior must be uniform, normal or log-normal, got {prior!r}")


def npe(
    prior: jaxsbi.Prior,
    theta: np.ndarray,
    x: np.ndarray,
    observations: list[np.ndarray],
    samples: int,
    seed: int,
    estimator: str | None = None,
) -> tuple[list[np.ndarray], dict[str, float]]:
    """Samples (n, d) of each observation's posterior, and what training and sampling cost.

    estimator: sbi's name of a density estimator; None for its default.
    """
    import torch
    from sbi.inference import NPE

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # its networks are small: two threads wait for each other
    target = torch_prior(prior)
    options = {} if estimator is None else {"density_estimator": estimator}
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as logs,
        contextlib.chdir(logs),  # sbi logs where it stands
        contextlib.redirect_stdout(None),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        inference = NPE(prior=target, show_progress_bars=False, **options)
        tensors = (torch.tensor(np.array(a, np.float32)) for a in (theta, x))
        inference.append_simulations(*tensors).train()
        trained = time.perf_counter()
        posterior = inference.build_posterior()
        draws = [
            posterior.sample((samples,), x=torch.tensor(o), show_progress_bars=False).numpy()
            for o in observations
        ]
    sampled = time.perf_counter()
    cost = {
        "train_seconds": trained - began,
        "epochs": inference.summary["epochs_trained"][-1],
        "sample_seconds": sampled - trained,
    }
    return draws, cost
