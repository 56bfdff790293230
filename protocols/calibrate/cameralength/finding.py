"""Which rings are which: the pattern is compared with the standard in the logarithm of the radius.

There another camera length is a shift, and an ellipse moves a ring by a wave of two periods around the beam that is the
same for all rings. So the ellipse is the one about which rings are sharpest, and the camera length the shift at which
they are where the standard has some, none left out that should be bright. No more is asked than a beam within some
pixels.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from protocols.calibrate.cameralength.pattern import Pattern, Shape
from protocols.calibrate.cameralength.rings import Rings

Array = NDArray[np.float64]

MOST_OFF = 0.3
"""A true camera length may differ from the nominal one by this share."""
NEAREST_PX = 6.0
AZIMUTHS = 90
STEP_PX = 0.6
"""Of the radius, at the edge of the camera."""
ELLIPSES = np.arange(-0.02, 0.0201, 0.004)
"""Strains and shears that are tried."""
SMOOTH, BROAD = 0.012, 0.055
"""Widths in the logarithm of the radius: of a ring, and of what is background to it."""
LEAST_AROUND = 0.25
"""Of a circle must be on the camera."""
TRIED = 4
APART = 0.02


def candidates(pattern: Pattern, start: Shape, rings: Rings, wavelength_A: float) -> list[Shape]:
    """Shapes that may be the right one, the likeliest first; at most TRIED. start: the beam, and the nominal length."""
    polar = _polar(pattern, start)
    if polar is None:
        return []
    logs, around, rows = polar
    step = logs[1] - logs[0]
    azimuth = (np.arange(AZIMUTHS) + 0.5) * 2 * np.pi / AZIMUTHS
    best, profile = -1.0, np.zeros(len(logs))
    shape = start
    for strain in ELLIPSES:
        for shear in ELLIPSES:
            if np.hypot(strain, shear) > ELLIPSES[-1] + 1e-9:
                continue
            moved = strain * np.cos(2 * azimuth) + shear * np.sin(2 * azimuth)
            mean = _shifted_mean(rows, around, np.rint(moved / step).astype(np.intp))
            if (sharp := float((mean**2).sum())) > best:
                best, profile, shape = sharp, mean, replace(start, strain=float(strain), shear=float(shear))
    found: list[Shape] = []
    reach = round(np.log1p(MOST_OFF) / step)
    shifts = np.arange(-reach, reach + 1)
    scores = np.array([_alike(profile, logs + shift * step, rings, start.length_px, wavelength_A) for shift in shifts])
    for place in np.argsort(-scores):
        length = start.length_px * float(np.exp(-shifts[place] * step))
        if all(abs(np.log(length / other.length_px)) > APART for other in found):
            found.append(replace(shape, length_px=length))
        if len(found) == TRIED:
            break
    return found


def _polar(pattern: Pattern, start: Shape) -> tuple[Array, Array, Array] | None:
    """Logarithms of radii (n,); whether a place is on the camera, and how far it is above its surroundings, in standard
    deviations of counting, both (AZIMUTHS, n). None where the beam is not on the camera.
    """
    from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

    rows, columns = pattern.counts.shape
    far_px = float(np.hypot(max(start.fast_px, columns - start.fast_px), max(start.slow_px, rows - start.slow_px)))
    if not (0 < start.fast_px < columns and 0 < start.slow_px < rows):
        return None
    logs = np.arange(np.log(NEAREST_PX), np.log(far_px), STEP_PX / far_px)
    azimuth = (np.arange(AZIMUTHS) + 0.5) * 2 * np.pi / AZIMUTHS
    radius = np.exp(logs)
    y = start.slow_px + np.outer(np.sin(azimuth), radius) - 0.5
    x = start.fast_px + np.outer(np.cos(azimuth), radius) - 0.5
    weight = pattern.good.astype(np.float64)
    # A little smoothing: near the beam samples lie closer than pixels, far from it farther apart.
    summed = gaussian_filter(pattern.counts * weight, 0.6)
    weights = gaussian_filter(weight, 0.6)
    value, share = (map_coordinates(each, [y, x], order=1, cval=0.0) for each in (summed, weights))
    around = share > 0.5
    level = np.where(around, value / np.maximum(share, 1e-9), 0.0)
    counted = around.astype(np.float64)
    step = logs[1] - logs[0]
    root = np.sqrt(np.maximum(level, 0.0) * pattern.frames + 0.375)
    broad = gaussian_filter1d(root * counted, BROAD / step, axis=1) / np.maximum(
        gaussian_filter1d(counted, BROAD / step, axis=1), 1e-3
    )
    fine = gaussian_filter1d(root * counted, SMOOTH / step, axis=1) / np.maximum(
        gaussian_filter1d(counted, SMOOTH / step, axis=1), 1e-3
    )
    enough = around.mean(axis=0) > LEAST_AROUND
    last = int(np.flatnonzero(enough)[-1]) + 1 if enough.any() else 0
    if last < 10:
        return None
    return logs[:last], counted[:, :last], ((fine - broad) * counted)[:, :last]


def _shifted_mean(rows: Array, around: Array, shift: NDArray[np.intp]) -> Array:
    """(n,) mean over the azimuth of rows, each moved by its own number of places."""
    places = np.clip(np.arange(rows.shape[1])[None, :] + shift[:, None], 0, rows.shape[1] - 1)
    taken, counted = (np.take_along_axis(each, places, axis=1) for each in (rows, around))
    return np.asarray(taken.sum(axis=0) / np.maximum(counted.sum(axis=0), 1.0))


def _alike(profile: Array, logs: Array, rings: Rings, length_px: float, wavelength_A: float) -> float:
    """Correlation of a profile at these logarithms with what the standard has there."""
    place = np.log(rings.radius_px(length_px, wavelength_A))
    strength = np.sqrt(rings.height)
    from_ring = (logs[:, None] - place[None, :]) ** 2
    fine = np.exp(-0.5 * from_ring / (2 * SMOOTH**2)) @ strength / np.sqrt(2 * SMOOTH**2)
    broad = np.exp(-0.5 * from_ring / (BROAD**2 + SMOOTH**2)) @ strength / np.sqrt(BROAD**2 + SMOOTH**2)
    wanted = fine - broad
    return float(profile @ wanted / max(np.linalg.norm(profile) * np.linalg.norm(wanted), 1e-12))
