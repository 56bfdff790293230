"""Which particles of a simulated grid the probe lights, and what it meets besides: film, hole or bar.

Cheap, for it is asked for every pattern: shares come from points spread evenly over the probe.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystalgrid import CrystalGrid
from drivers.simulated.gridcrystals import CrystalsOfGrid

Array = NDArray[np.float64]

POINTS = 500
"""Tell a share to about 1 % of the probe."""


@dataclass(frozen=True, slots=True, eq=False)
class Lit:
    """What a probe lights. crystals: those that it lights, (n,). of_probe: (n,) share of the probe that is on each;
    of_crystal: (n,) share of each that is lit. film: share of the probe that is on film; open: that no bar keeps.
    """

    crystals: CrystalsOfGrid
    of_probe: Array
    of_crystal: Array
    film: float
    open: float


@lru_cache(maxsize=1)
def _disc() -> Array:
    """(POINTS, 2) spread evenly over the unit disc: a sunflower's seeds."""
    k = np.arange(POINTS) + 0.5
    away, turned = np.sqrt(k / POINTS), np.pi * (1.0 + np.sqrt(5.0)) * k
    return np.stack([away * np.cos(turned), away * np.sin(turned)], axis=1)


def lit_by(grid: CrystalGrid, middle_nm: tuple[float, float], radius_nm: float, tilt_deg: float = 0.0) -> Lit:
    """What a probe around middle_nm lights, which is longer across the tilt axis (x) when the grid is tilted."""
    stretch = 1.0 / max(float(np.cos(np.deg2rad(tilt_deg))), 1e-2)
    points = np.array(middle_nm) + radius_nm * _disc() * np.array([1.0, stretch])
    reach = radius_nm * np.array([1.0, stretch])
    near = grid.crystals_touching(np.array(middle_nm) - reach, np.array(middle_nm) + reach)
    is_open = grid.is_open(points[:, 0], points[:, 1], tilt_deg)
    normals, distances = near.sides
    from_middle = points[None, :, :] - np.stack([near.x_nm, near.y_nm], axis=1)[:, None, :]
    inside = np.einsum("nsd,npd->nsp", normals, from_middle) + distances[:, :, None]
    on = np.all(inside > 0.0, axis=1) & is_open
    of_probe = on.mean(axis=1)
    area_nm2 = polygon_nm2(near.outline_nm)
    of_crystal = np.minimum(of_probe * np.pi * radius_nm**2 * stretch / area_nm2, 1.0)
    lit = of_probe > 0.0
    film = float(np.mean((grid.film_inside_nm(points[:, 0], points[:, 1]) > 0.0) & is_open))
    return Lit(near.chosen(lit), of_probe[lit], of_crystal[lit], film, float(is_open.mean()))


def polygon_nm2(outline_nm: Array) -> Array:
    """(n,) areas of polygons (n, k, 2)."""
    x, y = outline_nm[..., 0], outline_nm[..., 1]
    after_x, after_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    return np.asarray(np.maximum(np.abs(np.sum(x * after_y - after_x * y, axis=1)) / 2.0, 1.0))
