"""Pictures of patterns: white disks on black, as the network and the peak finder see them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.zones.patterns.simulation import Patterns

WHITE = 255


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """A square picture with the primary beam in its middle (between the pixels, where the size is even).

    per_px: 1/A per pixel. The radii are those of the paper's pictures, reduced to 254 pixels.
    """

    size_px: int = 254
    per_px: float = 2.1 / 254
    spot_radius_px: float = 1.0
    beam_radius_px: float = 1.76


def render(patterns: Patterns, image: ImageGeometry | None = None, intensities: bool = False) -> NDArray[np.uint8]:
    """(n, size, size) pictures. A pixel is as bright as the disk covers it, about; disks do not add up.

    intensities: a disk is as bright as the amplitude of its reflection, instead of white. Spots beyond the edge are
    left out, in part or whole.
    """
    image = image or ImageGeometry()
    size, centre = image.size_px, image.size_px / 2
    pictures = np.zeros((len(patterns), size, size), dtype=np.uint8)
    pictures[:] = _disks(np.array([[centre, centre]]), image.beam_radius_px, size)
    brightness = WHITE * (np.sqrt(patterns.intensity) if intensities else np.ones(len(patterns.xy)))
    where = patterns.xy / image.per_px + centre
    reach = int(np.ceil(image.spot_radius_px + 0.5))
    offsets = np.arange(-reach, reach + 1)
    column = np.floor(where[:, :1]).astype(np.int64) + offsets
    row = np.floor(where[:, 1:]).astype(np.int64) + offsets
    distance = np.sqrt(
        np.square(column + 0.5 - where[:, :1])[:, None, :] + np.square(row + 0.5 - where[:, 1:])[:, :, None]
    )
    cover = np.clip(image.spot_radius_px + 0.5 - distance, 0.0, 1.0) * brightness[:, None, None]
    inside = ((column >= 0) & (column < size))[:, None, :] & ((row >= 0) & (row < size))[:, :, None] & (cover > 0)
    address = (patterns.owner[:, None, None] * size + row[:, :, None]) * size + column[:, None, :]
    np.maximum.at(pictures.reshape(-1), address[inside], np.rint(cover[inside]).astype(np.uint8))
    return pictures


def draw(xy: NDArray[np.float64], image: ImageGeometry | None = None) -> NDArray[np.uint8]:
    """(size, size) picture of one pattern of (k, 2) spots in 1/A, all equally bright."""
    count = len(xy)
    one = Patterns(xy, np.zeros((count, 3), dtype=np.int64), np.ones(count), np.array([0, count]), np.eye(3)[None])
    picture: NDArray[np.uint8] = render(one, image)[0]
    return picture


def _disks(where: NDArray[np.float64], radius_px: float, size: int) -> NDArray[np.uint8]:
    """(size, size) one picture with disks at (k, 2) positions (column, row)."""
    row, column = np.indices((size, size)) + 0.5
    picture = np.zeros((size, size))
    for x, y in where:
        picture = np.maximum(picture, np.clip(radius_px + 0.5 - np.hypot(column - x, row - y), 0.0, 1.0))
    return np.rint(WHITE * picture).astype(np.uint8)
