"""How bright the crystal was in each frame, by its equivalent reflections: one smooth factor over the rotation.

A crystal that leaves the aperture, gets thicker in the beam as it is tilted, or is damaged is brighter in some frames
than in others, and equivalents that passed at different angles differ for it. The factor is fitted so that they agree
(Hamilton, Rollett & Sparks, 1965; Fox & Holmes, 1966): its logarithm is a line between knots, and no more bent than
a crystal's. It is used only where equivalents tell that it is not 1. How well they do depends on how far apart they
passed: Friedel mates pass a degree or two from each other, mates by a rotation axis anywhere.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocols.integration.merging import unique_of

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Numbers = NDArray[np.intp]

KNOT_DEG = 3.0
BENT = 0.15
"""How much the logarithm bends at a knot: its second difference, one standard deviation, before anything was seen."""
LARGEST = 1.0
"""The logarithm over the rotation (root mean square), one standard deviation, before anything was seen: what nobody
tells stays near 0."""
SURE = 3.0
LEAST = 0.01
"""A logarithm (root mean square) of less, or of less than so many of its standard deviations, is none."""
KNOWN_TO = 0.05
"""So that a few strong reflections do not decide alone."""
SOFT = 3.0
"""Equivalents that are so many standard deviations off count less."""
FEWEST = 20
"""Reflections with equivalents."""
ROUNDS, LONGEST_STEP, AT_REST, NOTHING = 30, 0.5, 1e-4, 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """knots_deg: (k,) ascending. log: (k,) logarithm of the factor; its mean over the observations is 0. covariance:
    (k, k) of it. rms, doubt: of the logarithm and of its standard deviation, over the observations.
    """

    knots_deg: Array
    log: Array
    covariance: Array
    rms: float
    doubt: float

    @property
    def used(self) -> bool:
        """Whether equivalents tell that it is not 1."""
        return self.rms > max(SURE * self.doubt, LEAST)

    @property
    def extremes(self) -> tuple[float, float]:
        """The faintest and the brightest, 1 being the mean."""
        return float(np.exp(self.log.min())), float(np.exp(self.log.max()))

    def apply(self, angle_deg: Array, intensity: Array, sigma: Array) -> tuple[Array, Array]:
        """(n,) intensities as if the crystal had always been equally bright; the doubt of it is in the sigmas."""
        hats = _hats(self.knots_deg, angle_deg)
        factor = np.exp(hats @ self.log)
        variance = np.einsum("nk,kl,nl->n", hats, self.covariance, hats)
        value = intensity / factor
        return value, np.sqrt((sigma / factor) ** 2 + np.maximum(variance, 0) * value**2)


def fitted_scale(
    group: "gemmi.SpaceGroup", hkl: Indices, intensity: Array, sigma: Array, angle_deg: Array
) -> Scale | None:
    """The factor by which (n,) observations with indices (n, 3) are brighter at some angles; equivalents are those of
    the Laue class of the group. None where too few have any. 10 to 100 ms.
    """
    unique, row = unique_of(group, hkl)
    several = np.bincount(row, minlength=len(unique)) > 1
    if several.sum() < FEWEST:
        return None
    low, high = float(angle_deg.min()), float(angle_deg.max())
    knots_deg = np.linspace(low, high, max(2, round((high - low) / KNOT_DEG) + 1))
    every = _hats(knots_deg, angle_deg)
    mine = several[row]
    row = (np.cumsum(several) - 1)[row[mine]]
    fit = _Fit(row, int(several.sum()), intensity[mine], sigma[mine], every[mine])
    log = np.zeros(len(knots_deg))
    prior = _prior(len(knots_deg), every.mean(axis=0))
    for _ in range(ROUNDS):
        normal, gradient, _ = fit.linear(log)
        step = np.linalg.solve(normal + prior, gradient - prior @ log)
        log = log + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        if np.abs(step).max() < AT_REST:
            break
    normal, _, scatter = fit.linear(log)
    covariance: Array = np.asarray(np.linalg.inv(normal / scatter + prior), dtype=np.float64)
    variance = np.einsum("nk,kl,nl->n", every, covariance, every)
    rms = float(np.sqrt(np.mean((every @ log) ** 2)))
    return Scale(knots_deg, log, covariance, rms, float(np.sqrt(np.mean(np.maximum(variance, 0)))))


def _hats(knots_deg: Array, angle_deg: Array) -> Array:
    """(n, k) how much of each knot there is at an angle; beyond the ends, the last one."""
    at = np.interp(angle_deg, knots_deg, np.arange(len(knots_deg), dtype=np.float64))
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(len(knots_deg))), 0.0))


def _prior(count: int, mean: Array) -> Array:
    """(k, k) inverse covariance: how little it bends, how large it is; its mean over the observations is 0."""
    bends = np.diff(np.eye(count), n=2, axis=0) / BENT
    return np.asarray(bends.T @ bends + np.eye(count) / (count * LARGEST**2) + np.outer(mean, mean) / NOTHING**2)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """(m,) observations: which of `count` reflections each is, intensity, its sigma, share of the knots (m, k)."""

    row: Numbers
    count: int
    intensity: Array
    sigma: Array
    hats: Array

    def linear(self, log: Array) -> tuple[Array, Array, float]:
        """Normal matrix (k, k) and gradient (k,) at a logarithm, without the reflections' own intensities; and how much
        more equivalents scatter than they should (variance, 1 at least).
        """
        factor = np.exp(self.hats @ log)
        true = self._means(factor, 1 / self.sigma**2)
        weight = 1 / (self.sigma**2 + (KNOWN_TO * factor * true[self.row]) ** 2)
        true = self._means(factor, weight)
        off = (self.intensity - factor * true[self.row]) * np.sqrt(weight)
        scatter = float(np.square(np.median(np.abs(off[off != 0])) / 0.6745)) if np.any(off != 0) else 1.0
        # Of two observations both are off by less than they differ.
        scatter = max(scatter * len(off) / max(len(off) - self.count, 1), 1.0)
        weight = weight / (1 + off**2 / (scatter * SOFT**2))
        true = self._means(factor, weight)
        off = self.intensity - factor * true[self.row]
        root = np.sqrt(weight)
        slope = (root * factor * true[self.row])[:, None] * self.hats
        own = root * factor
        along = np.stack([self._sums(own * slope[:, k]) for k in range(slope.shape[1])], axis=1)
        size = np.maximum(self._sums(own**2), 1e-300)
        normal = slope.T @ slope - along.T @ (along / size[:, None])
        return normal, slope.T @ (root * off), scatter

    def _means(self, factor: Array, weight: Array) -> Array:
        """(count,) intensities by these weights, never below nothing."""
        sums = self._sums(weight * factor * self.intensity) / np.maximum(self._sums(weight * factor**2), 1e-300)
        return np.asarray(np.maximum(sums, 0.0))

    def _sums(self, values: Array) -> Array:
        return np.asarray(np.bincount(self.row, values, self.count), dtype=np.float64)
