"""Simulated rotations as integration takes them, on a small camera, with the truth."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.crystals import picture_settings
from drivers.simulated.crystal import Crystal, load_crystal
from drivers.simulated.pictures import PictureMaker
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.settings import GEOMETRY
from protocols.integration.observing import Observations
from protocols.integration.series import Series
from protocols.lattice.rotationgeometry import RotationGeometry

SMALL = replace(GEOMETRY, camera_length_mm=125.0, beam_fast_px=131.0, beam_slow_px=127.0)
SETTINGS = PictureSettings(shape=(256, 256), wide_cross=False, pixel_response_sigma=0.0)
WIDTH_DEG, OPEN = 0.23, 0.977
"""Of a slot; the share of it that is exposed."""


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """A rotation and what is true of it."""

    series: Series
    crystal: Crystal
    geometry: RotationGeometry


def turned(
    range_deg: float,
    *,
    falling: bool = False,
    gap_every: int = 10,
    cif: Path | None = None,
    seed: int = 3,
    lit: Callable[[float], float] = lambda angle_deg: 1.0,
) -> Turned:
    """So many degrees from -10 on (or 10 down) of mordenite or another crystal, without a frame in every tenth slot.

    Of the small cell of another crystal less of the light is diffracted, so that it is as bright. lit: the share of the
    crystal that is in the beam, by the angle.
    """
    crystal = load_crystal(cif, seed)
    share = picture_settings(cif, beams=False).diffracting_share if cif is not None else SETTINGS.diffracting_share

    @cache
    def maker(here: float) -> PictureMaker:
        return PictureMaker(crystal, SMALL, replace(SETTINGS, diffracting_share=share * here))

    way = -1 if falling else 1
    slots = [k for k in range(round(range_deg / WIDTH_DEG)) if not gap_every or k % gap_every != gap_every - 1]
    begin = np.array([way * (-10 + k * WIDTH_DEG) for k in slots])
    end = begin + way * OPEN * WIDTH_DEG
    pictures = [
        maker(lit((a + b) / 2)).diffraction(a, b, 0.5, noise_seed=k)
        for k, a, b in zip(slots, begin.tolist(), end.tolist(), strict=True)
    ]
    bad = np.zeros(SETTINGS.shape, dtype=bool)
    series = Series(pictures.__getitem__, bad, np.array(slots), begin, end, float(SETTINGS.saturation))
    return Turned(series, crystal, RotationGeometry.of(SMALL))


def true_intensity(crystal: Crystal, seen: Observations) -> NDArray[np.float64]:
    """(n,) of each predicted reflection; 0 where it is absent."""
    known = dict(zip(map(tuple, crystal.hkl.tolist()), crystal.intensity.tolist(), strict=True))
    return np.array([known.get(tuple(index), 0.0) for index in seen.passages.hkl.tolist()])
