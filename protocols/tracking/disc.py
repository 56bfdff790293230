"""The aperture's disc in a snapshot, as it is: the lens may be on its way to its defocus still, and defocus is not
always applied about the beam itself.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

REACH = 1.5
"""Of the expected radius: so far from where it is expected the disc is looked for."""
CELLS = 25.0
"""Of the expected radius, of which the disc is made before its borders are looked for."""
SMALLEST, LARGEST = 0.5, 1.3
"""Of the expected radius."""
ROUND = 0.05
"""Of the radius: by so much at most it may be another along fast than along slow."""
LEVEL, LIT = 75.0, 0.5
"""The light of the disc is this percentile of it; its border is where half of that is reached."""
SMALLEST_PART = 0.25
"""Of what is looked at, the disc is this much at least."""


@dataclass(frozen=True, slots=True)
class Disc:
    """Middle and radius in px; pixel i covers [i, i + 1)."""

    fast_px: float
    slow_px: float
    radius_px: float


def disc_seen(picture: NDArray[np.number], expected: Disc) -> Disc | None:
    """The disc by its outermost borders; None where they are not seen, for a bar of the grid or the border of the
    camera cuts them off. Some 0.5 ms.
    """
    cell = max(1, round(expected.radius_px / CELLS))
    half = int(np.ceil(REACH * expected.radius_px / cell))
    left, top = (round(middle) - half * cell for middle in (expected.fast_px, expected.slow_px))
    columns, rows = (
        slice(max(begin, 0), max(0, min(begin + 2 * half * cell, size)))
        for begin, size in zip((left, top), picture.shape[::-1], strict=True)
    )
    box = np.asarray(picture[rows, columns], np.float64)
    height, width = (size // cell for size in box.shape)
    if min(height, width) < 2:
        return None
    cells = box[: height * cell, : width * cell].reshape(height, cell, width, cell).mean(axis=(1, 3))
    dark = float(np.median(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])))
    bright = float(np.percentile(cells, 100.0 - SMALLEST_PART * (100.0 - LEVEL)))
    middles, radii = [], []
    for axis, begin, size in ((0, columns.start, width), (1, rows.start, height)):
        # Along each line the brightest cells: a crystal darkens a part of the disc, and never all of a line of it.
        along = np.sort(cells, axis=axis)
        brightest = along[-2] if axis == 0 else along[:, -2]
        lit = np.nonzero(brightest > dark + LIT * (bright - dark))[0]
        if not len(lit) or lit[0] == 0 or lit[-1] + 1 == size:
            return None
        low, high = (
            _border(brightest, at, step, dark + LIT * (bright - dark)) for at, step in ((lit[0], -1), (lit[-1], 1))
        )
        middles.append(begin + (low + high) / 2 * cell)
        radii.append((high - low) / 2 * cell)
    radius_px = sum(radii) / 2
    if abs(radii[0] - radii[1]) > ROUND * radius_px + cell / 2:
        return None
    if not SMALLEST * expected.radius_px < radius_px < LARGEST * expected.radius_px:
        return None
    return Disc(middles[0], middles[1], radius_px)


def brightest_disc(picture: NDArray[np.number], radius_px: float) -> Disc:
    """About where the disc is, wherever on the camera: where most of the light is. Some 2 ms."""
    cell = max(1, round(radius_px / CELLS))
    height, width = (size // cell for size in picture.shape)
    box = np.asarray(picture[: height * cell, : width * cell], np.float64)
    cells = box.reshape(height, cell, width, cell).mean(axis=(1, 3))
    light = scipy.ndimage.uniform_filter(cells, max(1, round(2.0 * radius_px / cell)), mode="constant")
    slow, fast = np.unravel_index(int(light.argmax()), light.shape)
    return Disc((float(fast) + 0.5) * cell, (float(slow) + 0.5) * cell, radius_px)


def _border(brightest: NDArray[np.float64], at: int, step: int, level: float) -> float:
    """Where the level is crossed between the outermost lit cell and the next one, in cells."""
    inside, outside = float(brightest[at]), float(brightest[at + step])
    return at + 0.5 + step * float(np.clip((inside - level) / max(inside - outside, 1e-9), 0.0, 1.0))
