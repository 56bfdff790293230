"""Patterns from which a network learns to tell several crystals from one: each alone, and two of one cell together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.zones.patterns.noise import overlaid
from protocols.zones.patterns.render import render
from protocols.zones.patterns.simulation import Geometry, Patterns, joined, simulate
from protocols.zones.sorting.labels import FEWEST_SPOTS
from protocols.zones.sorting.network import binned
from protocols.zones.sorting.training import D_STAR_MAX_PER_A, ZOOM, spoilt, training_cell, turned, zoomed

CELLS, ORIENTATIONS = 60, 300
HELD_OUT_CELLS, HELD_OUT_ORIENTATIONS = 10, 150
HALF = 32
"""Of one batch."""
SPECIFICITY = 0.995
"""Of the held-out patterns of one crystal, at the threshold: they are many more than those of several."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The same patterns, of one crystal each, and each with another one on top."""

    one: Patterns
    several: Patterns


def make_pairs(
    rng: np.random.Generator, cells: int, orientations: int = ORIENTATIONS, d_star_max_per_A: float | None = None
) -> Pairs:
    """Patterns of random cells, up to the resolution that the smallest zoom needs."""
    geometry = Geometry(d_star_max_per_A=d_star_max_per_A or D_STAR_MAX_PER_A / ZOOM[0])
    one, several = [], []
    for _ in range(cells):
        cell, space_group = training_cell(rng)
        patterns = simulate(cell, orientations, rng, geometry, space_group, half_sphere=True)
        patterns = patterns.take(np.flatnonzero(np.diff(patterns.start) >= FEWEST_SPOTS))
        one.append(patterns)
        several.append(overlaid(patterns, rng))
    return Pairs(joined(one), joined(several))


def held_out(rng: np.random.Generator) -> Patterns:
    """Patterns of one and of two crystals of some more cells."""
    pairs = make_pairs(rng, HELD_OUT_CELLS, HELD_OUT_ORIENTATIONS, D_STAR_MAX_PER_A)
    return joined([pairs.one, pairs.several])


def draw(pairs: Pairs, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One batch: (64, 127, 127, 1) input of the network and (64,) 1 for several crystals, 0 for one."""
    one, several = (of.take(rng.integers(len(of), size=HALF)) for of in (pairs.one, pairs.several))
    candidates = turned(zoomed(joined([one, several]), rng), rng)
    order = rng.permutation(2 * HALF)
    mixed = joined([candidates.take(order[:HALF]), spoilt(candidates.take(order[HALF:]), rng)])
    return binned(render(mixed)), (order >= HALF).astype(np.float32)
