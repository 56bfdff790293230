"""Poisson counts of a whole frame in some milliseconds: numpy's own take three to ten times as long.

Small expectations go to a table of the inverse distribution function: 65536 numbers for each of LEVELS means, which are
3 % apart; of the two nearest means one is taken by lot, so that the mean of the counts is right to 0.02 %. What is
rarer than one in 65536 is not drawn. Large ones are normal with the skew of the Poisson distribution put right
(Cornish and Fisher).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

LEAST, MOST = 0.01, 32.0
"""Means of the table. Below LEAST there are its counts or none, by lot."""
LEVELS = 256
_STEP = np.log(MOST / LEAST) / (LEVELS - 2)
_DRAWS = 1 << 16
"""So that the number of a table's entry is its level and sixteen bits of a draw."""


@cache
def _table() -> NDArray[np.uint8]:
    """(LEVELS, 65536) counts: of mean 0, and of LEAST to MOST."""
    from scipy.stats import poisson

    table = np.zeros((LEVELS, _DRAWS), dtype=np.uint8)
    means = LEAST * np.exp(_STEP * np.arange(LEVELS - 1))
    most = np.arange(int(MOST + 8 * np.sqrt(MOST)))
    middles = (np.arange(_DRAWS) + 0.5) / _DRAWS
    for level, mean in enumerate(means.tolist(), 1):
        table[level] = np.searchsorted(poisson.cdf(most, mean), middles)
    return table


def poisson_counts(expected: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Counts, as whole numbers in float32, of expectations of any shape; below 0 is taken as 0."""
    mean = expected.reshape(-1)
    draws = rng.integers(0, 1 << 32, mean.size, dtype=np.uint32)
    level = np.log(np.clip(mean, LEAST, MOST))
    level *= np.float32(1 / _STEP)
    level += np.float32(1 - np.log(LEAST) / _STEP)
    rare = np.flatnonzero(mean < LEAST)
    level[rare] = np.maximum(mean[rare], 0.0) * np.float32(1 / LEAST)
    level += (draws >> np.uint32(16)).astype(np.float32) * np.float32(1 / _DRAWS)
    place = np.minimum(level, LEVELS - 1).astype(np.int32)
    place <<= 16
    place |= (draws & np.uint32(0xFFFF)).view(np.int32)
    counts = _table().reshape(-1).take(place).astype(np.float32)
    large = np.flatnonzero(mean >= MOST)
    if len(large):
        of = mean[large]
        normal = rng.standard_normal(len(of), dtype=np.float32)
        counts[large] = np.maximum(np.rint(of + np.sqrt(of) * normal + (normal * normal - 1) * np.float32(1 / 6)), 0)
    return counts.reshape(expected.shape)
