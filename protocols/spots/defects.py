"""Groups of pixels that are bright in all frames of a set: defects of the detector, which would be spots in each.

A first look over some frames of the set. What they have in common is no spot, unless the crystal is the same: so only
what has an edge as sharp as no spot is taken for a defect. A spot falls off over its width, and the primary beam too.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FRAMES = 9
"""Looked at, from the first to the last."""
FEWEST = 4
"""With fewer frames, what they have in common may be chance."""
ALMOST_ALL = 0.8
"""Of the frames, so many show a defect."""
AROUND_PX = 8
"""The background of a pixel is looked for at this distance: no group is as wide."""
SIGMAS = 6.0
"""A defect stands out of the background so many standard deviations of counts, in each of these frames."""
TWICE = 2.0
LEVELS = (0.5, 0.25)
"""Of the highest pixel of a group: outside the part above, a defect has fallen to almost nothing."""
SHARP = 0.1
"""Of the lowest pixel of that part, what the pixels at its edge have at most. Those of spots with a sigma of 0.8 px and
more have 0.15 and more, wherever their centre lies in a pixel."""


def common_defects(picture: Callable[[int], NDArray[np.generic]], count: int) -> Mask | None:
    """(rows, columns) True on groups of pixels that are hot in almost all of `count` pictures.

    picture: gives one by number; what cannot be read, and what is of another size than the first, is passed over. None
    where there are too few pictures, or none has a defect. Reads FRAMES pictures; 0.2 s for 512 x 512 pixels, 10 s for
    4096 x 4096.
    """
    frames: list[NDArray[np.generic]] = []
    for number in np.unique(np.linspace(0, count - 1, min(count, FRAMES)).round().astype(int)).tolist():
        try:
            one = np.asarray(picture(number))
        except DataError:
            continue
        if one.ndim == 2 and one.dtype.kind in "uif" and (not frames or one.shape == frames[0].shape):
            frames.append(one)
    if len(frames) < FEWEST or (frames[0].dtype == np.uint8 and (frames[0] == 0).mean() > 0.5):  # drawings
        return None
    lowest = _in_almost_all(frames)
    found = hot_groups(lowest)
    return found if found.any() else None


def hot_groups(lowest: Array) -> Mask:
    """(rows, columns) sharp-edged groups of bright pixels in what (rows, columns) almost all frames have at least."""
    from scipy.ndimage import binary_dilation, find_objects, label

    background = _around(lowest)
    excess = lowest - background
    high = (excess > SIGMAS * np.sqrt(np.maximum(background, 0.0) + 1)) & (lowest > TWICE * background)
    hot = np.zeros(lowest.shape, dtype=bool)
    groups, _ = label(high, np.ones((3, 3), dtype=bool))
    for number, place in enumerate(find_objects(groups), 1):
        if max(side.stop - side.start for side in place) > AROUND_PX:
            continue
        window = tuple(slice(max(0, side.start - 2), side.stop + 2) for side in place)
        group, light = groups[window] == number, excess[window]
        for level in LEVELS:
            core = group & (light >= level * light[group].max())
            edge = binary_dilation(core) & ~core
            if edge.any() and np.median(light[edge]) < SHARP * light[core].min():
                hot[window] |= group
                break
    return hot


def _in_almost_all(frames: Sequence[NDArray[np.generic]]) -> Array:
    """(rows, columns) what almost all frames have at least, worked out in some rows at a time."""
    rows = len(frames[0])
    lowest = np.empty(frames[0].shape)
    rank = int(len(frames) * (1 - ALMOST_ALL))
    for begin in range(0, rows, 256):
        some = np.stack([frame[begin : begin + 256] for frame in frames]).astype(np.float64)
        lowest[begin : begin + 256] = np.partition(np.nan_to_num(some, nan=0.0, posinf=0.0), rank, axis=0)[rank]
    return lowest


def _around(counts: Array) -> Array:
    """(rows, columns) the median of eight pixels about each one, AROUND_PX away."""
    reach = AROUND_PX
    padded = np.pad(counts, reach, mode="edge")
    rows, columns = counts.shape
    result = np.empty_like(counts)
    for begin in range(0, rows, 256):
        end = min(rows, begin + 256)
        ring = [
            padded[begin + reach + i : end + reach + i, reach + j : reach + j + columns]
            for i in (-reach, 0, reach)
            for j in (-reach, 0, reach)
            if i or j
        ]
        result[begin:end] = np.median(np.stack(ring), axis=0)
    return result
