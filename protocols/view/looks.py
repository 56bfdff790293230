"""What a person wants to know of a picture while he focuses and centres: computed by the display, deciding nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.record.jsonobject import JsonObject
from engine.run.contract import Seen
from protocols.spots.beam_centre import filter_px, find_beam
from protocols.spots.beam_on_camera import no_beam

SMOOTH_PX = 1.5
"""So wide the noise of single pixels is smoothed before differences are taken."""
LAG_PX = 2


def seen(counts: NDArray[Any], arguments: JsonObject) -> Seen:
    """Of a picture (rows, columns): its sharpness, the primary beam and how far that is from the middle.

    arguments: `saturation`, the largest count of the camera, or None.
    """
    image = np.nan_to_num(counts.astype(np.float64))
    brightest = float(image.max(initial=0.0))
    most = arguments.get("saturation")
    figures = [("brightest pixel", f"{brightest:.0f}" + (f" of {most:.0f} counts" if most else " counts"))]
    sharp = sharpness(image)
    if sharp is not None:
        figures.append(("sharpness", f"{sharp:.3g}"))
    crosses: list[tuple[float, float, str]] = []
    beam = None if no_beam(counts) else find_beam(image, filter_px((counts.shape[0], counts.shape[1])))
    if beam is not None:
        fast, slow = beam[0] - 0.5, beam[1] - 0.5  # from the middle of the first pixel
        right, down = beam[0] - counts.shape[1] / 2, beam[1] - counts.shape[0] / 2
        figures.append(("beam from the middle", f"{right:+.1f} px right, {down:+.1f} px down"))
        crosses.append((fast, slow, "beam"))
    return Seen(figures, crosses, None if sharp is None else ("sharpness", sharp))


def sharpness(image: NDArray[np.float64]) -> float | None:
    """How sharp a picture (rows, columns) is, to be compared with others of the same specimen and exposure.

    The mean square of differences between pixels two apart (Brenner et al., J. Histochem. Cytochem. 24 (1976) 100),
    after smoothing, over the variance: a figure without unit that a brighter beam does not change. None for an even
    picture.
    """
    smooth = ndimage.gaussian_filter(image, SMOOTH_PX)
    variance = float(image.var())
    if variance <= 0:
        return None
    across, down = smooth[:, LAG_PX:] - smooth[:, :-LAG_PX], smooth[LAG_PX:] - smooth[:-LAG_PX]
    return float((np.mean(across**2) + np.mean(down**2)) / variance)
