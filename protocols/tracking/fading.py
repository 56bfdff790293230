"""A warning from the diffraction frames between snapshots: the crystal may be leaving the aperture.

What is scattered comes and goes as a crystal turns, by more than half from one frame to the next; where several frames
in a row hold far less than the least of many before them, and the primary beam does not fall, there is less crystal in
the aperture. Where both fall, something is in the way of the beam. Pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.record.jsonobject import JsonDict, JsonObject

LAST, BEFORE = 4, 24
"""So many frames are compared with so many before them,"""
LEAST_BEFORE = 12
"""or with those that there are."""
FALLEN = 0.5
"""What is scattered is then in each of them below this part of the least before."""
STEADY = 0.15
"""The primary beam is the same within this part."""

BEAM_PX, BEAM_SHARE = 25.0, 0.11
"""Radius of what is taken for the primary beam with its halo; on small pictures a share of their shorter edge."""


STANDS_OUT = 5.0
"""Sigmas of counting by which the light of spots stands out of what lies around the beam."""
CLIPPED, ROUNDS = 3.0, 2


@dataclass(frozen=True, slots=True)
class Intensity:
    """Of a diffraction frame, in counts per second. beam: inside the primary beam's disc. scattered: by the crystal,
    outside of that: what stands out of the halo of beam and film, which stays when a crystal leaves.
    """

    beam: float
    scattered: float


def intensity(
    picture: NDArray[np.number], beam_px: tuple[float, float], radius_px: float, exposure_s: float
) -> Intensity:
    """Of a picture (rows, columns) of equal pixels, 3 ms for 512 x 512. beam_px: fast and slow of the primary beam,
    pixel i covers [i, i + 1). radius_px: that holds it with most of its halo.
    """
    disc, beside, ring, pixels = _rings((picture.shape[0], picture.shape[1]), beam_px, radius_px)
    counts = np.asarray(picture, np.float64).reshape(-1)
    outside = counts[beside]
    sums = np.bincount(ring, outside, minlength=len(pixels))
    level = sums / np.maximum(pixels, 1)
    for _ in range(ROUNDS - 1):  # of each ring the mean, without what stands out
        out = np.flatnonzero(outside > (level + CLIPPED * np.sqrt(level + 1.0))[ring])
        fewer = pixels - np.bincount(ring[out], minlength=len(pixels))
        level = (sums - np.bincount(ring[out], outside[out], minlength=len(pixels))) / np.maximum(fewer, 1)
    spots = np.flatnonzero(outside > (level + STANDS_OUT * np.sqrt(level + 1.0))[ring])
    scattered = float((outside[spots] - level[ring[spots]]).sum())
    return Intensity(float(counts[disc].sum()) / exposure_s, scattered / exposure_s)


@lru_cache(maxsize=2)
def _rings(
    shape: tuple[int, int], beam_px: tuple[float, float], radius_px: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Which pixels the primary beam's disc has, which are outside, the number of its ring for each of these, and how
    many pixels a ring has: the same for all frames of a run.
    """
    fast, slow = np.arange(shape[1]) + 0.5 - beam_px[0], np.arange(shape[0]) + 0.5 - beam_px[1]
    away_px = np.sqrt(fast[None, :] ** 2 + slow[:, None] ** 2)
    inside = away_px <= radius_px
    ring = away_px[~inside].astype(np.intp)
    return np.flatnonzero(inside), np.flatnonzero(~inside), ring, np.bincount(ring, minlength=1)


def measured(counts: NDArray[np.number], arguments: JsonObject) -> JsonDict:
    """The same as JSON, in whole numbers, for `engine.run.framewatch.FrameWatch.measure`. arguments: `beam_px` and
    `exposure_s`.
    """
    fast_px, slow_px = arguments["beam_px"]
    radius_px = min(BEAM_PX, BEAM_SHARE * min(counts.shape[:2]))
    found = intensity(counts, (fast_px, slow_px), radius_px, arguments["exposure_s"])
    return {"beam": round(found.beam), "scattered": round(found.scattered)}


def fading(frames: Sequence[Intensity]) -> str | None:
    """In words, what the last frames show; None where nothing has changed, or too few frames are there. frames: in
    their order, without those that are missing or bad.
    """
    if len(frames) < LAST + LEAST_BEFORE:
        return None
    last, before = frames[-LAST:], frames[-LAST - BEFORE : -LAST]
    usual_beam = float(np.median([each.beam for each in before]))
    if usual_beam <= 0.0:  # behind a beam stop, or not where it was said to be
        return None
    if min(each.scattered for each in before) <= 0.0:  # so few spots that there may be none for a while
        return None
    beam = float(np.median([each.beam for each in last])) / usual_beam
    least, most = min(each.scattered for each in before), max(each.scattered for each in last)
    if beam < 1.0 - STEADY:
        return f"the primary beam has fallen to {100 * beam:.0f} % of what it was: something shadows it"
    if most < FALLEN * least and beam < 1.0 + STEADY:
        usual, now = (float(np.median([each.scattered for each in frames])) for frames in (before, last))
        fell = now / usual
        return f"what is scattered has fallen to {100 * fell:.0f} % of what it was: the crystal may leave the aperture"
    return None
