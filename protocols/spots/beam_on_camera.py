"""Whether the primary beam is on the camera: said of a frame while a run goes on (`engine.run.framewatch`).

Of a picture alone, without a geometry. On the camera the beam is far brighter than any reflection, or, where a beam
stop hides it or reflections are strong, there is its halo: the background rises towards a place inside the picture.
Beside the camera neither is to be seen.
"""

import numpy as np
from numpy.typing import NDArray

BESIDE = "no primary beam on the camera: no place stands out as the beam does. Look at the alignment."
# Pictures of 512 pixels are summed in bins of 8; a beam is looked for in 3 x 3 of them.
BINS = 64
NEXT_BINS = 4
"""What is nearer to the brightest place than this belongs to it."""
CLEARLY = 8.0
"""So many times brighter than the next place is a beam anywhere. Simulated: 45 and more, beside the camera up to 4."""
INSIDE = 3.0
"""So many times is one that lies inside; at an edge it may be what reaches in from outside."""
BLOCKS = 16
HALO_PERCENT = 80.0
"""Of each block of the background the brightest fifth of the pixels is taken for spots."""
HALO_TIMES, HALO_SIGMAS = 2.0, 10.0
"""A halo is so many times brighter than the background, and stands so many standard deviations above it."""


def no_beam(counts: NDArray[np.generic]) -> str:
    """A sentence where the primary beam is not on the camera; empty where it is.

    counts: (rows, columns), of any type. Takes some 5 ms for 512 x 512.
    """
    image = np.nan_to_num(counts.astype(np.float32))
    times, inside = _brightest(image)
    seen = times >= CLEARLY or (inside and times >= INSIDE) or _has_halo(image)
    return "" if seen else BESIDE


def _blocks(image: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(rows, columns, pixels) of square blocks, `count` of them along the shorter side."""
    size = max(1, min(image.shape) // count)
    rows, columns = (pixels // size for pixels in image.shape)
    whole = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return whole.swapaxes(1, 2).reshape(rows, columns, size * size)


def _brightest(image: NDArray[np.float32]) -> tuple[float, bool]:
    """How many times brighter the brightest place is than the next one, and whether it lies inside the picture."""
    sums = _blocks(image, BINS).sum(axis=2)
    sums -= np.median(sums)
    around = np.pad(sums, 1)
    rows, columns = sums.shape
    places = sum((around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)), np.zeros_like(sums))
    row, column = (int(k) for k in np.unravel_index(int(places.argmax()), places.shape))
    brightest = float(places[row, column])
    near = np.s_[
        max(0, row - NEXT_BINS) : row + NEXT_BINS + 1,
        max(0, column - NEXT_BINS) : column + NEXT_BINS + 1,
    ]
    places[near] = 0.0
    inside = 2 <= row < rows - 2 and 2 <= column < columns - 2
    return brightest / max(float(places.max()), 1.0), inside


def _has_halo(image: NDArray[np.float32]) -> bool:
    """Whether the background rises towards a place inside the picture."""
    blocks = _blocks(image, BLOCKS)
    level = np.minimum(blocks, np.percentile(blocks, HALO_PERCENT, axis=2, keepdims=True)).mean(axis=2)
    row, column = np.unravel_index(int(level.argmax()), level.shape)
    inside = 0 < row < level.shape[0] - 1 and 0 < column < level.shape[1] - 1
    background, summit = float(np.median(level)), float(level.max())
    deviation = (max(background, 1.0 / blocks.shape[2]) / blocks.shape[2]) ** 0.5
    return bool(inside and summit >= HALO_TIMES * background and summit - background >= HALO_SIGMAS * deviation)
