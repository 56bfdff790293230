"""What travels from a detector to the disk: one picture with the two instants that bound its exposure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
Picture = NDArray[np.integer[Any] | np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure as the detector delivered it.

    counts: (slow, fast) array of raw counts; fast is the quickest-varying image axis (columns, to the right),
        slow runs down the rows. The receiver owns it: a driver never writes to it again.
    number: the detector's own frame counter since it was armed, from 0. A jump means a frame was lost.
    start_ns, end_ns: begin and end of the exposure on the engine's clock, integer nanoseconds, as well as the
        driver knows them.
    crc: CRC-32 of the counts, if the driver knows it already.
    """

    counts: Picture
    number: int
    start_ns: int
    end_ns: int
    crc: int | None = None
