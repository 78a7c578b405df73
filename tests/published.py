"""What Gonçalves et al. 2020 (eLife 9:e56261, figure 4) publish of their six recorded cells."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np


class Cell(NamedTuple):
    """Area of the soma, τ_m [s] / R_in [MΩ] = cm²; the sweep; seven features, as printed.

    Spike count, resting mean and sd, mean, variance, skewness, kurtosis.
    """

    area: float
    sweep: int
    printed: str

    @property
    def features(self) -> np.ndarray:
        return np.array([float(word) for word in self.printed.split()])

    @property
    def half_digits(self) -> np.ndarray:
        """Half a unit of the last digit that is given."""
        exponents = [Decimal(word).as_tuple().exponent for word in self.printed.split()]
        return 0.5 * 10.0 ** np.array(exponents)


CELLS = {
    509881736: Cell(0.0153 / 184, 39, "25 -81.131 .0870 -52.978 157.61 3.9325 19.156"),
    518290966: Cell(0.0234 / 126, 57, "12 -86.619 .0582 -59.743 73.567 5.7112 49.658"),
    526950199: Cell(0.0186 / 218, 37, "22 -79.454 .0435 -59.355 118.89 5.3234 34.070"),
    532571720: Cell(0.0139 / 127, 42, "18 -90.050 .0443 -55.199 130.44 4.6210 29.031"),
    534524026: Cell(0.027 / 209, 29, "25 -75.732 .0884 -58.576 143.22 4.7270 26.793"),
    566517779: Cell(0.0195 / 198, 46, "20 -74.103 .0894 -58.752 99.876 5.6100 40.260"),
}
