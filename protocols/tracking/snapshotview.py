"""A snapshot as tracking looks at it: the aperture's disc cut out, in cells that suit its size, as shares of light.

Whatever camera and defocus, the disc has about the same number of cells, so that what follows takes the same time and
means the same lengths on the specimen.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CELLS = 40.0
"""Of the disc's radius; a disc of fewer pixels has these as cells."""
LEAST_RADIUS_PX = 12.0
EDGE_SHARE, EDGE_PX = 0.03, 1.0
"""The disc's own edge is not looked at: a part of its radius, or some pixels."""
LEAST_INSIDE = 0.7
"""Of the disc: less of it on the picture is too little."""
BRIGHT_PERCENTILE = 75.0
LEAST_ELECTRONS = 4.0
"""In a cell, where it is bright: in less light nothing can be seen."""
SATURATED_SHARE = 0.005
OPAQUE = 0.06
"""Cells with less light than this, up to the rim, are behind a bar of the grid."""
LEAST_SHADOW, SHADOW_EDGE = 12, 2
"""Cells of a shadow, and around it."""
LEAST_LIT = 0.35
DARK, SHADOWED = "the disc is dark", "most of the disc is in a shadow"
"""Why nothing is seen where no light comes through."""
DIM = "the disc is too dim"
DARK_SHARE = 0.1
"""Of `LEAST_ELECTRONS`; with more some light comes through, and it is no bar: a bar lets none."""
SCALES = (1.2, 2.0, 3.4)
FINEST = 0.6
"""Sigmas of the smoothed pictures, where the disc has `CELLS`; and the smallest one in cells."""


class NotSeen(Exception):
    """A snapshot that does not tell where the crystal is. Its text says why, in words."""


@dataclass(frozen=True, eq=False)
class SnapshotView:
    """share: (n, n) light of each cell, 1 where it is bright. lit: cells inside the disc. electrons: of a bright cell.
    fineness: cells along the disc's radius, over `CELLS`. cell_px: pixels along a side of a cell. off_px: fast and
    slow, from the disc's middle to that of the array.
    """

    share: Array
    lit: Mask
    electrons: float
    fineness: float
    cell_px: float
    off_px: tuple[float, float]

    @property
    def scales(self) -> tuple[float, ...]:
        """Sigmas of the smoothed pictures, in cells."""
        return tuple(max(scale * self.fineness, FINEST) for scale in SCALES)

    @cached_property
    def smooth(self) -> tuple[Array, ...]:
        """The shares smoothed by each of the scales, of what is lit."""
        return tuple(self._smoothed(scale) for scale in self.scales)

    @cached_property
    def places(self) -> tuple[Array, Array]:
        """(1, n) fast and (n, 1) slow: of the cells' middles from that of the array, in cells."""
        along = np.arange(len(self.share), dtype=np.float64) - (len(self.share) - 1) / 2
        return along[None, :], along[:, None]

    @cached_property
    def rim(self) -> Mask:
        """The outermost lit cells."""
        lit = self.lit
        inner = lit.copy()
        inner[1:-1, 1:-1] = lit[1:-1, 1:-1] & lit[:-2, 1:-1] & lit[2:, 1:-1] & lit[1:-1, :-2] & lit[1:-1, 2:]
        return np.asarray(lit & ~inner)

    def noise(self, which: int) -> float:
        """Standard deviation of a bright cell in one of the smoothed pictures."""
        return float(1.0 / np.sqrt(self.electrons * max(1.0, 4.0 * np.pi * self.scales[which] ** 2)))

    def _smoothed(self, scale: float) -> Array:
        known = self.lit.astype(np.float64)
        weight = scipy.ndimage.gaussian_filter(known, scale, truncate=3.0)
        told = scipy.ndimage.gaussian_filter(np.where(self.lit, self.share, 0.0), scale, truncate=3.0)
        return np.asarray(np.where(self.lit, told / np.maximum(weight, 1e-6), 1.0))


def view(
    picture: NDArray[np.number], centre_px: tuple[float, float], radius_px: float, saturation: float = 0.0
) -> SnapshotView:
    """Of a picture of equal pixels, in electrons or counts of one electron each.

    centre_px: fast and slow of the disc's middle; pixel i covers [i, i + 1). saturation: counts from which a pixel is
    full; 0 where nobody knows. Raises NotSeen for a picture in which nothing can be seen.
    """
    if not radius_px >= LEAST_RADIUS_PX:
        raise NotSeen(f"the disc is too small: its radius is {radius_px:.1f} px, and {LEAST_RADIUS_PX:g} are needed")
    cell = max(1, round(radius_px / CELLS))
    half = int(np.ceil(radius_px / cell)) + 1
    side = 2 * half * cell
    left, top = (round(centre_px[axis]) - half * cell for axis in (0, 1))
    box = np.zeros((side, side))
    there = np.zeros((side, side), dtype=bool)
    rows, columns = (
        slice(max(begin, 0), min(begin + side, size)) for begin, size in zip((top, left), picture.shape, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise NotSeen("the disc lies outside of the picture")
    inside = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    box[inside] = picture[rows, columns]
    there[inside] = True
    fast = np.arange(side) + 0.5 + left - centre_px[0]
    slow = np.arange(side) + 0.5 + top - centre_px[1]
    away2 = fast[None, :] ** 2 + slow[:, None] ** 2
    disc = away2 <= (radius_px - max(EDGE_PX, EDGE_SHARE * radius_px)) ** 2
    if np.count_nonzero(disc & there) < LEAST_INSIDE * np.count_nonzero(disc):
        raise NotSeen("most of the disc lies outside of the picture")
    if saturation > 0 and np.mean(box[disc] >= saturation) > SATURATED_SHARE:
        raise NotSeen("the disc is saturated")
    counts = box.reshape(2 * half, cell, 2 * half, cell).sum(axis=(1, 3))
    lit: Mask = np.asarray((disc & there).reshape(2 * half, cell, 2 * half, cell).all(axis=(1, 3)))
    level = float(
        np.percentile(
            scipy.ndimage.gaussian_filter(counts, 3.0)[
                lit & (scipy.ndimage.gaussian_filter(lit.astype(np.float64), 3.0) > 0.97)
            ],
            BRIGHT_PERCENTILE,
        )
    )
    if level < LEAST_ELECTRONS:
        why = DARK if level < DARK_SHARE * LEAST_ELECTRONS else DIM
        raise NotSeen(f"{why}: {level / cell**2:.2f} counts in a pixel where it is brightest")
    share = counts / level
    lit = _unshadowed(share, lit)
    if np.count_nonzero(lit) < LEAST_LIT * np.count_nonzero(disc) / cell**2:
        raise NotSeen(SHADOWED)
    off_px = round(centre_px[0]) - centre_px[0], round(centre_px[1]) - centre_px[1]
    return SnapshotView(share, lit, level, radius_px / cell / CELLS, float(cell), off_px)


def _unshadowed(share: Array, lit: Mask) -> Mask:
    """The lit cells without what is behind a bar, which reaches to the rim."""
    dark = lit & (
        scipy.ndimage.gaussian_filter(np.where(lit, share, 0.0), 1.0)
        < OPAQUE * scipy.ndimage.gaussian_filter(lit.astype(np.float64), 1.0)
    )
    if np.count_nonzero(dark) < LEAST_SHADOW:
        return lit
    labels, _ = scipy.ndimage.label(dark)
    outside = ~lit
    for each in np.unique(labels[dark]):
        part = labels == each
        wider = scipy.ndimage.binary_dilation(part, iterations=SHADOW_EDGE)
        if np.count_nonzero(part) >= LEAST_SHADOW and (wider & outside).any():
            lit = lit & ~wider
    return lit
