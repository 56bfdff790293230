"""Crystals that touch, parted where a microscopist would: at the neck between two bodies.

The depth inside an outline (distance to its nearest edge) is followed from the edge inwards; where what is deeper falls
into two bodies that both go on much deeper than the neck between them, they are two crystals (a watershed of the
depth). What overlaps without a neck stays one thing.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

Mask = NDArray[np.bool_]

NECK = 0.75
"""A neck is narrower than this part of the narrower of the bodies that it joins."""
LEAST_BODY = 1.6
"""Half the width of a body, in cells; below it noise makes necks."""
STEPS = 13
ALL_SIDES = np.ones((3, 3), bool)


def parted(mask: Mask) -> list[Mask]:
    """The crystals that an outline (rows, columns) holds; itself where it is one."""
    deep = np.asarray(distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
    bodies = [mask]
    highest = float(deep.max())
    for level in np.linspace(0.5, highest, STEPS, endpoint=False).tolist():
        bodies = [part for body in bodies for part in _deeper(body, deep, level)]
    if len(bodies) == 1:
        return [mask]
    numbers = np.zeros(mask.shape, np.int32)
    for number, body in enumerate(bodies, 1):
        numbers[body] = number
    row, column = distance_transform_edt(numbers == 0, return_distances=False, return_indices=True)
    nearest = numbers[row, column]
    return [mask & (nearest == number) for number in range(1, len(bodies) + 1)]


def _deeper(body: Mask, deep: NDArray[np.float64], level: float) -> list[Mask]:
    """What is of a body where it falls apart at this depth; itself where it does not."""
    labels, count = label(body & (deep > level), ALL_SIDES)
    if count < 2:
        return [body]
    numbers = np.arange(1, count + 1)
    deepest = np.zeros(count + 1)
    np.maximum.at(deepest, labels.ravel(), deep.ravel())
    own = numbers[(deepest[1:] * NECK > level) & (deepest[1:] > LEAST_BODY)]
    return [labels == number for number in own.tolist()] if len(own) > 1 else [body]
