"""Pictures as a lens without an ellipse would have made them, for programs that cannot be told of one.

Each pixel's counts go to where they would have fallen: a count by count draw among the up to four pixels that the
moved pixel covers, with the parts it covers as probabilities. So no count is lost or made, and what followed the
statistics of counting still does (a Poisson number shared at random is Poisson numbers, independent of one another),
which neither interpolation nor rounding of parts would leave. The draw depends on the slot alone: an export that is
repeated writes the same bytes again.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.products.distortion import distortion_matrix
from protocols.products.metadata import RunHeader
from protocols.products.source import MAX_COUNT, RunInfo

UNDISTORTED = "undistorted"
"""The folder of these pictures, beside that of the others."""
LEAST_PERCENT = 0.3
"""With a smaller ellipse pictures are as good as they are: 0.15 % in the cell, 0.4 px at the edge of 516."""
WHOLE_MARGIN_PX = 1.5
"""Around what is not to be trusted: its counts were shared with their neighbours."""
SEED = 16807


@dataclass(frozen=True, slots=True)
class Undistortion:
    """What undoes the ellipse of pictures (rows, columns). centre_px: (fast, slow), the place that stays.

    Any place will do for it that is near the beam: another one moves all of the picture by some hundredths of a pixel,
    beam and spots together.
    """

    shape: tuple[int, int]
    centre_px: tuple[float, float]
    amplitude_percent: float
    azimuth_deg: float

    def place(self, fast_px: float, slow_px: float) -> tuple[float, float]:
        """Where something belongs that was seen here."""
        undo = np.linalg.inv(distortion_matrix(self.amplitude_percent, self.azimuth_deg))
        x, y = undo @ (fast_px - self.centre_px[0], slow_px - self.centre_px[1])
        return float(x) + self.centre_px[0], float(y) + self.centre_px[1]

    def header(self, run: RunHeader, slot: int) -> RunHeader:
        """A picture's header with the primary beam of the run, and of its frame, where they belong."""
        fast_px, slow_px = self.place(run.beam_fast_px, run.beam_slow_px)
        seen = run.frame_beams.get(slot)
        beams = {} if seen is None else {slot: self.place(*seen)}
        return replace(run, beam_fast_px=fast_px, beam_slow_px=slow_px, frame_beams=beams)

    def apply(self, counts: NDArray[np.uint16], slot: int, saturation: int) -> NDArray[np.uint16]:
        """(rows, columns) with the counts where they belong. What leaves the picture is lost, its border may be empty.

        Every pixel that gets something of a saturated one is saturated too.
        """
        first, right, down = _shares(self)
        random = np.random.Generator(np.random.PCG64([SEED, slot]))
        some = np.flatnonzero(counts)
        number, target = counts.reshape(-1)[some].astype(np.int64), first[some]
        below = random.binomial(number, down[some])
        parts = []
        for here, offset in ((number - below, 0), (below, _stride(self))):
            to_the_right = random.binomial(here, right[some])
            parts += [(here - to_the_right, offset), (to_the_right, offset + 1)]
        rows, columns = self.shape
        out = np.zeros((rows + 2, columns + 2), np.float64).reshape(-1)
        for number_there, offset in parts:
            out += np.bincount(target + offset, number_there, len(out))
        full = first[np.flatnonzero(counts.reshape(-1) >= saturation)]
        for _, offset in parts if saturation else ():
            out[full + offset] = np.maximum(out[full + offset], saturation)
        inside = out.reshape(rows + 2, columns + 2)[1:-1, 1:-1]
        return np.ascontiguousarray(np.minimum(inside, MAX_COUNT).astype(np.uint16))

    def outline(self, left: float, top: float, right: float, bottom: float) -> list[int]:
        """x1, y1, x2, y2, ... where the border of a rectangle of the picture belongs, and a little more.

        In whole pixels, and none outside of the picture: dials.generate_mask takes no others.
        """
        m, (rows, columns) = WHOLE_MARGIN_PX, self.shape
        corners = ((left - m, top - m), (right + m, top - m), (right + m, bottom + m), (left - m, bottom + m))
        places = [self.place(*corner) for corner in corners]
        return [n for x, y in places for n in (min(max(round(x), 0), columns), min(max(round(y), 0), rows))]

    @property
    def border_px(self) -> int:
        """How wide a strip at the edges may have got no counts."""
        rows, columns = self.shape
        corners = ((0.0, 0.0), (float(columns), 0.0), (0.0, float(rows)), (float(columns), float(rows)))
        return math.ceil(max(abs(a - b) for c in corners for a, b in zip(self.place(*c), c, strict=True)))


def undistortion(info: RunInfo) -> Undistortion | None:
    """What the pictures for DIALS need; None where the run's lens is round enough."""
    if abs(info.distortion_amplitude_percent) < LEAST_PERCENT:
        return None
    return Undistortion(
        info.shape,
        (info.nominal_beam_fast_px, info.nominal_beam_slow_px),
        info.distortion_amplitude_percent,
        info.distortion_azimuth_deg,
    )


def _stride(lens: Undistortion) -> int:
    """From a pixel to the one below, in a picture with a border of one pixel on every side."""
    return lens.shape[1] + 2


@lru_cache(maxsize=1)
def _shares(lens: Undistortion) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Of each pixel: the first of the four that its moved self covers, and the parts right and below. (pixels,) each.

    A pixel keeps its size and its upright edges. First pixels count in a picture with a border of one pixel, in which
    ends what leaves the picture.
    """
    rows, columns = lens.shape
    undo = np.linalg.inv(distortion_matrix(lens.amplitude_percent, lens.azimuth_deg))
    slow, fast = np.mgrid[:rows, :columns]
    x, y = fast + 0.5 - lens.centre_px[0], slow + 0.5 - lens.centre_px[1]
    # The left and upper edge of the moved pixel, in pixels of the picture with its border.
    left = undo[0, 0] * x + undo[0, 1] * y + lens.centre_px[0] - 0.5 + 1
    upper = undo[1, 0] * x + undo[1, 1] * y + lens.centre_px[1] - 0.5 + 1
    left, upper = np.clip(left, 0.0, columns + 1.0 - 1e-9), np.clip(upper, 0.0, rows + 1.0 - 1e-9)
    column, row = left.astype(np.intp), upper.astype(np.intp)
    first = (row * (columns + 2) + column).reshape(-1)
    return first, (left - column).reshape(-1), (upper - row).reshape(-1)
