"""A simulated grid with thousands of crystals: what images show of it, and which crystals lie where.

One object for images, diffraction patterns and their truth. Places are nm on the grid along the axes of the stage at
tilt 0, as in `specimengrid`: what is at (x, y) is on the axis of the column when the stage stands at (-x, -y). The same
place looks the same whenever it is looked at. May be sent to another process.
"""

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.gridcrystals import TILE_NM, CrystalsOfGrid, GridCrystals, joined
from drivers.simulated.griddrawing import draw_crystals
from drivers.simulated.gridfilm import GridFilm, picture_places, sampled
from drivers.simulated.gridsettings import LACEY, GridSettings
from drivers.simulated.specimengrid import BAR, TEXTURE_PX, TEXTURES, draw_bars, texture_of, window_within

Array = NDArray[np.float64]

MOST_TILES = 4096
FILM, STRAND = 0.9, 0.8
"""Share of the electrons that a film lets through; and that the strands of a net do, which are thicker."""
RIM_NM, RIM = 45.0, 0.35
"""At the edge of a hole carbon is thicker: how wide that is, and how much more it absorbs."""
SPECK_NM = (20.0, 65.0)
SPECK_TRANSMISSION = (0.6, 0.92)


class CrystalGrid:
    """The grid that these settings draw. Raises ValueError for settings that no grid has (`GridSettings.cannot_be`)."""

    def __init__(self, settings: GridSettings) -> None:
        if (why := settings.cannot_be) is not None:
            raise ValueError(why)
        self.settings = settings
        self._film = GridFilm(settings)
        self._drawn = GridCrystals(settings, self._film)
        self._tiles: OrderedDict[tuple[int, int], tuple[CrystalsOfGrid, Array]] = OrderedDict()

    def crystals_in(self, low_nm: Array, high_nm: Array) -> CrystalsOfGrid:
        """All particles whose middle is within low_nm (2,) and high_nm (2,), in the order of their numbers."""
        near = self._near(np.asarray(low_nm, np.float64), np.asarray(high_nm, np.float64), 0.0)
        within = (near.x_nm >= low_nm[0]) & (near.x_nm < high_nm[0])
        within &= (near.y_nm >= low_nm[1]) & (near.y_nm < high_nm[1])
        found = near.chosen(within)
        return found.chosen(np.argsort(found.number, kind="stable"))

    def crystals_touching(self, low_nm: Array, high_nm: Array) -> CrystalsOfGrid:
        """All particles of which some part may be within low_nm and high_nm, in the order of their numbers."""
        near = self._near(np.asarray(low_nm, np.float64), np.asarray(high_nm, np.float64), 1.0)
        half = near.length_nm / 2.0 + near.width_nm / 2.0
        touching = (near.x_nm + half >= low_nm[0]) & (near.x_nm - half < high_nm[0])
        touching &= (near.y_nm + half >= low_nm[1]) & (near.y_nm - half < high_nm[1])
        found = near.chosen(touching)
        return found.chosen(np.argsort(found.number, kind="stable"))

    def film_inside_nm(self, x_nm: Array, y_nm: Array) -> Array:
        """How far places (n,) are inside of the film; below 0: so far from it, in a hole."""
        return self._film.inside_nm(np.asarray(x_nm, np.float64), np.asarray(y_nm, np.float64))

    def is_open(self, x_nm: Array, y_nm: Array, tilt_deg: float = 0.0) -> NDArray[np.bool_]:
        """Whether places (n,) are behind no bar, seen along the beam."""
        pitch_nm, window_nm = self.settings.pitch_nm, (self.settings.pitch_nm - self.settings.bar_nm) / 2.0
        open_to = np.ones(np.shape(x_nm), np.bool_)
        for place, rise_nm in ((np.asarray(x_nm), 0.0), (np.asarray(y_nm), self._rise_nm(tilt_deg))):
            first, last = window_within(window_nm, rise_nm)
            off = place - pitch_nm * np.rint(place / pitch_nm)
            open_to &= (off > first) & (off < last)
        return open_to

    def _rise_nm(self, tilt_deg: float) -> float:
        """By which bars along the tilt axis come nearer; see `draw_bars`."""
        return self.settings.bar_height_nm * math.tan(math.radians(tilt_deg)) if self.settings.bar_nm > 0.0 else 0.0

    def transmission(self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], tilt_deg: float = 0.0) -> Array:
        """(rows, columns) share of the electrons that reaches each pixel, with the shading of an image.

        to_grid: (2, 2) nm on the grid per pixel along fast and along slow. origin_nm: (2,) of the picture's corner.
        tilt_deg: of the grid, by which it is thicker along the beam, and bars come in; to_grid has the foreshortening.
        """
        return self.let_through(to_grid, origin_nm, shape, tilt_deg) * self.shading(shape)

    def let_through(self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], tilt_deg: float = 0.0) -> Array:
        """The same without shading: what the specimen itself lets through."""
        per_px = math.sqrt(abs(float(np.linalg.det(to_grid))))
        corners = origin_nm + np.array([(0, 0), (shape[1], 0), (0, shape[0]), (shape[1], shape[0])]) @ to_grid.T
        low, high = corners.min(axis=0), corners.max(axis=0)
        absorbed = self._carbon(to_grid, origin_nm, shape, per_px, low, high)
        draw_crystals(absorbed, self._near(low, high, 1.0), to_grid, origin_nm, per_px)
        absorbed /= np.float32(max(math.cos(math.radians(tilt_deg)), 0.05))
        picture = np.exp(-absorbed.astype(np.float64))
        bars = self.settings.pitch_nm, self.settings.bar_nm, self._rise_nm(tilt_deg)
        draw_bars(picture, to_grid, origin_nm, per_px, low, high, *bars)
        return picture

    def shading(self, shape: tuple[int, int]) -> Array:
        """(rows, columns) how bright a picture without a specimen is, its middle 1: the same wherever the stage is."""
        settings = self.settings
        y, x = (np.arange(size) + 0.5 for size in shape)
        x, y = 2.0 * x / shape[1] - 1.0, 2.0 * y / shape[0] - 1.0
        rng = np.random.Generator(np.random.PCG64([settings.seed, 14]))
        towards, bowed = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(-1.0, 1.0)
        dark = settings.vignetting / 2.0 * (x[None, :] ** 2 + y[:, None] ** 2)
        slope = 0.5 * settings.shading * (math.cos(towards) * x[None, :] + math.sin(towards) * y[:, None])
        return np.asarray((1.0 - dark) * (1.0 + slope + 0.25 * settings.shading * bowed * x[None, :] * y[:, None]))

    def _carbon(
        self, to_grid: Array, origin_nm: Array, shape: tuple[int, int], per_px: float, low: Array, high: Array
    ) -> NDArray[np.float32]:
        """What film and specks absorb: minus the logarithm of what they let through."""
        settings = self.settings
        absorbed = np.full(shape, -math.log(STRAND if settings.film == LACEY else FILM), np.float32)
        u, v = picture_places(to_grid, origin_nm, shape)
        if settings.unevenness > 0.0:
            for number, (period_nm, weight) in enumerate(TEXTURES):
                sample_nm = period_nm / TEXTURE_PX
                texture = texture_of(settings.seed, number, max(0, round(math.log2(max(per_px / sample_nm, 1.0)))))
                absorbed += np.float32(settings.unevenness * weight) * sampled(texture, u / sample_nm, v / sample_nm)
            absorbed = np.maximum(absorbed, 0.01)
        draw_specks(absorbed, self._specks_near(low, high), to_grid, origin_nm, per_px)
        if not self._film.is_whole:
            inside = self._film.at_samples(u, v, per_px, low - 2.0 * per_px, high + 2.0 * per_px)
            if per_px < RIM_NM:
                absorbed *= 1.0 + np.float32(RIM) * np.exp(-np.square(inside / np.float32(RIM_NM)))
            absorbed *= np.clip(inside / np.float32(per_px) + np.float32(0.5), 0.0, 1.0)
        return np.asarray(absorbed, np.float32)

    def _near(self, low: Array, high: Array, reaching: float) -> CrystalsOfGrid:
        """Particles of all tiles of which one may have its middle (reaching: or any part) within low and high."""
        margin = self._drawn.reach_nm
        first, last = (np.floor((corner + side * margin) / TILE_NM) for corner, side in ((low, -1), (high, 1)))
        tiles = [
            self._tile(i, j)[0]
            for i in range(int(first[0]), int(last[0]) + 1)
            for j in range(int(first[1]), int(last[1]) + 1)
        ]
        return joined(tiles)

    def _tile(self, i: int, j: int) -> tuple[CrystalsOfGrid, Array]:
        """Particles of a tile, and its specks: (3, n) u, v and diameter in nm."""
        key = i, j
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        rng = np.random.Generator(np.random.PCG64([self.settings.seed, 15, i & 0xFFFFFFFF, j & 0xFFFFFFFF]))
        number = rng.poisson(self.settings.dirt_um2 * (TILE_NM / 1000.0) ** 2)
        middles = rng.uniform(0.0, TILE_NM, (2, number)) + TILE_NM * np.array([[i], [j]])
        specks = np.concatenate(
            [middles, rng.uniform(*SPECK_NM, (1, number)), -np.log(rng.uniform(*SPECK_TRANSMISSION, (1, number)))]
        )
        self._tiles[key] = self._drawn.of_tile(i, j), specks
        if len(self._tiles) > MOST_TILES:
            self._tiles.popitem(last=False)
        return self._tiles[key]

    def _specks_near(self, low: Array, high: Array) -> Array:
        first, last = np.floor(low / TILE_NM), np.floor(high / TILE_NM)
        return np.concatenate(
            [
                self._tile(i, j)[1]
                for i in range(int(first[0]), int(last[0]) + 1)
                for j in range(int(first[1]), int(last[1]) + 1)
            ],
            axis=1,
        )


def draw_specks(absorbed: NDArray[np.float32], specks: Array, to_grid: Array, origin_nm: Array, per_px: float) -> None:
    """Add round specks, (4, n) u, v, diameter in nm and what they absorb, to what a film absorbs."""
    seen = specks[:, specks[2] > per_px]
    at_px = np.linalg.inv(to_grid) @ (seen[:2] - origin_nm[:, None])
    reach = math.ceil(0.6 * SPECK_NM[1] / per_px) + 1
    rows, columns = absorbed.shape
    for (x, y), diameter, dark in zip(at_px.T.tolist(), seen[2].tolist(), seen[3].tolist(), strict=True):
        left, right = max(0, math.floor(x) - reach), min(columns, math.floor(x) + reach + 1)
        top, bottom = max(0, math.floor(y) - reach), min(rows, math.floor(y) + reach + 1)
        if left < right and top < bottom:
            away = per_px * np.hypot(np.arange(left, right) + 0.5 - x, (np.arange(top, bottom) + 0.5 - y)[:, None])
            absorbed[top:bottom, left:right] += dark * np.clip((diameter / 2.0 - away) / per_px + 0.5, 0.0, 1.0)


BEHIND_BAR = BAR
"""Share of the electrons behind a bar."""
