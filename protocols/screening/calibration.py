"""From a logit to a probability that means what it says: Platt's line, fitted to patterns that were not trained on."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of the expected calibration error."""
LEAST_SCALE = 0.05


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability of a logit x is 1 / (1 + exp(-(scale x + offset)))."""

    scale: float = 1.0
    offset: float = 0.0

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n,) probabilities."""
        from scipy.special import expit

        return np.asarray(expit(self.scale * np.asarray(logits, dtype=np.float64) + self.offset))

    def record(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def fitted(logits: NDArray[np.floating], true: NDArray[np.bool_]) -> Calibration:
    """By the most likely scale and offset, with the targets a little inside 0 and 1 that Platt (1999) takes; none where
    there are not both kinds.
    """
    from scipy.optimize import minimize

    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return Calibration()
    x = np.asarray(logits, dtype=np.float64)
    target = np.where(true, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(p: NDArray[np.float64]) -> float:
        z = p[0] * x + p[1]
        return float(np.mean(np.logaddexp(0, z) - target * z))

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead")
    return Calibration(max(LEAST_SCALE, round(float(found.x[0]), 4)), round(float(found.x[1]), 4))


def calibration_error(probability: NDArray[np.floating], true: NDArray[np.bool_]) -> float:
    """The expected calibration error: over BINS of equal width, how far the mean probability is from the share that is
    true, weighted by how many are in a bin.
    """
    number = np.minimum((np.asarray(probability) * BINS).astype(int), BINS - 1)
    of = np.bincount(number, minlength=BINS)
    off = np.bincount(number, np.asarray(probability, dtype=np.float64) - true, BINS)
    return float(np.abs(off).sum() / max(1, of.sum()))
