"""What spoils patterns: misplaced, missing and additional spots, a misplaced centre, several crystals in the beam.

Each takes patterns and gives spoilt ones; the label follows from the reflections that are left. Reciprocal lengths
in 1/A; one pixel of a 254 pixel picture is 0.0083 1/A.
"""

from dataclasses import replace

import numpy as np

from protocols.zones.patterns.simulation import Array, Indices, Patterns
from protocols.zones.sorting.labels import FEWEST_SPOTS


def displaced(patterns: Patterns, rng: np.random.Generator, sd_per_A: float) -> Patterns:
    """Every spot misplaced at random, normal with this standard deviation in x and in y."""
    return replace(patterns, xy=patterns.xy + rng.normal(0.0, sd_per_A, patterns.xy.shape))


def miscentred(patterns: Patterns, rng: np.random.Generator, sd_per_A: float) -> Patterns:
    """Every pattern shifted as a whole against its centre, normal with this standard deviation in x and in y."""
    shift = rng.normal(0.0, sd_per_A, (len(patterns), 2))
    return replace(patterns, xy=patterns.xy + shift[patterns.owner])


def distorted(patterns: Patterns, matrix: Array) -> Patterns:
    """Positions multiplied by a (2, 2) matrix: the elliptical distortion of a lens, the same in all patterns."""
    return replace(patterns, xy=patterns.xy @ matrix.T)


def thinned(patterns: Patterns, rng: np.random.Generator, share: float) -> Patterns:
    """Each spot missing with this probability."""
    return patterns.only(rng.random(len(patterns.xy)) >= share)


def speckled(patterns: Patterns, rng: np.random.Generator, share: float, d_star_max_per_A: float = 1.0) -> Patterns:
    """Additional spots anywhere within the resolution: for each spot one more with this probability.

    They have no index, so they count as outside every plane: a zone with one of them is a `hybrid`.
    """
    extra = rng.binomial(np.diff(patterns.start), share)
    count = int(extra.sum())
    radius = d_star_max_per_A * np.sqrt(rng.random(count))
    angle = rng.uniform(0.0, 2 * np.pi, count)
    xy = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _with(patterns, np.repeat(np.arange(len(patterns)), extra), xy, np.zeros((count, 3), dtype=np.int64))


def overlaid(patterns: Patterns, rng: np.random.Generator, crystals: int = 2, share: float = 1.0) -> Patterns:
    """Patterns with those of other crystals on top, each with this probability, drawn from the same set (which needs as
    many patterns).

    They are `severalCrystals`; the reflections of the others lose their index.
    """
    result = patterns
    order = rng.permutation(len(patterns))
    chosen = rng.random(len(patterns)) < share
    for further in range(1, crystals):
        # Along a random round of all patterns, so that none is laid over itself.
        other = patterns.take(order[(np.argsort(order) + further) % len(order)])
        other = other.only(chosen[other.owner])
        result = _with(result, other.owner, other.xy, np.zeros_like(other.hkl))
    return replace(result, crystals=np.where(chosen, crystals, patterns.crystals_in_beam))


def emptied(patterns: Patterns, rng: np.random.Generator, share: float, d_star_max_per_A: float = 1.0) -> Patterns:
    """Each pattern without a crystal with this probability: nothing but up to four spots anywhere. They are `noHit`."""
    chosen = rng.random(len(patterns)) < share
    spots = rng.integers(0, FEWEST_SPOTS, int(chosen.sum()))
    radius = d_star_max_per_A * np.sqrt(rng.random(int(spots.sum())))
    angle = rng.uniform(0.0, 2 * np.pi, len(radius))
    xy = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    rest = patterns.only(~chosen[patterns.owner])
    result = _with(rest, np.repeat(np.flatnonzero(chosen), spots), xy, np.zeros((len(xy), 3), dtype=np.int64))
    return replace(result, crystals=np.where(chosen, 0, patterns.crystals_in_beam))


def with_random_intensities(patterns: Patterns, rng: np.random.Generator) -> Patterns:
    """Intensities exponentially distributed (Wilson), each spot for itself, the strongest of a pattern 1."""
    intensity = rng.exponential(size=len(patterns.xy))
    strongest = np.zeros(len(patterns))
    np.maximum.at(strongest, patterns.owner, intensity)
    return replace(patterns, intensity=intensity / strongest[patterns.owner])


def _with(patterns: Patterns, owner: Indices, xy: Array, hkl: Indices) -> Patterns:
    """More spots, as strong as the strongest, for the patterns of these numbers."""
    owners = np.concatenate([patterns.owner, owner])
    order = np.argsort(owners, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(patterns)))])
    return Patterns(
        np.concatenate([patterns.xy, xy])[order],
        np.concatenate([patterns.hkl, hkl])[order],
        np.concatenate([patterns.intensity, np.ones(len(xy))])[order],
        start,
        patterns.orientation,
        patterns.crystals,
    )
