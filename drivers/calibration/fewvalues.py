"""Uncertainties of few values, stated so that two of them hold what two of a normal distribution do. Pure."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

TWO_SIGMAS = 0.97725


def stated(sigma: float, freedom: int) -> float:
    """An uncertainty that was seen from so few values more than what was fitted."""
    return sigma * float(student.ppf(TWO_SIGMAS, max(freedom, 1))) / 2


def of_values(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent values and its uncertainty; two and more."""
    mean, number = float(np.mean(values)), len(values)
    return mean, stated(float(np.std(values, ddof=1)) / math.sqrt(number), number - 1)
