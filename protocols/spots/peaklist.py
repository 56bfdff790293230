"""The spots of one picture, or the reason why it has none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The spots of one picture.

    xy_px: (n, 2) centroids (column, row), pixel i covering [i, i + 1); the primary beam is not among them.
    intensity: (n,) disks: mean brightness relative to white, in disk areas; frames: counts above background.
    centre_px: (2,) of the primary beam; nan where there is none.
    reason: why the picture is no diffraction pattern or has no spots; empty where all is well.
    faint: (n,) spots of a frame that stand out so little that some are a pixel from where they seem; None: no spot is.
    blind_px: nearer to the primary beam no spot is looked for.
    vacant: a primary beam is there, but no spot: a shot that hit no crystal.
    """

    xy_px: Array
    intensity: Array
    centre_px: Array
    reason: str = ""
    faint: NDArray[np.bool_] | None = None
    blind_px: float = 0.0
    vacant: bool = False

    def xy(self, per_px: float) -> Array:
        """(n, 2) positions from the primary beam in 1/A, given the 1/A per pixel."""
        return (self.xy_px - self.centre_px) * per_px


def no_peaks(reason: str, centre_px: Array | None = None) -> Peaks:
    """Peaks of a picture that is no diffraction pattern, and why."""
    centre = np.full(2, np.nan) if centre_px is None else centre_px
    return Peaks(np.empty((0, 2)), np.empty(0), centre, reason)


def no_spots(reason: str, centre_px: Array) -> Peaks:
    """Peaks of a pattern in which nothing but the primary beam stands out."""
    return Peaks(np.empty((0, 2)), np.empty(0), centre_px, reason, vacant=True)
