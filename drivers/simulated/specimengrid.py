"""The specimen of the simulated microscope as images show it: a grid with bars, a carbon film of uneven
density, crystals and dirt.

Procedural: what lies at a place follows from the seed and the place alone, so that the same place looks the same
whenever it is looked at, whatever was looked at before. Crystals lie in tiles, each with a generator of its own; the
film is a texture that repeats itself after more than a field of view. Pure functions of arrays.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TILE_NM = 8000.0
MOST_TILES = 4096
FILM = 0.85
"""Share of the electrons that an even film lets through."""
BAR = 1e-3
TEXTURES = ((41_300.0, 0.7), (6_700.0, 1.0))
"""Of the film: after how many nm each repeats itself, and its weight. The lengths have no common multiple near."""
TEXTURE_PX = 512
ROUGHEST_PX, FINEST_PX = 60.0, 4.0
"""Wavelengths in the texture."""
CRYSTAL_NM, CRYSTAL_SPREAD = 500.0, 0.55
CRYSTAL_LIMITS_NM = (200.0, 3000.0)
CRYSTAL_TRANSMISSION = (0.25, 0.9)
CLEAR_NM, SMALL_NM = 2000.0, 700.0
"""Near the middle of the window where a run begins no crystal is larger: an operator looks for such a place."""
DIRT_NM = (40.0, 200.0)
DIRT_TRANSMISSION = (0.6, 0.92)
DIRT_UM2 = 1.5
LEAST_PX = 0.8
"""What is smaller in the image is not drawn."""
PIXEL_SIGMA = 0.3
"""Of a Gaussian that averages about as a pixel does, in its sides."""
SMALL_PX = (4, 8, 16)
"""Particles that reach no farther than this are drawn all at once."""


class SpecimenGrid:
    """The grid of a seed, in nm from the middle of one of its windows along the axes of the stage at tilt 0.

    pitch_nm, bar_nm: from bar to bar, and how wide they are. crystals_um2: number per um^2. unevenness: standard
    deviation of what the film lets through, as a share.
    """

    def __init__(self, seed: int, pitch_nm: float, bar_nm: float, crystals_um2: float, unevenness: float) -> None:
        self._seed = seed
        self._pitch_nm, self._bar_nm = pitch_nm, bar_nm
        self._crystals_um2, self._unevenness = crystals_um2, unevenness
        self._tiles: dict[tuple[int, int], tuple[Array, Array]] = {}

    def transmission(self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], tilt_deg: float = 0.0) -> Array:
        """(rows, columns) share of the electrons that reaches each pixel.

        to_grid: (2, 2) nm on the grid per pixel along fast and along slow. origin_nm: (2,) of the picture's corner.
        tilt_deg: changes nothing, all is flat.
        """
        per_px = math.sqrt(abs(float(np.linalg.det(to_grid))))
        corners = origin_nm + np.array([(0, 0), (shape[1], 0), (0, shape[0]), (shape[1], shape[0])]) @ to_grid.T
        low, high = corners.min(axis=0), corners.max(axis=0)
        picture = self._film(to_grid, origin_nm, shape, per_px)
        self._draw_particles(picture, to_grid, origin_nm, per_px, low, high)
        self._draw_bars(picture, to_grid, origin_nm, per_px, low, high)
        return picture

    def _film(self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], per_px: float) -> Array:
        film = np.ones(shape, np.float32)
        for number, (period_nm, weight) in enumerate(TEXTURES):
            sample_nm = period_nm / TEXTURE_PX
            if self._unevenness <= 0:
                continue
            corner, step = np.mod(origin_nm, period_nm) / sample_nm, to_grid / sample_nm
            u, v = places(step, corner, shape)
            texture = texture_of(self._seed, number, max(0, round(math.log2(max(per_px / sample_nm, 1.0)))))
            film += np.float32(self._unevenness * weight) * between(texture, u, v)
        return np.clip(FILM * film.astype(np.float64), 0.05, 1.0)

    def _draw_particles(
        self, picture: Array, to_grid: Array, origin_nm: Array, per_px: float, low: Array, high: Array
    ) -> None:
        if self._crystals_um2 <= 0 or CRYSTAL_LIMITS_NM[1] < 5.0 * per_px:
            return
        first, last = (
            np.floor((corner + side * CRYSTAL_LIMITS_NM[1]) / TILE_NM) for corner, side in ((low, -1), (high, 1))
        )
        tiles = [
            self._tile(i, j)
            for i in range(int(first[0]), int(last[0]) + 1)
            for j in range(int(first[1]), int(last[1]) + 1)
        ]
        to_px = np.linalg.inv(to_grid)
        stretch = float(np.linalg.norm(to_px, 2))
        for kind in range(2 if DIRT_NM[1] > 2.0 * LEAST_PX * per_px else 1):
            particles = np.concatenate([tile[kind] for tile in tiles], axis=1)
            at_px = to_px @ (particles[:2] - origin_nm[:, None])
            half_px = np.ceil(1.5 * particles[2] * stretch) + 1.0
            seen = (2.0 * particles[2] > LEAST_PX * per_px) & np.all(at_px > -half_px, axis=0)
            seen &= (at_px[0] < picture.shape[1] + half_px) & (at_px[1] < picture.shape[0] + half_px)
            for reach in SMALL_PX:
                small = seen & (half_px <= reach)
                if small.any():
                    _stamp_small(picture, particles[:, small], at_px[:, small], reach, to_grid, per_px)
                seen &= ~small
            for k in np.flatnonzero(seen):
                _stamp(picture, particles[:, k], at_px[:, k], half_px[k], to_grid, per_px)

    def _tile(self, i: int, j: int) -> tuple[Array, Array]:
        """Crystals and dirt of a tile, as `_scattered` tells them."""
        if (i, j) not in self._tiles:
            if len(self._tiles) >= MOST_TILES:
                self._tiles.clear()
            rng = np.random.Generator(np.random.PCG64([self._seed, i & 0xFFFFFFFF, j & 0xFFFFFFFF]))
            area_um2 = (TILE_NM / 1000.0) ** 2
            crystals, dirt = rng.poisson(self._crystals_um2 * area_um2), rng.poisson(DIRT_UM2 * area_um2)
            edges = np.clip(CRYSTAL_NM * np.exp(CRYSTAL_SPREAD * rng.standard_normal(crystals)), *CRYSTAL_LIMITS_NM)
            scattered = _scattered(rng, (i, j), edges, (0.3, 1.0), CRYSTAL_TRANSMISSION)
            near = np.hypot(scattered[0], scattered[1]) < CLEAR_NM + scattered[2]
            self._tiles[i, j] = (
                scattered[:, ~near | (edges < SMALL_NM)],
                _scattered(rng, (i, j), rng.uniform(*DIRT_NM, dirt), (0.6, 1.0), DIRT_TRANSMISSION),
            )
        return self._tiles[i, j]

    def _draw_bars(
        self, picture: Array, to_grid: Array, origin_nm: Array, per_px: float, low: Array, high: Array
    ) -> None:
        draw_bars(picture, to_grid, origin_nm, per_px, low, high, self._pitch_nm, self._bar_nm)


def draw_bars(
    picture: Array,
    to_grid: Array,
    origin_nm: Array,
    per_px: float,
    low: Array,
    high: Array,
    pitch_nm: float,
    bar_nm: float,
    rise_nm: float = 0.0,
) -> None:
    """Multiply bars into a picture that lies within low and high (2,), where any of them is in view. rise_nm: their
    height times the tangent of the tilt, by which those above a window, or below where it is less than 0, come nearer.
    """
    if bar_nm <= 0:
        return
    window = (pitch_nm - bar_nm) / 2.0
    for axis in (0, 1):
        middle = pitch_nm * round(float(low[axis] + high[axis]) / 2.0 / pitch_nm)
        first, last = window_within(window, rise_nm if axis == 1 else 0.0)
        if middle + first < low[axis] - per_px and high[axis] + per_px < middle + last:
            continue
        place = places(to_grid, origin_nm, picture.shape)[axis]
        off = place - pitch_nm * np.rint(place / pitch_nm)  # from the middle of a window
        picture *= np.maximum(np.clip(np.minimum(off - first, last - off) / per_px + 0.5, 0.0, 1.0), BAR)


def window_within(half_nm: float, rise_nm: float) -> tuple[float, float]:
    """From where to where a window lets light through, from its middle; rise_nm: as of `draw_bars`."""
    return -half_nm + max(0.0, -rise_nm), half_nm - max(0.0, rise_nm)


def places(step: Array, corner: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """(rows, columns) where the middle of each pixel is, along both axes of the grid."""
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    u, v = (corner[k] + step[k, 0] * columns[None, :] + step[k, 1] * rows[:, None] for k in (0, 1))
    return u, v


def between(texture: NDArray[np.float32], u: Array, v: Array) -> NDArray[np.float32]:
    """Values between the samples of a square texture that joins on to itself, with a power of 2 of samples a side; u
    along its rows, v across them.
    """
    mask, bits = len(texture) - 1, len(texture).bit_length() - 1
    left, top = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    along, down = (u - left).astype(np.float32), (v - top).astype(np.float32)
    right, bottom = (left + 1) & mask, ((top + 1) & mask) << bits
    left, top = left & mask, (top & mask) << bits
    samples = texture.ravel()
    upper, lower = samples[top + left], samples[bottom + left]
    upper += along * (samples[top + right] - upper)
    lower += along * (samples[bottom + right] - lower)
    return np.asarray(upper + down * (lower - upper))


def _scattered(
    rng: np.random.Generator,
    tile: tuple[int, int],
    edges: Array,
    aspects: tuple[float, float],
    transmissions: tuple[float, float],
) -> Array:
    """Particles with these longest edges anywhere in a tile, (6, n): u and v of their middles, half their edges, how
    far they are turned, what they let through.
    """
    number = len(edges)
    u, v = rng.uniform(0.0, TILE_NM, (2, number)) + TILE_NM * np.array(tile)[:, None]
    half_v = edges / 2.0 * rng.uniform(*aspects, number)
    return np.array([u, v, edges / 2.0, half_v, rng.uniform(0.0, math.pi, number), rng.uniform(*transmissions, number)])


def _stamp_small(picture: Array, particles: Array, at_px: Array, reach: int, to_grid: Array, per_px: float) -> None:
    """Multiply particles that reach no farther than so many pixels into the picture, all at once."""
    rows, columns = picture.shape
    first = np.floor(at_px).astype(np.int64) - reach
    index = first[:, :, None] + np.arange(2 * reach + 1)
    x, y = index + 0.5 - at_px[:, :, None]
    passed = _passed(particles[2:, :, None, None], x[:, None, :], y[:, :, None], to_grid, per_px)
    column, row = index
    place = row[:, :, None] * columns + column[:, None, :]
    there = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None, :]
    logs = np.bincount(place[there], np.log(passed[there]), rows * columns)
    picture *= np.exp(logs).reshape(rows, columns)


def _stamp(picture: Array, particle: Array, at_px: Array, half_px: float, to_grid: Array, per_px: float) -> None:
    """Multiply one particle into the picture."""
    left, right = max(0, math.floor(at_px[0] - half_px)), min(picture.shape[1], math.ceil(at_px[0] + half_px))
    top, bottom = max(0, math.floor(at_px[1] - half_px)), min(picture.shape[0], math.ceil(at_px[1] + half_px))
    if left < right and top < bottom:
        x, y = np.arange(left, right) + (0.5 - at_px[0]), np.arange(top, bottom) + (0.5 - at_px[1])
        picture[top:bottom, left:right] *= _passed(particle[2:], x[None, :], y[:, None], to_grid, per_px)


def _passed(particle: Array, x: Array, y: Array, to_grid: Array, per_px: float) -> Array:
    """What a particle lets through at pixels so far from its middle: a rectangle with edges as soft as a pixel."""
    half_u, half_v, turned, transmission = particle
    cos, sin = np.cos(turned), np.sin(turned)
    (a, b), (c, d) = to_grid
    inside = np.clip((half_u - np.abs((cos * a + sin * c) * x + (cos * b + sin * d) * y)) / per_px + 0.5, 0.0, 1.0)
    inside *= np.clip((half_v - np.abs((cos * c - sin * a) * x + (cos * d - sin * b) * y)) / per_px + 0.5, 0.0, 1.0)
    return np.asarray(1.0 - (1.0 - transmission) * inside)


@cache
def texture_of(seed: int, number: int, level: int) -> NDArray[np.float32]:
    """(512, 512) waves from 4 to 60 samples long, averaged over pixels of 2^level samples."""
    rng = np.random.Generator(np.random.PCG64([seed, number, 77]))
    return waves(rng, TEXTURE_PX, ROUGHEST_PX, FINEST_PX, PIXEL_SIGMA * 2**level if level else 0.0)


def waves(
    rng: np.random.Generator, size: int, longest_px: float, shortest_px: float, averaged_px: float = 0.0
) -> NDArray[np.float32]:
    """(size, size) of mean 0 that joins on to itself: waves of these lengths in samples, with standard deviation 1
    before they are averaged by a Gaussian of this width.
    """
    wave = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None, :] ** 2
    shape = np.exp(-0.5 * wave * shortest_px**2) * np.sqrt(wave) / (wave + longest_px**-2)
    made = np.fft.rfft2(rng.standard_normal((size, size))) * shape
    whole = np.fft.irfft2(made).std()
    seen = np.exp(-2.0 * (np.pi * averaged_px) ** 2 * wave) if averaged_px > 0.0 else 1.0
    return np.asarray(np.fft.irfft2(made * seen) / whole, np.float32)
