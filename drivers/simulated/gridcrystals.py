"""The particles of a simulated grid, drawn tile by tile: where they lie, their outlines, phases and orientations.

What lies in a tile follows from the seed and the tile alone. Particles that would fall through a hole cling to the
nearest edge of the film, as they do when a drop dries; there are none on a film that is torn away.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.gridfilm import GridFilm, Ripple
from drivers.simulated.gridsettings import BLOCKS, FLAT, LARGEST_NM, PLATES, RODS, GridSettings

Array = NDArray[np.float64]

TILE_NM = 8000.0
AMORPHOUS = -1
CORNERS = 8
MOST_PER_TILE = 1 << 12
SMALLEST = 0.25
"""No crystal is smaller than so many times the median."""
IN_A_HEAP = 4.0
"""Particles in a heap, on the mean."""
HEAP_NM, HEAP_REACH_NM = 600.0, 1800.0
"""How far they lie from its middle (standard deviation of each axis), and at most."""
CLINGS_NM = 60.0
"""So deep inside of the carbon lies the middle of a particle that fell into a hole and clings to its edge."""
CLINGS_FROM = 0.7
"""From no farther away it gets there, over the width of a hole."""
PATCH_NM = (25_000.0, 150_000.0)
ASPECTS = {PLATES: (0.45, 1.0), RODS: (0.1, 0.3), BLOCKS: (0.5, 1.0)}
THICKNESSES_NM = {PLATES: (10.0, 50.0), RODS: (40.0, 150.0), BLOCKS: (60.0, 350.0)}
CUTS = {PLATES: (0.05, 0.5), RODS: (0.02, 0.2), BLOCKS: (0.05, 0.4)}
"""How much of half an edge is cut off at each corner."""
SHEAR = 0.25
CONTRAST_SPREAD = 0.25
"""Standard deviation of the logarithm of how dark crystals of one thickness are: some lie near a zone axis."""
AMORPHOUS_PATH = 1.3
"""An amorphous particle scatters less to the outside: it lets through 1/e when so many times as thick."""


@dataclass(frozen=True, slots=True, eq=False)
class CrystalsOfGrid:
    """Particles, n of them. number: of each, for ever. x_nm, y_nm: of the middle, on the grid. length_nm, width_nm:
    edges of the rectangle around it, the first `turned_rad` from the grid's x towards its y; thickness_nm along the
    beam. phase: its number from 0, -1 of an amorphous particle. orientation: (n, 3, 3) of its lattice at tilt 0, as
    that of `Crystal`. transmission: of its thickest part in an image. outline_nm: (n, 8, 2) corners of a convex
    polygon, from the middle, along x and y of the grid, counterclockwise.
    """

    number: NDArray[np.int64]
    x_nm: Array
    y_nm: Array
    length_nm: Array
    width_nm: Array
    thickness_nm: Array
    turned_rad: Array
    phase: NDArray[np.int64]
    orientation: Array
    transmission: Array
    outline_nm: Array

    def __len__(self) -> int:
        return len(self.number)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.integer]) -> "CrystalsOfGrid":
        """Some of them: a mask or indices."""
        return CrystalsOfGrid(*(getattr(self, field.name)[which] for field in fields(self)))

    @property
    def sides(self) -> tuple[Array, Array]:
        """Of the outlines: (n, 8, 2) normals towards the inside, and (n, 8) distances of the sides from the middle."""
        along = np.roll(self.outline_nm, -1, axis=1) - self.outline_nm
        length = np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-9)
        inward = np.stack([-along[..., 1], along[..., 0]], axis=-1) / length[..., None]
        return inward, -np.sum(inward * self.outline_nm, axis=-1)


def joined(parts: list[CrystalsOfGrid]) -> CrystalsOfGrid:
    """All of several; of at least one."""
    return CrystalsOfGrid(
        *(np.concatenate([getattr(each, field.name) for each in parts]) for field in fields(parts[0]))
    )


class GridCrystals:
    """Draws the particles of a grid. film: on which they lie."""

    def __init__(self, settings: GridSettings, film: GridFilm) -> None:
        self._settings, self._film = settings, film
        rng = np.random.Generator(np.random.PCG64([settings.seed, 12]))
        self._patches = Ripple(rng, *PATCH_NM, waves=10)

    @property
    def reach_nm(self) -> float:
        """No particle of a tile lies, with any of its parts, farther from the tile."""
        return HEAP_REACH_NM + CLINGS_FROM * self._settings.hole_nm + 0.75 * self._largest_nm

    @property
    def _largest_nm(self) -> float:
        return min(LARGEST_NM, self._settings.size_nm * math.exp(3.0 * self._settings.size_spread))

    def of_tile(self, i: int, j: int) -> CrystalsOfGrid:
        """Those of tile (i, j), which covers (i, j) * TILE_NM up to the next."""
        settings = self._settings
        rng = np.random.Generator(np.random.PCG64([settings.seed, 13, i & 0xFFFFFFFF, j & 0xFFFFFFFF]))
        x, y = self._places(rng, i, j)
        number = len(x)
        ids = ((i + (1 << 19)) << 32) + ((j + (1 << 19)) << 12) + np.arange(number, dtype=np.int64)
        whose = rng.random(number)
        second, third = whose < settings.second_share, whose < settings.second_share + settings.third_share
        phase = np.where(second, 1, np.where(third, 2, 0)).astype(np.int64)
        phase[rng.random(number) < settings.amorphous] = AMORPHOUS
        is_amorphous = phase == AMORPHOUS
        length = settings.size_nm * np.exp(settings.size_spread * rng.standard_normal(number))
        length = np.clip(length, SMALLEST * settings.size_nm, self._largest_nm)
        aspect = np.where(is_amorphous, rng.uniform(0.7, 1.0, number), rng.uniform(*ASPECTS[settings.shape], number))
        width = length * aspect
        thickness = self._thickness(rng, width, is_amorphous)
        turned = rng.uniform(-math.pi, math.pi, number)
        path = settings.path_nm * np.where(is_amorphous, AMORPHOUS_PATH, 1.0)
        darker = np.where(is_amorphous, 1.0, np.exp(CONTRAST_SPREAD * rng.standard_normal(number)))
        drawn = CrystalsOfGrid(
            *(ids, x, y, length, width, thickness, turned, phase),
            orientation=self._orientations(rng, turned),
            transmission=np.exp(-thickness / path * darker),
            outline_nm=self._outlines(rng, length, width, turned, is_amorphous),
        )
        return drawn.chosen(self._are_there(drawn))

    def _places(self, rng: np.random.Generator, i: int, j: int) -> tuple[Array, Array]:
        """Where the middles lie: alone or in heaps, and what fell into a hole at its edge."""
        settings = self._settings
        middle = TILE_NM * (np.array([i, j]) + 0.5)
        patch = float(self._patches.at(middle[0], middle[1]))
        crowding = math.exp(settings.patchiness * patch - 0.5 * settings.patchiness**2)
        expected = settings.crystals_um2 * (TILE_NM / 1000.0) ** 2 * crowding
        alone = rng.poisson(expected * (1.0 - settings.clustering))
        heaps = rng.poisson(expected * settings.clustering / IN_A_HEAP)
        in_heaps = 1 + rng.poisson(IN_A_HEAP - 1.0, heaps)
        places = rng.uniform(0.0, TILE_NM, (alone + heaps, 2)) + TILE_NM * np.array([i, j])
        around = np.clip(HEAP_NM * rng.standard_normal((int(in_heaps.sum()), 2)), -HEAP_REACH_NM, HEAP_REACH_NM)
        places = np.concatenate([places[:alone], np.repeat(places[alone:], in_heaps, axis=0) + around])[:MOST_PER_TILE]
        reach_nm = 0.5 * self._largest_nm + CLINGS_FROM * settings.hole_nm
        x, y = places[self._within_window(places.T, reach_nm)].T.copy()
        return self._clinging(x, y)

    def _clinging(self, x: Array, y: Array) -> tuple[Array, Array]:
        if self._film.is_whole or not len(x):
            return x, y
        most_nm, step_nm = CLINGS_FROM * self._settings.hole_nm, 20.0
        went = np.zeros(len(x))
        for _ in range(3):  # the distance is not exactly one, where strands meet
            every = np.concatenate([x, x + step_nm, x]), np.concatenate([y, y, y + step_nm])
            inside, beside, above = np.split(self._film.inside_nm(*every), 3)
            along_x, along_y = (beside - inside) / step_nm, (above - inside) / step_nm
            steep = np.maximum(np.hypot(along_x, along_y), 0.3)
            way = np.where(inside < 0.0, np.minimum(CLINGS_NM - inside, most_nm - went), 0.0)
            x, y, went = x + way * along_x / steep, y + way * along_y / steep, went + way
        return x, y

    def _are_there(self, drawn: CrystalsOfGrid) -> NDArray[np.bool_]:
        """Not those that lie on no film, nor those of which a bar hides all."""
        there = self._film.inside_nm(drawn.x_nm, drawn.y_nm) > -0.5 * drawn.width_nm
        there &= self._within_window(np.stack([drawn.x_nm, drawn.y_nm]), drawn.length_nm / 2.0)
        return np.asarray(there, np.bool_)

    def _within_window(self, places: Array, reach_nm: Array | float) -> NDArray[np.bool_]:
        """Which places (2, n) are in a window between bars, or no farther than this from one."""
        pitch_nm = self._settings.pitch_nm
        window_nm = (pitch_nm - self._settings.bar_nm) / 2.0
        away_nm = np.abs(places - pitch_nm * np.rint(places / pitch_nm))
        return np.asarray(np.all(away_nm < window_nm + reach_nm, axis=0) | (self._settings.bar_nm <= 0.0))

    def _thickness(self, rng: np.random.Generator, width: Array, is_amorphous: NDArray[np.bool_]) -> Array:
        settings = self._settings
        given = settings.thickness_nm != (0.0, 0.0)
        low, high = settings.thickness_nm if given else THICKNESSES_NM[settings.shape]
        thickness = np.exp(rng.uniform(math.log(low), math.log(high), len(width)))
        if not given and settings.shape != PLATES:  # what is small is thin as well
            thickness = np.minimum(thickness, 0.7 * width)
        return np.where(is_amorphous, np.minimum(0.5 * width, 250.0), thickness)

    def _orientations(self, rng: np.random.Generator, turned: Array) -> Array:
        """Uniform over all rotations; or c* along the beam, a along the longest edge, and so many degrees off that."""
        from scipy.spatial.transform import Rotation

        number = len(turned)
        deviates = rng.standard_normal((number, 4))
        if not number:
            return np.empty((0, 3, 3))
        if self._settings.lying != FLAT:
            return np.asarray(Rotation.from_quat(deviates).as_matrix())
        off = Rotation.from_rotvec(np.deg2rad(self._settings.spread_deg) * deviates[:, :2] @ np.eye(2, 3))
        upside = Rotation.from_rotvec(np.outer(np.where(deviates[:, 2] < 0.0, math.pi, 0.0), (1.0, 0.0, 0.0)))
        lying = Rotation.from_rotvec(np.outer(turned, (0.0, 0.0, 1.0)))
        return np.asarray((off * lying * upside).as_matrix())

    def _outlines(
        self,
        rng: np.random.Generator,
        length: Array,
        width: Array,
        turned: Array,
        is_amorphous: NDArray[np.bool_],
    ) -> Array:
        """(n, 8, 2) rectangles whose corners are cut off, a little oblique where they are crystals."""
        number = len(length)
        cuts = rng.uniform(*CUTS[self._settings.shape], (number, 4))
        cuts = np.where(is_amorphous[:, None], rng.uniform(0.5, 0.62, (number, 4)), cuts)
        shear = np.where(is_amorphous, 0.0, rng.uniform(-SHEAR, SHEAR, number) * width / length)
        u, v = np.empty((number, CORNERS)), np.empty((number, CORNERS))
        for corner, (side_u, side_v) in enumerate(((1, -1), (1, 1), (-1, 1), (-1, -1))):
            cut = cuts[:, corner]
            before, after = (side_u * np.ones(number), side_v * (1.0 - cut)), (side_u * (1.0 - cut), side_v + 0.0 * cut)
            if side_u * side_v < 0:
                before, after = after, before
            for place, (at_u, at_v) in ((2 * corner, before), (2 * corner + 1, after)):
                u[:, place], v[:, place] = at_u, at_v
        u, v = u * length[:, None] / 2.0, v * width[:, None] / 2.0
        u = u * (1.0 - np.abs(shear))[:, None] + v * (shear * length / width)[:, None]  # within the same rectangle
        cos, sin = np.cos(turned)[:, None], np.sin(turned)[:, None]
        return np.stack([cos * u - sin * v, sin * u + cos * v], axis=-1)
