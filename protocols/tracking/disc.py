"""Where the aperture's disc lies in a snapshot: defocus is not always applied about the beam itself."""

import numpy as np
from numpy.typing import NDArray

REACH = 1.5
"""Of the radius: so far from where it is expected the disc is looked for."""
CELLS = 25.0
"""Of the radius, of which the disc is made before its borders are looked for."""
ALIKE = 0.05
"""Of the radius: borders that are farther off it are not those of the disc."""
LEVEL, LIT = 75.0, 0.5
"""The light of the disc is this percentile of it; its border is where half of that is reached."""


def disc_middle(
    picture: NDArray[np.number], expected_px: tuple[float, float], radius_px: float
) -> tuple[float, float] | None:
    """(fast, slow) of the middle of a disc of this radius, by its outermost borders; None where they are not seen, for
    a bar of the grid or the border of the camera cuts them off. Some 0.3 ms. Pixel i covers [i, i + 1).
    """
    cell = max(1, round(radius_px / CELLS))
    half = int(np.ceil(REACH * radius_px / cell))
    left, top = (round(middle) - half * cell for middle in expected_px)
    columns, rows = (
        slice(max(begin, 0), min(begin + 2 * half * cell, size))
        for begin, size in zip((left, top), picture.shape[::-1], strict=True)
    )
    box = np.asarray(picture[rows, columns], np.float64)
    height, width = (size // cell for size in box.shape)
    if min(height, width) < 2:
        return None
    cells = box[: height * cell, : width * cell].reshape(height, cell, width, cell).mean(axis=(1, 3))
    dark = float(np.median(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])))
    inside = np.pi * radius_px**2 / cell**2 / cells.size
    if not 0.0 < inside < 1.0:
        return None
    level = float(np.percentile(cells, 100.0 - inside * (100.0 - LEVEL))) - dark
    lit = cells > dark + LIT * level
    found = []
    for axis, begin in ((0, columns.start), (1, rows.start)):
        along = np.nonzero(np.count_nonzero(lit, axis=axis) >= 2)[0]
        if not len(along) or abs((along[-1] + 1 - along[0]) * cell / 2 - radius_px) > ALIKE * radius_px + cell / 2:
            return None
        if along[0] == 0 or along[-1] + 1 == (width if axis == 0 else height):
            return None
        found.append(begin + (along[0] + along[-1] + 1) * cell / 2)
    return found[0], found[1]
