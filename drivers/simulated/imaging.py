"""The simulated microscope's images: how large and how turned they are, what lights them, and the image of a grid.

Image modes show the specimen where the stage has brought it, moved by the image shift, in the disc that the condenser
lights. All here is of the column; how the camera is mounted comes after it (`drivers.turn`). Pure functions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Four = tuple[float, float, float, float]

SOFT_NM, SOFT_SHARE = 5.0, 0.03
"""Over how far the light goes out at the edge of the disc: this, and a share of its radius."""


@dataclass(frozen=True, slots=True)
class ImageScale:
    """How the image of one mode and magnification stands to the specimen.

    pixel_nm: what a pixel of equal size covers. stage_axes: what a nm of the stage's x and y is along (fast, slow) of
    the picture, in nm: (fast of x, fast of y, slow of x, slow of y). turned: the same for the picture of the imaging
    mode, along whose axes the deflectors of `DeflectorSettings` move.
    """

    pixel_nm: float
    stage_axes: Four = (1.0, 0.0, 0.0, -1.0)
    turned: Four = (1.0, 0.0, 0.0, 1.0)


PLAIN = ImageScale(1.0)


class Grid(Protocol):
    """What an image is of."""

    def transmission(self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], tilt_deg: float = 0.0) -> Array:
        """See `SpecimenGrid.transmission`."""
        ...


@dataclass(frozen=True, slots=True)
class LitDisc:
    """What the condenser lights of the specimen: radius in nm, middle in nm along (fast, slow) without beam shift, and
    electrons per second in all of it.
    """

    radius_nm: float
    middle_nm: tuple[float, float]
    current_s: float


NOTHING_LIT = LitDisc(0.0, (0.0, 0.0), 0.0)


def nominal_pixel_nm(pixel_size_mm: float, magnification: float) -> float:
    """What a pixel covers by what the panel says."""
    return pixel_size_mm * 1e6 / magnification


def vector(matrix: Four, pair: tuple[float, float]) -> tuple[float, float]:
    """A matrix times (x, y)."""
    return matrix[0] * pair[0] + matrix[1] * pair[1], matrix[2] * pair[0] + matrix[3] * pair[1]


def lab_on_grid(lab_nm: tuple[float, float], tilt: float, specimen_nm: Sequence[float]) -> tuple[float, float]:
    """What of the specimen is at a place along x and y of the stage from the axis of the column; tilt in rad."""
    x, y = lab_nm[0], (lab_nm[1] + specimen_nm[2] * math.sin(tilt)) / max(math.cos(tilt), 1e-3)
    return x - specimen_nm[0], y - specimen_nm[1]


def image_on_grid(
    scale: ImageScale, specimen_nm: tuple[float, float, float], tilt_deg: float, image_shift_nm: tuple[float, float]
) -> tuple[tuple[float, float], Four]:
    """What of the specimen is in the middle of an image, and how many nm of its x and y are along a pixel: x of fast,
    x of slow, y of fast, y of slow. Arguments as of `electrons_s`.
    """
    to_lab = np.linalg.inv(np.reshape(scale.stage_axes, (2, 2)))
    lab_x, lab_y = (to_lab @ -np.array(image_shift_nm)).tolist()
    tilt = math.radians(tilt_deg)
    (a, b), (c, d) = (np.diag([1.0, 1.0 / max(math.cos(tilt), 1e-3)]) @ to_lab * scale.pixel_nm).tolist()
    return lab_on_grid((lab_x, lab_y), tilt, specimen_nm), (a, b, c, d)


def shown(
    grid: Grid,
    scale: ImageScale,
    shape: tuple[int, int],
    specimen_nm: tuple[float, float, float],
    tilt_deg: float,
    image_shift_nm: tuple[float, float],
) -> Array:
    """(rows, columns) share of the electrons that the specimen lets through to each of equal pixels. Arguments as of
    `electrons_s`.
    """
    middle_nm, along = image_on_grid(scale, specimen_nm, tilt_deg, image_shift_nm)
    to_grid = np.reshape(along, (2, 2))
    origin_nm = np.array(middle_nm) - to_grid @ np.array([shape[1] / 2.0, shape[0] / 2.0])
    return grid.transmission(to_grid, origin_nm, shape, tilt_deg)


def electrons_s(
    grid: Grid,
    scale: ImageScale,
    disc: LitDisc,
    shape: tuple[int, int],
    specimen_nm: tuple[float, float, float],
    tilt_deg: float,
    beam_shift_nm: tuple[float, float],
    image_shift_nm: tuple[float, float],
) -> Array:
    """(rows, columns) electrons per second on each of equal pixels.

    specimen_nm: x, y, z of the stage. tilt_deg: about its x, which foreshortens what lies along y. beam_shift_nm,
    image_shift_nm: what the deflectors did, along (fast, slow) of this picture.
    """
    lit = _light(scale.pixel_nm, disc, shape, np.array(disc.middle_nm) + beam_shift_nm + np.array(image_shift_nm))
    if np.any(lit):
        lit *= shown(grid, scale, shape, specimen_nm, tilt_deg, image_shift_nm)
    return lit


def _light(pixel_nm: float, disc: LitDisc, shape: tuple[int, int], middle_nm: Array) -> Array:
    """(rows, columns) electrons per second on each pixel without a specimen; middle_nm: of the disc in the picture."""
    if disc.radius_nm <= 0.0:
        return np.zeros(shape)
    density = disc.current_s / (math.pi * disc.radius_nm**2) * pixel_nm**2
    x = (np.arange(shape[1]) + 0.5 - shape[1] / 2.0) * pixel_nm - middle_nm[0]
    y = (np.arange(shape[0]) + 0.5 - shape[0] / 2.0) * pixel_nm - middle_nm[1]
    soft_nm = max(SOFT_NM + SOFT_SHARE * disc.radius_nm, pixel_nm)
    farthest = math.hypot(max(abs(x[0]), abs(x[-1])), max(abs(y[0]), abs(y[-1])))
    if farthest < disc.radius_nm - soft_nm:
        return np.full(shape, density)
    away = np.hypot(x[None, :], y[:, None])
    return np.asarray(density * np.clip((disc.radius_nm - away) / soft_nm + 0.5, 0.0, 1.0))
