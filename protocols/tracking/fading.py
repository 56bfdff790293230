"""A warning from the diffraction frames between snapshots: the crystal may be leaving the aperture.

What is scattered comes and goes as a crystal turns; where it falls far below what it has been for a while, and the
primary beam does not, there is less crystal in the aperture. Where both fall, something is in the way of the beam. Pure
functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAST, BEFORE = 4, 12
"""So many frames are compared with as many before them."""
LEAST_BEFORE = 6
FALLEN = 0.5
"""What is scattered is then below this part of what it was,"""
SURE_SIGMAS = 3.0
"""and by so many times what it varies from frame to frame."""
STEADY = 0.15
"""The primary beam is the same within this part."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """Of a diffraction frame, in counts per second. beam: inside the primary beam's disc. scattered: outside of it,
    above the level at the edge of the picture.
    """

    beam: float
    scattered: float


def intensity(
    picture: NDArray[np.number], beam_px: tuple[float, float], radius_px: float, exposure_s: float
) -> Intensity:
    """Of a picture (rows, columns) of equal pixels, 1 ms. beam_px: fast and slow of the primary beam, pixel i covers
    [i, i + 1). radius_px: that holds it with its halo.
    """
    fast, slow = np.arange(picture.shape[1]) + 0.5 - beam_px[0], np.arange(picture.shape[0]) + 0.5 - beam_px[1]
    inside = fast[None, :] ** 2 + slow[:, None] ** 2 <= radius_px**2
    counts = np.asarray(picture, np.float64)
    edge = np.concatenate([counts[0], counts[-1], counts[:, 0], counts[:, -1]])
    level = float(np.mean(np.minimum(edge, np.percentile(edge, 99.0))))
    beam, whole = float(counts[inside].sum()), float(counts.sum())
    return Intensity(beam / exposure_s, (whole - beam - level * float(np.count_nonzero(~inside))) / exposure_s)


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
    beam = float(np.median([each.beam for each in last])) / usual_beam
    logs = np.log(np.maximum([each.scattered for each in before], 1e-9))
    usual, scatter = float(np.median(logs)), 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    now = float(np.median(np.log(np.maximum([each.scattered for each in last], 1e-9))))
    fell = np.exp(now - usual)
    if beam < 1.0 - STEADY:
        return f"the primary beam has fallen to {100 * beam:.0f} % of what it was: something shadows it"
    if fell < FALLEN and usual - now > SURE_SIGMAS * scatter and beam < 1.0 + STEADY:
        return f"what is scattered has fallen to {100 * fell:.0f} % of what it was: the crystal may leave the aperture"
    return None
