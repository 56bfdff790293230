"""Raw frames of a Timepix, told from corrected ones by what they show: a cross of pixels that count three times as
much.

A run scores the frames of its spool, and these are as the camera gave them: the pixels that join the four modules are
three times as wide (`protocols.products.cross`). The bright lines look like dozens of spots, and what lies beyond them
is two pixels off. Corrected frames, from which the networks learned, have neither. Who knows its camera says so and has
the cross shared out (`shared_out`); of files of which nobody knows, the frame itself is asked (`corrected`).
"""

import numpy as np
from numpy.typing import NDArray

from protocols.products.cross import pixel_area, spread

Picture = NDArray[np.float32]

SMALLEST_PX = 64
BRIGHTER = 1.4
"""Than the lines beside it, each of the four: three times as bright, less what the cap takes off."""
CAP = 0.9
"""Brighter pixels than those of this quantile count as much as these: the beam and spots do not decide."""
FEWEST_COUNTS = 60.0
"""In a line; with fewer the cross does no harm."""


def corrected(counts: Picture) -> Picture:
    """(rows + 4, columns + 4), the counts of wide pixels shared; or the same frame, where there is no cross."""
    rows, columns = counts.shape
    if min(counts.shape) < SMALLEST_PX or rows % 2 or columns % 2:
        return counts
    if not (_wide(counts[rows // 2 - 4 : rows // 2 + 4]) and _wide(counts[:, columns // 2 - 4 : columns // 2 + 4].T)):
        return counts
    return shared_out(counts)


def shared_out(counts: Picture) -> Picture:
    """(rows + 4, columns + 4), the counts of wide pixels shared, of a frame (rows, columns) that is known to have a
    cross.
    """
    rows, columns = counts.shape
    return np.asarray(spread(counts / pixel_area((rows, columns))), dtype=np.float32)


def _wide(lines: Picture) -> bool:
    """Whether of eight lines the two in the middle are wide. Those beside these are left out: light spreads."""
    cap = np.sort(lines, axis=None)[int(CAP * lines.size)]
    sums = np.minimum(lines, cap).sum(axis=1)
    least, beside = float(sums[3:5].min()), float(sums[[0, 1, 6, 7]].max())
    return least > max(BRIGHTER * beside, FEWEST_COUNTS)
