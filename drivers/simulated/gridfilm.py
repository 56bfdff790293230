"""The carbon film of a simulated grid: continuous, with round holes, or a lacey net of strands; torn in some windows.

Procedural, as `specimengrid`: how far a place is inside of the carbon follows from the seed and the place alone. That
distance is computed on a lattice of the grid's own, tile by tile, and kept for the tiles seen last; pictures look it up
between the samples.
"""

import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from drivers.simulated.gridsettings import CONTINUOUS, HOLEY, GridSettings
from drivers.simulated.specimengrid import places

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Whole = NDArray[np.integer]

SAMPLE_NM, SAMPLES = 40.0, 160
"""Of the lattice at its finest level, and per side of a tile; each level is twice as coarse."""
SAMPLES_PER_PX = 1.75
"""A distance is smooth: so many pixels may be between two samples of it."""
MOST_TILES = 200
FAR_NM = 1e5
"""So far from a hole is a place on a film without any."""
NET_JITTER, HOLE_JITTER = 0.8, 0.3
"""How far the middle of a hole may lie from that of its cell, over what would bring it to the cell's edge: in a net,
and on a film with round holes, which do not touch each other.
"""
LEFT_OUT = 0.18
"""Share of the cells that have no hole of their own: the neighbours' are larger."""
ROUND = 0.09
"""Of the corners of holes in a net of strands, over the pitch of the holes."""
WARP, WAVES = 0.13, 5
"""How much strands are bent, over the pitch; and of how many waves."""
STRAND_SPREAD = 0.35
HOLE_SIZES = (0.55, 1.0)
"""Diameters of round holes, over hole_nm."""
TORN_WAVE_NM = 1500.0
NONE = np.float32(1e4)
"""So far away, in pitches, is a hole that is not there."""


def uniform(seed: int, i: Array | Whole, j: Array | Whole, kind: int) -> Array:
    """Numbers in [0, 1) that belong to places of whole numbers (any shape): SplitMix64 of seed, place and kind."""
    with np.errstate(over="ignore"):
        x = np.asarray(i).astype(np.int64).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x ^= np.asarray(j).astype(np.int64).astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        x += np.uint64((seed * 0xD6E8FEB86659FD93 + kind * 0xA0761D6478BD642F) & 0xFFFFFFFFFFFFFFFF)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def sampled(whole: NDArray[np.float32], u: Array, v: Array) -> NDArray[np.float32]:
    """Values between samples (rows along v): at u (n,) times v (m,) as (m, n), where a picture lies along the axes; or
    at u and v (m, n). Where an index is beyond the samples they begin anew.
    """
    if u.ndim == 2:
        return np.asarray(map_coordinates(whole, [v, u], order=1, mode="grid-wrap", prefilter=False))
    made = whole
    for place, axis in ((v, 0), (u, 1)):
        first = np.floor(place).astype(np.intp)
        share = (place - first).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        before, after = (np.take(made, index % whole.shape[axis], axis=axis) for index in (first, first + 1))
        after -= before
        after *= share
        after += before
        made = after
    return made


def picture_places(to_grid: Array, origin_nm: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Where the middles of a picture's pixels are, as `sampled` has them. Arguments: see `CrystalGrid.transmission`."""
    if to_grid[0, 1] == to_grid[1, 0] == 0.0:
        x, y = (np.arange(size) + 0.5 for size in shape[::-1])
        return origin_nm[0] + to_grid[0, 0] * x, origin_nm[1] + to_grid[1, 1] * y
    return places(to_grid, origin_nm, shape)


class Ripple:
    """A smooth function of the place, of mean 0 and standard deviation 1: a few waves of these lengths."""

    def __init__(self, rng: np.random.Generator, shortest_nm: float, longest_nm: float, waves: int = WAVES) -> None:
        length_nm = np.exp(rng.uniform(math.log(shortest_nm), math.log(longest_nm), waves))
        towards = rng.uniform(0.0, 2.0 * math.pi, waves)
        self._u, self._v = 2.0 * math.pi * np.array([np.cos(towards), np.sin(towards)]) / length_nm
        self._phase = rng.uniform(0.0, 2.0 * math.pi, waves)
        self._scale = math.sqrt(2.0 / waves)

    def at(self, u: Array, v: Array) -> Array:
        """Its value at places of any shape."""
        total = np.zeros(np.broadcast_shapes(np.shape(u), np.shape(v)))
        for along_u, along_v, phase in zip(self._u, self._v, self._phase, strict=True):
            total += np.sin(along_u * u + along_v * v + phase)
        return total * self._scale

    def on_lattice(self, u: Array, v: Array) -> Array:
        """(m, n) its value at u (n,) times v (m,): the same in a tenth of the time."""
        along, down = np.multiply.outer(u, self._u) + self._phase, np.multiply.outer(v, self._v)
        return np.asarray(self._scale * (np.cos(down) @ np.sin(along).T + np.sin(down) @ np.cos(along).T))


class GridFilm:
    """The film of a grid."""

    def __init__(self, settings: GridSettings) -> None:
        self._settings = settings
        self._pitch_nm = settings.hole_nm + settings.strand_nm * (2.0 if settings.film == HOLEY else 1.0)
        rng = np.random.Generator(np.random.PCG64([settings.seed, 11]))
        pitch = self._pitch_nm
        self._warp_u, self._warp_v = (Ripple(rng, 0.7 * pitch, 2.5 * pitch) for _ in range(2))
        self._strand = Ripple(rng, 0.5 * pitch, 2.0 * pitch)
        self._tear = Ripple(rng, TORN_WAVE_NM, 8.0 * TORN_WAVE_NM)
        self._tiles: OrderedDict[tuple[int, int, int], NDArray[np.float32]] = OrderedDict()

    @property
    def is_whole(self) -> bool:
        """Whether there is film everywhere."""
        return self._settings.film == CONTINUOUS and self._settings.torn <= 0.0

    def inside_nm(self, u: Array, v: Array) -> Array:
        """How far places (n,) are inside of the carbon; below 0: so far from it, in a hole."""
        return self._inside(u, v, lambda ripple: ripple.at(u, v))

    def _inside(self, u: Array, v: Array, rippled: Callable[[Ripple], Array]) -> Array:
        """rippled: values of a ripple at these places (n,)."""
        settings = self._settings
        inside = np.full(len(u), FAR_NM)
        if settings.film != CONTINUOUS and len(u):
            bent_u = u + WARP * self._pitch_nm * rippled(self._warp_u)
            bent_v = v + WARP * self._pitch_nm * rippled(self._warp_v)
            if settings.film == HOLEY:
                inside = self._holes(bent_u, bent_v)
            else:
                inside = self._net(bent_u, bent_v, rippled(self._strand))
        if settings.torn > 0.0 and np.any(self._is_torn(u, v)):
            inside = np.minimum(inside, self._torn(u, v, rippled(self._tear)))
        return inside

    def at_samples(self, u: Array, v: Array, per_px: float, low: Array, high: Array) -> NDArray[np.float32]:
        """The same for a picture, between the samples of the lattice. u, v: of its pixels, as `sampled` has them; low,
        high: (2,) all of them lie within; per_px: nm.
        """
        level = self._level(per_px)
        step_nm = SAMPLE_NM * 2**level
        first, last = (np.floor(corner / step_nm / SAMPLES).astype(int) for corner in (low, high + step_nm))
        whole = np.concatenate(
            [
                np.concatenate([self._tile(level, i, j) for i in range(first[0], last[0] + 1)], axis=1)
                for j in range(first[1], last[1] + 1)
            ]
        )
        return sampled(whole, u / step_nm - first[0] * SAMPLES, v / step_nm - first[1] * SAMPLES)

    def _level(self, per_px: float) -> int:
        """The coarsest lattice whose samples are not much farther apart than pixels, nor than strands that are seen."""
        coarsest_nm = SAMPLES_PER_PX * per_px
        if per_px < self._settings.strand_nm:
            coarsest_nm = min(coarsest_nm, 0.5 * self._settings.strand_nm)
        return max(0, math.floor(math.log2(max(coarsest_nm / SAMPLE_NM, 1.0)) + 1e-9))

    def _tile(self, level: int, i: int, j: int) -> NDArray[np.float32]:
        """(SAMPLES, SAMPLES), rows along v."""
        key = level, i, j
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        step_nm = SAMPLE_NM * 2**level
        u, v = (step_nm * (SAMPLES * start + np.arange(SAMPLES)) for start in (i, j))
        every_u, every_v = (each.ravel() for each in np.meshgrid(u, v))
        tile = self._inside(every_u, every_v, lambda ripple: ripple.on_lattice(u, v).ravel())
        self._tiles[key] = tile.reshape(SAMPLES, SAMPLES).astype(np.float32)
        if len(self._tiles) > MOST_TILES:
            self._tiles.popitem(last=False)
        return self._tiles[key]

    def _middles(self, u: Array, v: Array, reach: int, jitter: float) -> tuple[Single, Single, Single]:
        """Middles of the holes in the cells around places (n,), relative to these: (m, n) u and v, in units of the
        pitch, and how large each is, from 0 to 1; NaN where a cell has none.
        """
        i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
        first_i, first_j = int(i.min()) - reach, int(j.min()) - reach
        cell_i, cell_j = np.arange(first_i, int(i.max()) + reach + 1), np.arange(first_j, int(j.max()) + reach + 1)
        all_i, all_j = (each.ravel() for each in np.meshgrid(cell_i, cell_j))
        seed = self._settings.seed
        beside, above = (
            (0.5 + jitter * (uniform(seed, all_i, all_j, kind) - 0.5)).astype(np.float32) for kind in (1, 2)
        )
        size = np.where(uniform(seed, all_i, all_j, 3) < LEFT_OUT, np.nan, uniform(seed, all_i, all_j, 4))
        around = np.arange(-reach, reach + 1)
        along, down = (each.reshape(-1, 1) for each in np.meshgrid(around, around))
        cells = down * len(cell_i) + along + ((j - first_j) * len(cell_i) + (i - first_i))
        at_u = beside[cells] + (along - (u - i)).astype(np.float32)
        at_v = above[cells] + (down - (v - j)).astype(np.float32)
        return at_u, at_v, size.astype(np.float32)[cells]

    def _net(self, u: Array, v: Array, strand: Array) -> Array:
        """A net: carbon along the borders between the middles of the holes, thick where several meet."""
        pitch_nm = self._pitch_nm
        at_u, at_v, size = self._middles(u / pitch_nm, v / pitch_nm, 2, NET_JITTER)
        away2 = at_u * at_u + at_v * at_v
        away2[np.isnan(size)] = NONE
        nearest, columns = np.argmin(away2, axis=0), np.arange(len(u))
        near_u, near_v, near2 = (each[nearest, columns] for each in (at_u, at_v, away2))
        border = away2 - near2
        at_u -= near_u
        at_v -= near_v
        border /= 2.0 * np.sqrt(at_u * at_u + at_v * at_v) + np.float32(1e-6)  # to where two are equally far
        border[nearest, columns] = NONE
        border /= np.float32(-ROUND)
        smooth = -ROUND * np.log(np.sum(np.exp(border, out=border), axis=0) + 1e-30)
        half_nm = 0.5 * self._settings.strand_nm * np.exp(STRAND_SPREAD * strand)
        return np.asarray(half_nm - pitch_nm * np.minimum(smooth, 1.0))

    def _holes(self, u: Array, v: Array) -> Array:
        """Round holes of different sizes."""
        pitch_nm = self._pitch_nm
        at_u, at_v, size = self._middles(u / pitch_nm, v / pitch_nm, 1, HOLE_JITTER)
        least, most = (0.5 * self._settings.hole_nm / pitch_nm * share for share in HOLE_SIZES)
        radius = least + (most - least) * size
        inside = np.where(np.isnan(size), NONE, np.hypot(at_u, at_v) - radius)
        return np.asarray(pitch_nm * np.minimum(np.min(inside, axis=0), 1.0))

    def _is_torn(self, u: Array, v: Array) -> NDArray[np.bool_]:
        """Whether the film of the windows of places (n,) is torn."""
        pitch_nm = self._settings.pitch_nm
        return np.asarray(
            uniform(self._settings.seed, np.rint(u / pitch_nm), np.rint(v / pitch_nm), 5) < self._settings.torn
        )

    def _torn(self, u: Array, v: Array, tear: Array) -> Array:
        """A film that hangs from one side of its window, where it is torn."""
        pitch_nm = self._settings.pitch_nm
        i, j = np.rint(u / pitch_nm), np.rint(v / pitch_nm)
        seed = self._settings.seed
        towards, offset = 2.0 * math.pi * uniform(seed, i, j, 6), uniform(seed, i, j, 7) - 0.5
        along = np.cos(towards) * (u - pitch_nm * i) + np.sin(towards) * (v - pitch_nm * j)
        edge = along - 0.6 * offset * pitch_nm + 0.5 * TORN_WAVE_NM * tear
        return np.where(self._is_torn(u, v), edge, FAR_NM)
