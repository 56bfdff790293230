"""The particles of a simulated grid in an image: polygons that absorb, thin towards their edges where they are thick,
with bend contours where they are thin. Pure functions of arrays.
"""

import math

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.gridcrystals import AMORPHOUS, CrystalsOfGrid

Array = NDArray[np.float64]

REACHES_PX = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Particles that reach no farther than this are drawn together."""
MOST_AT_ONCE = 1_500_000
"""Pixels of stamps."""
BEVEL, MOST_BEVEL_NM = 0.5, 120.0
"""Over how much of its thickness, inwards, a thick particle rises from its edge; and at most."""
THIN_NM = 60.0
"""Plates thinner than this are flat up to the edge, and bend."""
BEND_DARK, BEND_NM = 0.5, 60.0
"""A bend contour: how much it adds to what a plate absorbs, and how wide it is."""
ROUGH, ROUND_OFF, ROUGH_WAVES = 0.02, 0.07, 2.3
"""How far edges are off their polygons, over the width: of crystals and of others; and how often on the way across."""
WEDGE = 0.4
"""By how much a thick crystal is thicker at one end than in its middle, at most."""
LEAST_PX = 0.8
"""What is smaller in the image is not drawn."""


def draw_crystals(
    absorbed: NDArray[np.float32], crystals: CrystalsOfGrid, to_grid: Array, origin_nm: Array, per_px: float
) -> None:
    """Add what crystals absorb, minus the logarithm of what they let through, to a picture (rows, columns) of that.

    to_grid, origin_nm: as `CrystalGrid.transmission`; per_px: nm.
    """
    to_px = np.linalg.inv(to_grid)
    stretch = float(np.linalg.norm(to_px, 2))
    at_px = (np.stack([crystals.x_nm, crystals.y_nm], axis=1) - origin_nm) @ to_px.T
    reach_px = np.hypot(crystals.outline_nm[..., 0], crystals.outline_nm[..., 1]).max(axis=1, initial=0.0) * stretch + 2
    rows, columns = absorbed.shape
    seen = (crystals.length_nm > LEAST_PX * per_px) & np.all(at_px > -reach_px[:, None], axis=1)
    seen &= (at_px[:, 0] < columns + reach_px) & (at_px[:, 1] < rows + reach_px)
    for reach in REACHES_PX:
        group = np.flatnonzero(seen & (reach_px <= reach))
        seen[group] = False
        at_once = max(1, MOST_AT_ONCE // (2 * reach + 1) ** 2)
        for first in range(0, len(group), at_once):
            some = group[first : first + at_once]
            _stamp(absorbed, crystals.chosen(some), at_px[some], reach, to_grid, per_px)


def _stamp(
    absorbed: NDArray[np.float32], crystals: CrystalsOfGrid, at_px: Array, reach: int, to_grid: Array, per_px: float
) -> None:
    """Add what crystals (n) within so many pixels of their middles (n, 2) absorb."""
    rows, columns = absorbed.shape
    first = np.floor(at_px).astype(np.int64) - reach
    offsets = np.arange(2 * reach + 1)
    column, row = first[:, :1] + offsets, first[:, 1:] + offsets
    if len(crystals) == 1:  # a large one: no farther than the picture
        column, row = (each[:, (each[0] >= 0) & (each[0] < size)] for each, size in ((column, columns), (row, rows)))
    x, y = (column + 0.5 - at_px[:, :1]).astype(np.float32), (row + 0.5 - at_px[:, 1:]).astype(np.float32)
    normals, distances = crystals.sides
    # A side's distance from a pixel, in nm on the grid: one part for its column, one for its row.
    along, down = (normals @ to_grid).astype(np.float32).transpose(2, 0, 1)
    inside: NDArray[np.float32] | None = None
    for side in range(normals.shape[1]):
        from_side = along[:, side, None] * x + distances[:, side, None].astype(np.float32)
        deep = from_side[:, None, :] + (down[:, side, None] * y)[:, :, None]
        inside = deep if inside is None else np.minimum(inside, deep, out=inside)
    if inside is None:
        return
    inside += _roughness(crystals, x, y, to_grid)
    covered = np.clip(inside / np.float32(per_px) + np.float32(0.5), 0.0, 1.0)
    full = -np.log(np.maximum(crystals.transmission, 1e-6)).astype(np.float32)
    is_thin = (crystals.thickness_nm < THIN_NM) & (crystals.phase != AMORPHOUS)
    bevel = np.where(is_thin, per_px, np.clip(BEVEL * crystals.thickness_nm, per_px, MOST_BEVEL_NM)).astype(np.float32)
    rising = np.minimum(inside / bevel[:, None, None] + np.float32(0.5), 1.0)
    covered *= np.where(is_thin[:, None, None], np.float32(1.0), rising)
    covered *= full[:, None, None]
    covered *= _wedge(crystals, is_thin, x, y, to_grid)
    if is_thin.any() and per_px < BEND_NM:
        covered *= _contours(crystals, is_thin, x, y, to_grid)
    there_row, there_column = (row >= 0) & (row < rows), (column >= 0) & (column < columns)
    for k in range(len(crystals)):
        down_px, along_px = row[k][there_row[k]], column[k][there_column[k]]
        if len(down_px) and len(along_px):
            absorbed[down_px[0] : down_px[-1] + 1, along_px[0] : along_px[-1] + 1] += covered[k][
                np.ix_(there_row[k], there_column[k])
            ]


def _roughness(
    crystals: CrystalsOfGrid, x: NDArray[np.float32], y: NDArray[np.float32], to_grid: Array
) -> NDArray[np.float32]:
    """(n, rows, columns) by how many nm edges are off their polygons: crystals a little, other particles more."""
    amplitude = np.where(crystals.phase == AMORPHOUS, ROUND_OFF, ROUGH) * crystals.width_nm
    wave = 2.0 * math.pi * ROUGH_WAVES / crystals.length_nm
    made: NDArray[np.float32] | None = None
    for axis, part in ((0, 0.5698402910), (1, 0.2916540917)):
        phase = (np.mod(crystals.number * part, 1.0) * 2.0 * math.pi)[:, None]
        along = (wave * to_grid[axis, 0])[:, None] * x + phase
        down = (wave * to_grid[axis, 1])[:, None] * y
        rippled = np.sin(along).astype(np.float32)[:, None, :] * np.cos(down).astype(np.float32)[:, :, None]
        rippled += np.cos(along).astype(np.float32)[:, None, :] * np.sin(down).astype(np.float32)[:, :, None]
        made = rippled * amplitude.astype(np.float32)[:, None, None] if made is None else made * rippled
    return np.asarray(made)


def _wedge(
    crystals: CrystalsOfGrid,
    is_thin: NDArray[np.bool_],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    to_grid: Array,
) -> NDArray[np.float32]:
    """(n, rows, columns) how thick crystals are over their mean: from one end to the other a little more."""
    slope = np.where(is_thin, 0.0, WEDGE * (2.0 * np.mod(crystals.number * 0.8191725134, 1.0) - 1.0))
    slope /= crystals.length_nm / 2.0
    cos, sin = np.cos(crystals.turned_rad) * slope, np.sin(crystals.turned_rad) * slope
    along = (cos * to_grid[0, 0] + sin * to_grid[1, 0]).astype(np.float32)[:, None] * x
    down = (cos * to_grid[0, 1] + sin * to_grid[1, 1]).astype(np.float32)[:, None] * y
    return np.asarray(np.maximum(np.float32(1.0) + along[:, None, :] + down[:, :, None], np.float32(0.3)))


def _contours(
    crystals: CrystalsOfGrid,
    is_thin: NDArray[np.bool_],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    to_grid: Array,
) -> NDArray[np.float32]:
    """(n, rows, columns) by which bend contours make plates darker: one band across each, its place its number's."""
    turn = np.mod(crystals.number * 0.6180339887, 1.0) * math.pi
    offset = (np.mod(crystals.number * 0.7548776662, 1.0) - 0.5) * crystals.width_nm
    cos, sin = np.cos(turn), np.sin(turn)
    along = (cos * to_grid[0, 0] + sin * to_grid[1, 0]).astype(np.float32)[:, None] * x
    down = (cos * to_grid[0, 1] + sin * to_grid[1, 1]).astype(np.float32)[:, None] * y
    away = (along - offset.astype(np.float32)[:, None])[:, None, :] + down[:, :, None]
    band = np.exp(-np.square(away / np.float32(BEND_NM)))
    return np.asarray(1.0 + np.float32(BEND_DARK) * band * is_thin.astype(np.float32)[:, None, None], np.float32)
