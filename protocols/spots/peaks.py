"""The spots of a picture, whichever kind it is: disks drawn by the simulation, or a frame of counts from a detector.

A picture that is no pattern is not an error: `Peaks.reason` says what is wrong with it.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.spots.diskpeaks import disk_peaks
from protocols.spots.framepeaks import frame_peaks
from protocols.spots.peaklist import Peaks, no_peaks

BLACK_SHARE = 0.75
"""A picture of disks is black here at least, and its disks white; anything else is taken for a frame of counts."""
MEASURED_SHARE = 0.5
"""Of the pixels of a picture, so many must be numbers; the others are taken as masked."""


def find_peaks(
    picture: NDArray[np.generic],
    spot_radius_px: float | None = None,
    beam_radius_px: float | None = None,
    beam_px: tuple[float, float] | None = None,
    bad: NDArray[np.bool_] | None = None,
) -> Peaks:
    """The spots of a picture (rows, columns) of disks or of counts, whichever it is. Never an exception.

    Radii of disks; by default those of the paper (1.0 and 1.76 px in 254 px) in proportion to the picture. beam_px
    and bad: see `frame_peaks`.
    """
    picture = np.asarray(picture)
    reason = _unusable(picture)
    if reason:
        return no_peaks(reason)
    if picture.dtype == np.uint8 and np.count_nonzero(picture) < (1 - BLACK_SHARE) * picture.size:
        scale = max(picture.shape) / 254
        return disk_peaks(
            np.asarray(picture, dtype=np.uint8), spot_radius_px or 1.0 * scale, beam_radius_px or 1.76 * scale
        )
    return frame_peaks(picture, beam_px=beam_px, bad=bad)


def _unusable(picture: NDArray[np.generic]) -> str:
    if picture.ndim != 2:
        return f"not a picture of rows and columns, but an array of {picture.ndim} dimensions"
    if min(picture.shape) < 32:
        return f"too small: {picture.shape[0]} x {picture.shape[1]} pixels"
    if picture.dtype.kind not in "uif":
        return f"not a picture of numbers, but of {picture.dtype}"
    if picture.dtype.kind == "f" and np.isfinite(picture).mean() < MEASURED_SHARE:
        return "most pixels of the picture are no numbers"
    if picture.min() == picture.max():
        return "constant: all pixels are equal"
    return ""
