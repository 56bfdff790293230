"""The disc that the beam lights in an image: middle and radius, from its edge and not from what lies in it.

Along rays from the middle the edge is where the light falls to half of what it was inside; a circle with a twofold
wave is fitted to these places, and rays that are far off (a dark crystal on the edge) count no more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label, map_coordinates

Array = NDArray[np.float64]

RAYS = 180
LEAST_RAYS = 0.75
LEAST_KNOWN = 0.35
"""Of all rays, where the radius is known: an arc of this tells the middle."""
INSIDE, OUTSIDE = 0.55, 1.45
"""From and to where a ray is looked at, in radii."""
SMOOTH_PX = 1.0
LEAST_PX = 4.0
CLEAR = 3.0
"""So many times brighter than outside is a disc."""


@dataclass(frozen=True, slots=True)
class Disc:
    """In pixels; pixel i covers [i, i + 1). light: counts of a pixel inside, dark: outside. scatter_px: of the edge,
    from ray to ray. wave_px: of the edge, the cosine and the sine of twice the angle.
    """

    fast_px: float
    slow_px: float
    radius_px: float
    light: float
    dark: float
    scatter_px: float
    wave_px: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """What is known of a disc before it is looked for. radius_px, wave_px: as of others that the same light made.
    known: (rows, columns) where its edge may be looked at.
    """

    radius_px: float
    wave_px: tuple[float, float]
    known: NDArray[np.bool_]


def find_disc(picture: Array, usual: Usual | None = None) -> Disc | None:
    """The disc in a picture of equal pixels; None where there is none that lies wholly inside. usual: only its middle
    is looked for.
    """
    smooth = gaussian_filter(picture, 2.0 * SMOOTH_PX)
    dark, light = float(np.percentile(smooth, 2)), float(np.percentile(smooth, 99))
    if light < CLEAR * dark + 1.0:
        return None
    for _ in range(2):
        labels, count = label(smooth > dark + 0.4 * (light - dark))
        if not count:
            return None
        number = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
        inside = labels == number
        light = float(np.median(smooth[inside]))
    rows, columns = np.nonzero(inside)
    if min(rows.min(), columns.min()) == 0 or rows.max() == inside.shape[0] - 1 or columns.max() == inside.shape[1] - 1:
        return None
    radius = float(np.sqrt(len(rows) / np.pi))
    if radius < LEAST_PX:
        return None
    middle = float(np.median(columns)) + 0.5, float(np.median(rows)) + 0.5
    sharp = gaussian_filter(picture, SMOOTH_PX)
    found = None
    for _ in range(2):
        found = _circle(sharp, middle, radius, usual)
        if found is None:
            return None
        middle, radius, scatter, wave = found
    return Disc(middle[0], middle[1], radius, light, dark, scatter, wave)


def _circle(
    picture: Array, middle: tuple[float, float], radius: float, usual: Usual | None
) -> tuple[tuple[float, float], float, float, tuple[float, float]] | None:
    """Middle, radius, scatter and wave of the edge about a first idea of them."""
    angle = 2.0 * np.pi * np.arange(RAYS) / RAYS
    along = np.linspace(INSIDE, OUTSIDE, max(24, int(4 * radius * (OUTSIDE - INSIDE)))) * radius
    fast = middle[0] + np.cos(angle)[:, None] * along
    slow = middle[1] + np.sin(angle)[:, None] * along
    there = (fast[:, -1] > 0) & (fast[:, -1] < picture.shape[1]) & (slow[:, -1] > 0) & (slow[:, -1] < picture.shape[0])
    rays = map_coordinates(picture, [slow - 0.5, fast - 0.5], order=1, mode="nearest")
    quarter = len(along) // 4
    bright, dark = np.median(rays[:, :quarter], axis=1), np.median(rays[:, -quarter:], axis=1)
    half = (bright + dark) / 2
    below = rays < half[:, None]
    # From outside inwards: the first step that is bright again. Dark things inside are not the edge.
    last = below.shape[1] - 1 - np.argmax(~below[:, ::-1], axis=1)
    good = there & (bright > CLEAR * np.maximum(dark, 0.1)) & (last < below.shape[1] - 1) & (last > 0)
    if np.mean(good) < LEAST_RAYS:
        return None
    k = last[good]
    upper, lower = rays[good, k], rays[good, k + 1]
    edge = along[k] + (upper - half[good]) / np.maximum(upper - lower, 1e-9) * (along[1] - along[0])
    phi = angle[good]
    design = np.stack([np.cos(phi), np.sin(phi), np.ones_like(phi), np.cos(2 * phi), np.sin(2 * phi)], axis=1)
    if usual is not None:
        row, column = (middle[1] + edge * np.sin(phi)).astype(np.intp), (middle[0] + edge * np.cos(phi)).astype(np.intp)
        inside = (row >= 0) & (row < picture.shape[0]) & (column >= 0) & (column < picture.shape[1])
        there = inside.copy()
        there[inside] = usual.known[row[inside], column[inside]]
        if np.count_nonzero(there) < LEAST_KNOWN * RAYS:
            return None
        edge = (edge - design[:, 2:] @ (usual.radius_px, *usual.wave_px))[there]
        design = design[there, :2]
    weight = np.ones_like(edge)
    for _ in range(8):
        answer = np.linalg.lstsq(design * weight[:, None], edge * weight, rcond=None)[0]
        off = edge - design @ answer
        scatter = max(1.4826 * float(np.median(np.abs(off))), 1e-3)
        weight = np.sqrt(np.clip(1.0 - (off / (4.0 * scatter)) ** 2, 0.0, 1.0) ** 2)
    shape = (usual.radius_px, *usual.wave_px) if usual is not None else tuple(float(part) for part in answer[2:])
    if shape[0] < LEAST_PX:
        return None
    moved = middle[0] + float(answer[0]), middle[1] + float(answer[1])
    return moved, shape[0], scatter, (shape[1], shape[2])
