"""Diagnostics: is the posterior right? Each returns a small result with a verdict in words.

Over many x: `sbc` and `coverage` (both in `calibrate`), `tarp`. At one x: `lc2st`, `predictive`.
Of x_o alone: `misspecification`. Of two samples: `c2st`, `mmd`. For a posterior refined for one
x_o: `lc2st`, and over `truncated_joint`, if `tsnpe` made it, all that serve an amortised one.
"""

from jaxsbi.diagnostics.calibration import (
    LEVELS,
    Calibration,
    Coverage,
    calibrate,
    coverage,
    sbc,
)
from jaxsbi.diagnostics.local import LC2ST, lc2st
from jaxsbi.diagnostics.misspecification import Misspecification, misspecification
from jaxsbi.diagnostics.predictive import Predictive, predictive
from jaxsbi.diagnostics.samples import C2ST, MMD, c2st, mmd
from jaxsbi.diagnostics.significance import holm
from jaxsbi.diagnostics.tarp import TARP, tarp
from jaxsbi.diagnostics.truncated import truncated_joint

__all__ = [
    "C2ST",
    "LC2ST",
    "LEVELS",
    "MMD",
    "TARP",
    "Calibration",
    "Coverage",
    "Misspecification",
    "Predictive",
    "c2st",
    "calibrate",
    "coverage",
    "holm",
    "lc2st",
    "misspecification",
    "mmd",
    "predictive",
    "sbc",
    "tarp",
    "truncated_joint",
]
