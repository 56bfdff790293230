"""One look at every corrected picture before any is written: beam, background, spots. A few numbers a frame.

The run's beam centre stands in every header, so it must be known before the first file. The mean spot intensity
against the frame number tells whether the crystal stayed in the aperture, as SCALE of XDS' INIT does (Fig. 7 of
Cichocka et al., 2018).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.products.beam_centre import find_beam

BLOCK_PX = 12
"""Side of the squares whose median is the local background."""

BEAM_RADIUS_PX = 25
"""Around the primary beam nothing is a spot."""

SPOT_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class FrameSurvey:
    """What one corrected picture shows.

    beam_fast_px, beam_slow_px: primary beam, NaN where it was not found. total: all counts. background: median
    count. spot_pixels: pixels that stand SPOT_SIGMA above the local background; spot_mean: their mean height above
    it, in counts (0 without any). maximum: highest count. clipped: pixels that did not fit into 16 bits.
    """

    slot: int
    beam_fast_px: float
    beam_slow_px: float
    total: int
    background: float
    spot_pixels: int
    spot_mean: float
    maximum: int
    clipped: int


def survey(
    slot: int,
    counts: NDArray[np.uint16],
    clipped: int,
    nominal_px: tuple[float, float],
    untrusted: NDArray[np.bool_] | None,
    even_level: int | None = None,
) -> FrameSurvey:
    """Look at one corrected picture (rows, columns).

    untrusted: pixels that may not be spots. even_level: see `beam_centre.even_level`.
    """
    beam = find_beam(counts, cap=even_level)
    height = _above_background(counts)
    noise = np.sqrt(np.maximum(counts - height, 1.0))
    strong = height > SPOT_SIGMA * noise
    fast, slow = beam if beam is not None else nominal_px
    y, x = np.ogrid[: counts.shape[0], : counts.shape[1]]
    strong &= (x + 0.5 - fast) ** 2 + (y + 0.5 - slow) ** 2 > BEAM_RADIUS_PX**2
    if untrusted is not None:
        strong &= ~untrusted
    spots = int(np.count_nonzero(strong))
    return FrameSurvey(
        slot=slot,
        beam_fast_px=beam[0] if beam is not None else float("nan"),
        beam_slow_px=beam[1] if beam is not None else float("nan"),
        total=int(counts.sum(dtype=np.int64)),
        background=float(np.median(counts[::4, ::4])),
        spot_pixels=spots,
        spot_mean=float(height[strong].mean()) if spots else 0.0,
        maximum=int(counts.max()),
        clipped=clipped,
    )


def _above_background(counts: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Counts above the median of the square block they lie in, (rows, columns)."""
    rows, columns = counts.shape
    block = min(BLOCK_PX, rows, columns)
    down, across = -(-rows // block), -(-columns // block)
    padded = np.pad(counts, ((0, down * block - rows), (0, across * block - columns)), mode="reflect")
    blocks = padded.reshape(down, block, across, block).swapaxes(1, 2).reshape(down * across, block * block)
    middle = np.partition(blocks[:, ::2], block * block // 4, axis=1)[:, block * block // 4]
    local = np.repeat(np.repeat(middle.reshape(down, across), block, 0), block, 1)[:rows, :columns]
    return counts.astype(np.float32) - local.astype(np.float32)
