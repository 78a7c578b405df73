"""Problems by name: `module:name`, an importable object with a simulator and a prior."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

from jaxsbi.arguments import first_line
from jaxsbi.priors import Prior, box
from jaxsbi.types import Simulator


class Problem(NamedTuple):
    """What to infer: where it is found, x ~ p(x | θ), p(θ)."""

    name: str
    simulate: Simulator
    prior: Prior


def find_problem(name: str) -> Problem:
    """The problem `module` or `module:name`, also of a module in the working folder.

    It has `simulate`, and `prior` or `PARAMETERS` with names, units and bounds; a ValueError
    otherwise.
    """
    module, _, attribute = name.partition(":")
    if not module or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(
            f"PROBLEM must be module:name, such as simulators.hodgkin_huxley, got {name!r}"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the user's own code: whatever it raises is reported as its failure
        raise ValueError(
            f"PROBLEM {name}: importing {module} raised {type(error).__name__}: {first_line(error)}"
        ) from error
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            raise ValueError(f"PROBLEM {name}: {module} has no {attribute}")
        found = getattr(found, part)
    simulate, prior = getattr(found, "simulate", None), getattr(found, "prior", None)
    if prior is None and hasattr(found, "PARAMETERS"):
        prior = box(found.PARAMETERS)
    if not callable(simulate) or not isinstance(prior, Prior):
        raise ValueError(
            f"PROBLEM {name} must have simulate, a function (key, theta) -> x, and prior, a "
            "jaxsbi.Prior, or PARAMETERS with bounds"
        )
    return Problem(name, simulate, prior)
