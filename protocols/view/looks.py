"""What a person wants to know of a picture while he focuses and centres: computed by the display, deciding nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drivers.parts import OpticalMode
from engine.frame import added_up, squares_px
from engine.record.jsonobject import JsonObject
from engine.run.contract import Seen
from protocols.products.cross import pixel_area, raw_place, spread
from protocols.products.resolutionrings import ResolutionRings, nominal_length_mm, resolution_rings
from protocols.spots.beam_centre import even_level
from protocols.view.standing import CAMERA_LENGTH_MM, NOW

DIFFRACTION = OpticalMode.DIFFRACTION.value

SMOOTH_PX = 1.5
"""So wide the noise of single pixels is smoothed before differences are taken."""
LAG_PX = 2
LIT_SHARE = 0.003
"""Of the pixels of a counting camera fewer have counted anything while the beam is off: nothing to be sharp."""
LARGEST_PX = 1100
"""Of a larger picture pixels are added up in squares: all of 2048 px took 400 ms, and the display waits for it."""
BEAM_PX = 550
"""The same where the beam is looked for, which is wider than a pixel of a large camera."""
STANDS_OUT = 12.0
"""So many times the noise, and as many counts, a beam is brighter than the rest of its picture."""


def seen(counts: NDArray[Any], arguments: JsonObject) -> Seen:
    """Of a picture (rows, columns): its brightest pixel, its sharpness, the beam and how far that is from the middle.

    Rings of resolution lie around that beam, or where there is none (a beam stop), around the one of the geometry.
    arguments: `saturation`, the largest count of the camera, or None; `wide_cross`, as `drivers.facts.DetectorFacts`;
    `instrument` of run.json; `rows` of a display that say how the microscope stands, of a live picture.
    """
    brightest, most = float(np.max(counts, initial=0)), arguments.get("saturation")
    figures = [("brightest pixel", f"{brightest:.0f}" + (f" of {most:.0f} counts" if most else " counts"))]
    wide, side = bool(arguments.get("wide_cross")), squares_px(counts.shape, LARGEST_PX)
    image = np.nan_to_num(counts) if counts.dtype.kind == "f" else counts
    if wide:  # on the grid of equal pixels
        image = spread(image / pixel_area((counts.shape[0], counts.shape[1])))
    small = _in_squares(image, side)
    sharp = sharpness(small) if _is_lit(image) else None
    if sharp is not None:
        figures.append(("sharpness", f"{sharp:.3g}"))
    crosses: list[tuple[float, float, str]] = []
    rings = _rings(arguments)
    if most and (wide or brightest > most):
        small = _in_squares(np.minimum(image, even_level(int(most), wide)), side)
    again = squares_px(small.shape, BEAM_PX)
    beam = beam_in(_in_squares(small, again))
    if beam is not None:
        beam = beam[0] * side * again, beam[1] * side * again
        right, down = (place - size / 2 for place, size in zip(beam, image.shape[::-1], strict=True))
        figures.append(("beam from the middle", f"{right:+.1f} px right, {down:+.1f} px down"))
        fast, slow = beam[0] - 0.5, beam[1] - 0.5  # from the middle of the first pixel
        if wide:
            fast, slow = raw_place(fast, counts.shape[1]), raw_place(slow, counts.shape[0])
        crosses.append((fast, slow, "beam"))
    followed = None if sharp is None else ("sharpness", sharp)
    if rings is None:
        return Seen(figures, crosses, followed)
    return Seen(figures, crosses, followed, crosses[0][:2] if crosses else rings.centre_px, rings.rings)


def _rings(arguments: JsonObject) -> ResolutionRings | None:
    """Of a pattern, at the camera length at which the microscope stands; None for an image, and where nobody knows."""
    rows: Any = arguments.get("rows") or {}
    now, instrument = rows.get(NOW) or {}, arguments.get("instrument")
    nominal_mm = nominal_length_mm(instrument) if isinstance(instrument, Mapping) else None
    if nominal_mm is None or not isinstance(instrument, Mapping):
        return None
    if now.get("mode", DIFFRACTION) != DIFFRACTION:
        return None
    try:
        return resolution_rings(instrument, float(now.get(CAMERA_LENGTH_MM) or nominal_mm) / nominal_mm)
    except ValueError:
        return None


def beam_in(image: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle (fast, slow) of the beam, a spot or a disc, in a picture of equal pixels; pixel i covers [i, i + 1).

    The centroid of the brightest connected place that is above half of the highest, after smoothing. None where no
    place stands out.
    """
    smooth = ndimage.gaussian_filter(image, SMOOTH_PX)
    level, summit = float(np.median(smooth)), float(smooth.max())
    noise = 1.4826 * float(np.median(np.abs(smooth - level)))
    if summit - level < STANDS_OUT * max(noise, 1.0):
        return None
    labels, number = ndimage.label(smooth > level + (summit - level) / 2)
    places = range(1, number + 1)
    brightest = int(np.argmax(ndimage.sum_labels(image - level, labels, places))) + 1
    slow, fast = np.nonzero(labels == brightest)
    return float(fast.mean() + 0.5), float(slow.mean() + 0.5)


def sharpness(image: NDArray[np.float64]) -> float | None:
    """How sharp a picture (rows, columns) is, to be compared with others of the same specimen and exposure.

    The mean square of differences between pixels two apart (Brenner et al., J. Histochem. Cytochem. 24 (1976) 100),
    after smoothing, over the variance: a figure without unit that a brighter beam does not change. None for an even
    picture, and for a dark one.
    """
    smooth = ndimage.gaussian_filter(image, SMOOTH_PX)
    variance = float(image.var())
    if variance <= 0 or not _is_lit(image):
        return None
    across, down = smooth[:, LAG_PX:] - smooth[:, :-LAG_PX], smooth[LAG_PX:] - smooth[:-LAG_PX]
    return float((np.mean(across**2) + np.mean(down**2)) / variance)


def _is_lit(image: NDArray[Any]) -> bool:
    """Whether enough pixels have counted anything; before they are added up, when fewer are dark."""
    return bool(np.count_nonzero(image) >= LIT_SHARE * image.size)


def _in_squares(image: NDArray[Any], side_px: int) -> NDArray[np.float64]:
    return np.asarray(added_up(image, side_px) if side_px > 1 else image, np.float64)
