"""How intensities fall with the rotation: fitted to all that passed, and to how equivalents differ.

The logarithm of the mean intensity is a curve over the spacing, with a difference between directions, less a fall. It
is fitted by estimating equations with a correlation of equivalents (Liang & Zeger, 1986): intensities are distributed
exponentially (Wilson, 1949), and one that was not found counts with what is expected of one below the limit. Strong
equivalents that passed at different times say far more, for what the structure is drops out of their differences. All
uncertainties come from how the classes of equivalents scatter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.live.passages import Passages

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]

LARGEST = 6.0
"""A reflection counts as so many times the mean at most."""
DIRECTION_SIGMA = 0.7
"""How much the directions of a crystal differ at the finest spacing, in the logarithm, before anything was seen."""
ROUNDS, LONGEST_STEP, AT_REST, NEARLY_AT_REST = 60, 1.5, 1e-3, 0.05
SYSTEMATIC = 0.02
"""No fall of a logarithm is known better: what is lit changes by as much."""
STRONG = 5.0
"""Equivalents are compared whose intensities are so many times the limit in the (geometric) mean."""
LEAST_SCATTER, SOFT, ROUNDS_OF_SCATTER = 0.03, 3.0, 6
"""Relative, of intensities of equivalents beyond counting; those that are so many standard deviations off count
less."""
FEWEST_EQUIVALENTS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Fall:
    """Parameters (m,) of the fall with their covariance."""

    values: Array
    covariance: Array

    def of(self, weights: Array) -> tuple[float, float]:
        """A sum of the parameters and its standard deviation."""
        return float(weights @ self.values), float(np.sqrt(np.maximum(weights @ self.covariance @ weights, 1e-12)))


def fitted_fall(passed: Passages, fall: Array, base: Array, precision: Array) -> Fall | None:
    """The logarithm of the mean: base (n, k) and -fall (n, m). precision: (k,) of the base before anything was seen.

    None where it does not come to rest. 10 ms for a thousand passages.
    """
    try:
        estimates = [_of_all(passed, fall, base, precision), _of_equivalents(passed, fall)]
        if estimates[0] is None:
            return None
        known = [each for each in estimates if each is not None]
        information = np.sum([each[1] for each in known], axis=0)
        values = np.linalg.solve(information, np.sum([each[1] @ each[0] for each in known], axis=0))
        covariance = np.linalg.inv(information) + SYSTEMATIC**2 * np.eye(len(values))
    except np.linalg.LinAlgError:  # nothing tells some of the parameters
        return None
    return Fall(values, covariance) if np.isfinite(values).all() and np.isfinite(covariance).all() else None


def _of_all(passed: Passages, fall: Array, base: Array, precision: Array) -> tuple[Array, Array] | None:
    """The parameters of the fall (m,) from all that passed, and their information (m, m)."""
    columns = np.hstack([base, -fall])
    prior = np.concatenate([precision, np.zeros(fall.shape[1])])
    counts, limit, offset = np.nan_to_num(passed.intensity), passed.limit, np.log(passed.lorentz)
    group = np.unique(passed.group, return_inverse=True)[1].reshape(-1)
    size = np.bincount(group)
    values = np.zeros(columns.shape[1])
    values[0] = np.log(np.where(passed.found, counts, limit / 3).mean()) - offset.mean()
    correlation, moved = 0.0, np.inf
    for turn in range(ROUNDS):
        mean = np.exp(np.clip(offset + columns @ values, -30, 50))
        below = np.clip(limit / mean, 1e-6, 50)
        # Of an exponential distribution below a limit: its mean as a share of the whole one's, and how that changes.
        scale = below / np.expm1(below)
        share = np.where(passed.found, np.minimum(counts / mean, LARGEST), 1 - scale)
        change = np.where(passed.found, share, scale * (scale * np.exp(below) - 1))
        each = columns * _decorrelated((share - 1)[:, None], group, size, correlation)
        bread = columns.T @ _decorrelated(columns * change[:, None], group, size, correlation) + np.diag(prior)
        scores = np.stack([np.bincount(group, column) for column in each.T], axis=1)
        step = np.linalg.solve(bread, scores.sum(axis=0) - prior * values)
        moved = float(np.abs(step).max())
        values = values + step * min(1.0, LONGEST_STEP / max(moved, 1e-9))
        if turn % 3 == 2:
            correlation = _correlation(share - 1, group, size)
        if turn > 6 and moved < AT_REST:
            break
    if not moved < NEARLY_AT_REST:
        return None
    inverse = np.linalg.inv(bread)
    many = len(size) / max(len(size) - len(values), 1)
    covariance = inverse @ (many * scores.T @ scores + np.diag(prior)) @ inverse.T
    count = fall.shape[1]
    return values[-count:], np.linalg.inv(covariance[-count:, -count:])


def _decorrelated(what: Array, group: Numbers, size: Numbers, correlation: float) -> Array:
    """(n, k) times the inverse of the correlation matrix of the classes."""
    gamma = (correlation / (1 + (size - 1) * correlation))[group]
    total = np.stack([np.bincount(group, column) for column in what.T], axis=1)
    return np.asarray((what - gamma[:, None] * total[group]) / (1 - correlation))


def _correlation(off: Array, group: Numbers, size: Numbers) -> float:
    """Of equivalents, in what they deviate from the mean."""
    total, squares = np.bincount(group, off), np.bincount(group, off**2)
    pairs = float((size * (size - 1)).sum())
    if pairs == 0:
        return 0.0
    return float(np.clip((total**2 - squares).sum() / pairs / max(float((off**2).mean()), 1e-9), 0.0, 0.95))


def _of_equivalents(passed: Passages, fall: Array) -> tuple[Array, Array] | None:
    """The parameters of the fall (n, m) from how strong equivalents differ that passed at other times, and their
    information (m, m); None for too few. What the structure is drops out.
    """
    number = np.unique(passed.group, return_inverse=True)[1].reshape(-1)
    found = passed.found
    counts = np.where(found, passed.intensity, 1.0)
    above = np.log(counts / passed.limit)
    size = np.bincount(number, found)
    strong = np.bincount(number, np.where(found, above, 0.0)) > np.log(STRONG) * size
    which = found & (strong & (size > 1))[number]
    if which.sum() < FEWEST_EQUIVALENTS:
        return None
    group = np.unique(number[which], return_inverse=True)[1].reshape(-1)
    seen, columns = np.log(counts / passed.lorentz)[which], -fall[which]
    noise = (passed.sigma / counts)[which] ** 2
    scatter, soft = 0.05, np.ones(len(seen))
    for _ in range(ROUNDS_OF_SCATTER):
        weight = soft / (noise + scatter**2)

        def centred(what: Array, weight: Array = weight) -> Array:
            return np.asarray(what - (np.bincount(group, weight * what) / np.bincount(group, weight))[group])

        own = np.stack([centred(column) for column in columns.T], axis=1)
        rest = centred(seen)
        information = own.T @ (own * weight[:, None])
        values = np.linalg.solve(information, own.T @ (weight * rest))
        rest = rest - own @ values
        free = 1 - 1 / np.bincount(group)[group]  # of a class the mean is taken away
        excess = np.median(rest**2 / free) / 0.455 - np.median(noise)
        scatter = float(np.sqrt(max(excess, LEAST_SCATTER**2)))
        pull = np.abs(rest) / np.sqrt(free * (noise + scatter**2))
        soft = np.minimum(1.0, SOFT / np.maximum(pull, 1e-9)) ** 2
    # As the parameters change where a class is left out: a few that say all are not believed to scatter little.
    pair = (own[:, :, None] * own[:, None, :] * weight[:, None, None]).reshape(len(own), -1)
    own_information = np.stack([np.bincount(group, column) for column in pair.T], axis=1)
    scores = np.stack([np.bincount(group, column) for column in (own * (weight * rest)[:, None]).T], axis=1)
    without = information - own_information.reshape(-1, *information.shape)
    changes = np.linalg.solve(without + 1e-9 * np.trace(information) * np.eye(len(values)), scores[:, :, None])[:, :, 0]
    return values, np.linalg.inv(changes.T @ changes)
