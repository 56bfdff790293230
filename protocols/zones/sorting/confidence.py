"""From the network's logit to the probability that a pattern is zonal.

The network is trained on batches of which half are zonal; in a serial experiment 3 to 7 in a hundred are. By Bayes'
rule another share of a class adds the same number to every logit: ln(p / (1 - p)) - ln(q / (1 - q)), where p is the
share in the experiment and q that in training.

p is a parameter and not estimated from the set at hand. Such an estimate (Saerens et al., Neural Computation 14, 21-41,
2002) was tried: on 1000 patterns of a cell it came within a tenth of the true share, on 50 anywhere from 0 to twice
that. But the confidence of a picture would then depend on which others were classified with it, and a single one would
have none. A p that is wrong by a factor of two changes the logit by 0.7; most zonal patterns and others are more than
ten apart. On fresh cells the confidences are right in order and too modest above 0.3: patterns with 0.6 were zonal in
nine of ten cases, those with 0.8 in 99 of 100.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NATURAL_SHARE = 0.03
"""Of zonal patterns in all orientations of a crystal with 1000 A^3 a cell; 0.045 at 700 and 0.07 at 500 A^3."""

TRAINED_SHARE = 0.5


def log_odds(share: float) -> float:
    """ln(p / (1 - p)). ValueError for a share that is not between 0 and 1."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"the share of zonal patterns is {share}, it must be between 0 and 1")
    return float(np.log(share) - np.log1p(-share))


def confidence(
    logits: NDArray[np.floating], share: float = NATURAL_SHARE, trained_share: float = TRAINED_SHARE
) -> Array:
    """(n,) probability of `2DZone` where `share` of all patterns are zonal, from (n,) logits of the network.

    ValueError for a share that is not between 0 and 1.
    """
    from scipy.special import expit

    shift = log_odds(share) - log_odds(trained_share)
    return np.asarray(expit(np.asarray(logits, dtype=np.float64) + shift), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Bin:
    """Patterns whose confidence is from `low` to `high`: their mean confidence, and how many of them are zonal."""

    low: float
    high: float
    patterns: int
    mean_confidence: float
    zonal: int


EDGES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)


def reliability(confidences: Array, zonal: NDArray[np.bool_], edges: tuple[float, ...] = EDGES) -> list[Bin]:
    """Whether confidences mean what they say: (n,) confidences and the truth, in bins; empty bins are left out.

    A bin takes its lower edge and not its upper one, but the last has both.
    """
    number = np.clip(np.searchsorted(edges, confidences, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for i in range(len(edges) - 1):
        own = number == i
        if own.any():
            mean = float(confidences[own].mean())
            bins.append(Bin(edges[i], edges[i + 1], int(own.sum()), mean, int(zonal[own].sum())))
    return bins
