"""The light of a defocused snapshot: the disc of the selected-area aperture, and what the specimen leaves of it.

Where no scene is asked for (`scenedrawing`) there is one brick of crystal in it, which keeps its outline at all tilts.
Pure functions.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from drivers.simulated.crystal import Crystal
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.snapshotscene import SnapshotScene

Array = NDArray[np.float64]


def disc_light(
    setting: PictureSettings,
    shown: Crystal | SnapshotScene,
    defocus_fraction: float,
    beam_px: tuple[float, float],
    crystal_nm: tuple[float, float],
    tilt_deg: float,
    beam_off_nm: tuple[float, float] = (0.0, 0.0),
) -> Array:
    """(rows, columns) share of the primary beam on each of equal pixels; 1 in all but for what the specimen keeps.

    shown: in the disc; arguments as for `PictureMaker.snapshot`. beam_px: (fast, slow) of the disc's middle.
    """
    rows, columns = setting.physical_px
    radius_px = abs(defocus_fraction) * setting.disc_radius_px
    reach_px = int(np.ceil(radius_px + 6.0 * setting.beam_sigma_px))
    # The box of physical pixels around the disc; it may stick out of the picture.
    top, left = int(beam_px[1]) - reach_px, int(beam_px[0]) - reach_px
    centres = np.arange(2 * reach_px + 1) + 0.5
    x_px, y_px = centres + left - beam_px[0], centres + top - beam_px[1]
    soft_px = setting.beam_sigma_px
    lit = ndtr((radius_px - np.hypot(x_px[None, :], y_px[:, None])) / soft_px)
    lit /= lit.sum()
    nm_per_px = setting.aperture_nm / (2.0 * radius_px) if radius_px > soft_px else np.inf
    if np.isfinite(nm_per_px):
        to_px, per_nm = np.reshape(setting.snapshot, (2, 2)), np.sign(defocus_fraction) / nm_per_px
        if setting.lit_nm:
            off_px = per_nm * (to_px @ beam_off_nm)
            away_px = np.hypot((x_px - off_px[0])[None, :], (y_px - off_px[1])[:, None])
            lit *= ndtr((setting.lit_nm / 2.0 / nm_per_px - away_px) / soft_px)
        if isinstance(shown, Crystal):
            lies_px = per_nm * (to_px @ crystal_nm)
            inside = np.ones_like(lit)
            for normal, distance_nm in silhouette(shown):
                seen = normal @ np.linalg.inv(to_px)
                along_px = seen[0] * (x_px - lies_px[0])[None, :] + seen[1] * (y_px - lies_px[1])[:, None]
                inside *= ndtr((distance_nm / nm_per_px - along_px) / soft_px)
            lit *= 1.0 - (1.0 - setting.transmission) * inside
        else:
            (a, b), (c, d) = np.linalg.inv(per_nm * to_px)
            x_nm = a * x_px[None, :] + b * y_px[:, None] - crystal_nm[0]
            y_nm = c * x_px[None, :] + d * y_px[:, None] - crystal_nm[1]
            lit *= gaussian_filter(shown.transmission(x_nm, y_nm, tilt_deg), soft_px, mode="nearest", truncate=3.0)
    light = np.zeros((rows, columns))
    down, along = (
        slice(max(top, 0), min(top + len(centres), rows)),
        slice(max(left, 0), min(left + len(centres), columns)),
    )
    if down.start < down.stop and along.start < along.stop:
        light[down, along] = lit[down.start - top : down.stop - top, along.start - left : along.stop - left]
    return light


@lru_cache(maxsize=8)
def silhouette(crystal: Crystal) -> Sequence[tuple[Array, float]]:
    """Sides of the brick's outline along the beam: outward normals (x, y up) and distances from its centre in nm, at
    stage angle 0.
    """
    corners = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.3, 0.3) for k in (-0.2, 0.2)])
    outline = (crystal.size_nm * corners @ crystal.orientation.T)[:, :2]
    sides = []
    for i, a in enumerate(outline):
        for b in np.delete(outline, i, axis=0):
            length = float(np.hypot(*(b - a)))
            normal = np.array([b[1] - a[1], a[0] - b[0]]) / max(length, 1e-9)
            distance_nm = float(normal @ a)
            if length > 1e-6 and np.all(outline @ normal <= distance_nm + 1e-6):
                sides.append((normal, distance_nm))
    return sides
