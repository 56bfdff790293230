"""What travels from a detector to the disk: one picture with the instants that bound its exposure."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
Picture = NDArray[np.integer | np.floating]
PixelType = np.dtype[Any]
"""The type of a picture's counts; Any, for whether they can be kept is what it is asked for."""
Bounds = tuple[int, int]
"""Earliest and latest possible instant, integer nanoseconds."""

NOT_GIVEN: Bounds = (1, 0)

TYPE_NAME = re.compile(r"[<>|]([iu][1248]|f4)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure as the detector delivered it.

    counts: (slow, fast) array of raw counts; fast is the quickest-varying image axis (columns, to the right),
        slow runs down the rows. Integers of any type up to 64 bits or float32, in either order of bytes
        (`is_picture_type`). The receiver owns it: a driver never writes to it again.
    number: the detector's own frame counter since it was armed, from 0. A jump means a frame was lost.
    start_ns, end_ns: begin and end of the exposure on the engine's clock, integer nanoseconds, as well as the
        driver knows them.
    crc: CRC-32 of the counts, if the driver knows it already.
    start_bounds_ns, end_bounds_ns: between which instants begin and end certainly lie; the instants themselves where
        a driver gives none. Who makes a frame from another with new instants gives their bounds anew.
    """

    counts: Picture
    number: int
    start_ns: int
    end_ns: int
    crc: int | None = None
    start_bounds_ns: Bounds = NOT_GIVEN
    end_bounds_ns: Bounds = NOT_GIVEN

    def __post_init__(self) -> None:
        """Bounds that were not given are the instants themselves."""
        if self.start_bounds_ns == NOT_GIVEN:
            object.__setattr__(self, "start_bounds_ns", (self.start_ns, self.start_ns))
        if self.end_bounds_ns == NOT_GIVEN:
            object.__setattr__(self, "end_bounds_ns", (self.end_ns, self.end_ns))


def bounds(frame: Frame) -> dict[str, list[int]]:
    """The bounds of a frame as its record in the trace has them: those that are not the instant itself."""
    told = {}
    if frame.start_bounds_ns != (frame.start_ns, frame.start_ns):
        told["start_bounds_ns"] = list(frame.start_bounds_ns)
    if frame.end_bounds_ns != (frame.end_ns, frame.end_ns):
        told["end_bounds_ns"] = list(frame.end_bounds_ns)
    return told


def is_picture_type(dtype: PixelType) -> bool:
    """Whether counts of this type can be kept: integers of up to 64 bits and float32, in either order of bytes."""
    return dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize == 4)


def picture_type(name: str) -> PixelType | None:
    """The type that a camera declares by this name ("<u2"); None for a name of no type that can be kept."""
    return np.dtype(name) if TYPE_NAME.fullmatch(name) else None


def same_type(one: PixelType, other: PixelType) -> bool:
    """Whether two types hold the same counts, whatever their order of bytes."""
    return one.newbyteorder("<") == other.newbyteorder("<")


def squares_px(shape: tuple[int, ...], largest_px: int) -> int:
    """The side of the squares of pixels that are added up so that no side of a picture is longer than this; 1: none."""
    return -(-max(shape) // largest_px)


def added_up(counts: Picture, side_px: int) -> Picture:
    """A picture in squares of pixels, each the sum of its own; what is left over at the far edges is left out.

    By adding slices, some 20 times as fast as a sum over axes.
    """
    rows, columns = (size // side_px * side_px for size in counts.shape)
    whole = np.int64 if counts.dtype.itemsize > 2 else np.int32
    total = np.zeros((rows // side_px, columns // side_px), np.float64 if counts.dtype.kind == "f" else whole)
    for row in range(side_px):
        for column in range(side_px):
            total += counts[row:rows:side_px, column:columns:side_px].astype(total.dtype)  # int64 takes no uint64
    return total
