"""What becomes of the crystal in the beam: damage that grows with the dose, and a crystal that leaves the aperture.

Both are 1 unless `PictureSettings` ask for them. `pictures` weakens the diffraction by them; `truthfile` writes them.
"""

import numpy as np
from numpy.typing import NDArray

from drivers.simulated.crystal import Crystal
from drivers.simulated.picturesettings import PictureSettings

Array = NDArray[np.float64]

BRICK = (1.0, 0.6, 0.4)
"""Edges of the crystal, as shares of the longest, along the axes of its Cartesian frame."""
POINTS = 21
"""Of the brick along each edge, that tell how much of it is in the aperture."""


def undamaged(d_star: Array, dose_e_A2: float, settings: PictureSettings) -> Array:
    """(n,) share of the intensity that reflections of these |g| (1/A) have left after a dose: exp(-dose / D(g)), with
    D = half_dose_e_A2 / ln 2 * g^-half_dose_power.
    """
    if not settings.half_dose_e_A2:
        return np.ones_like(d_star)
    return np.asarray(np.exp(-np.log(2) * dose_e_A2 * d_star**settings.half_dose_power / settings.half_dose_e_A2))


def aside_nm(stage_deg: float, settings: PictureSettings) -> float:
    """How far the tilt has moved the crystal along y of the stage, across its axis."""
    return float(-settings.height_off_nm * np.sin(np.deg2rad(stage_deg)))


def lit_share(crystal: Crystal, stage_deg: float, axis_deg: float, settings: PictureSettings) -> float:
    """Share of the crystal in the aperture at a stage angle. axis_deg: of the tilt axis in the picture."""
    if not settings.height_off_nm:
        return 1.0
    edges = [np.linspace(-edge / 2, edge / 2, POINTS) for edge in BRICK]
    points = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = (crystal.size_nm * points @ crystal.orientation.T)[:, :2]
    across = np.array([-np.sin(np.deg2rad(axis_deg)), np.cos(np.deg2rad(axis_deg))])
    away = np.hypot(*(seen + aside_nm(stage_deg, settings) * across).T)
    return float((away <= settings.aperture_nm / 2).mean())
