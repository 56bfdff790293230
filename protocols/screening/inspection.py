"""Frames inspected: laid in one pose, cut out, made a picture of, spots found. All that is scored comes from here.

A pattern is the same in all eight ways in which it can lie, mirrored and turned by 90 deg, and its score is to be, too.
Of the many steps some are not quite alike along both axes (squares of pixels that are left over at far edges, ties,
the grid on which lattices are sought). So the frame itself is laid in one of the eight ways before anything else is
done: what follows sees the same numbers in all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.screening.preprocessing import FLAG, Picture, cuts_of, picture_of
from protocols.screening.seenspots import TOGETHER, SeenSpots, candidates, measured


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """picture: (150, 150) of what lies around the beam (`preprocessing.input_of`), and the spots in it."""

    picture: Picture
    spots: SeenSpots


def inspected(frames: NDArray[Any], inverse_A_per_px: float | NDArray[np.float64]) -> Iterator[Inspected]:
    """Of (n, slow, fast) frames; 1/A a pixel of all, or (n,) of each."""
    per_px = np.broadcast_to(np.asarray(inverse_A_per_px, dtype=np.float64), len(frames))
    for first in range(0, len(frames), TOGETHER):
        some = slice(first, first + TOGETHER)
        pictures, found = [], []
        # One frame after the other, with all that is asked of its pixels: so it stays in the processor's cache.
        for frame, scale in zip(frames[some], per_px[some], strict=True):
            (cut,) = cuts_of(upright(frame)[None], scale)
            pictures.append(picture_of(cut))
            found.append(candidates(pictures[-1], cut))
        yield from map(Inspected, pictures, measured(found))


def upright(frame: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns) mirrored and turned in that of the eight ways in which its middle of brightness lies to the lower
    right, more below than right. A frame that is as bright on both sides, to seven digits, may lie in either way.
    """
    counts = np.asarray(frame, dtype=np.float32)
    if frame.dtype.kind == "f" or frame.dtype.itemsize > 2:
        counts = np.where(np.isfinite(counts) & (counts < FLAG), counts, np.float32(0.0))
    rows, columns = counts.shape
    below = float((counts @ np.ones(columns, np.float32)).astype(np.float64) @ _away(rows))
    right = float((np.ones(rows, np.float32) @ counts).astype(np.float64) @ _away(columns))
    frame = frame[:: -1 if below < 0 else 1, :: -1 if right < 0 else 1]
    return np.ascontiguousarray(frame.T if abs(below) < abs(right) else frame)


def _away(pixels: int) -> NDArray[np.float64]:
    """Of each pixel along an axis, from the middle of the frame."""
    return np.arange(pixels, dtype=np.float64) - (pixels - 1) / 2
