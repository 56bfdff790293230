"""Spots that stand at one place whatever the stage's angle: bad pixels that nobody has told of, and no reflections.

A reflection comes and goes within a degree or two, and hardly ever does another one come to the very same place; what
is there again and again over a rotation is of the detector.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from protocols.spots.seriespeaks import FrameSpots

PARTS = 12
"""Of the rotation."""
STANDING = 4
"""A place with spots in so many parts of it is bad: with 6000 reflections on 512 x 512 pixels one in 15 000 places has
them by chance.
"""
FEWEST_FRAMES = 3 * PARTS
ARRAYS = ("fast_px", "slow_px", "position_sigma_px", "intensity", "intensity_sigma", "background")


def without_standing(spots: Sequence[FrameSpots], shape: tuple[int, int]) -> list[FrameSpots]:
    """The same spots of a rotation's frames, in their order, without those at bad places; a rotation of few frames as
    it is. shape: (rows, columns).
    """
    if len(spots) < FEWEST_FRAMES:
        return list(spots)
    from scipy.ndimage import binary_dilation

    times = np.zeros(shape, dtype=np.uint8)
    places = [(each.slow_px.astype(np.intp), each.fast_px.astype(np.intp)) for each in spots]
    for part in np.array_split(np.arange(len(spots)), PARTS):
        there = np.zeros(shape, dtype=bool)
        for frame in part.tolist():
            there[places[frame]] = True
        times += binary_dilation(there, np.ones((3, 3), dtype=bool))
    bad = times >= STANDING
    kept = []
    for each, place in zip(spots, places, strict=True):
        arrays = {name: getattr(each, name) for name in ARRAYS}
        kept.append(replace(each, **{name: array[~bad[place]] for name, array in arrays.items()}))
    return kept
