"""Crystals that touch, parted where a microscopist would: at the neck between two bodies.

A watershed of the depth inside an outline (distance to its nearest edge), from its maxima that stand far enough above
the neck to a deeper one. What overlaps without a neck stays one thing.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

Mask = NDArray[np.bool_]

NECK = 0.8
"""A neck is narrower than this part of the narrower of the bodies that it joins."""
LEAST_BODY = 1.6
"""Half the width of a body, in cells; below it noise makes necks."""


def parted(mask: Mask) -> list[Mask]:
    """The crystals that an outline (rows, columns) holds; itself where it is one."""
    deep = np.asarray(distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]
    # In logarithms, for a neck is judged by the body beside it and not in cells.
    high = np.log(np.maximum(deep, 1.0))
    # Lowered by what a neck must be lower, and filled up from there: maxima that do not stand that high are gone. (Its
    # `h_maxima` marks the highest pixels alone, so two of equal height on one ridge would be two.)
    bodies = label(local_maxima(reconstruction(high + np.log(NECK), high)) & mask)
    deepest = np.zeros(int(bodies.max()) + 1)
    np.maximum.at(deepest, bodies, deep)
    bodies = label(np.isin(bodies, np.flatnonzero(deepest > LEAST_BODY)) & (bodies > 0))
    if bodies.max() < 2:
        return [mask]
    numbers = watershed(-deep, bodies, mask=mask, connectivity=2)
    return [numbers == number for number in range(1, int(bodies.max()) + 1)]
