"""What the selected-area aperture lets of a scene take part in diffraction: the crystal, its neighbours, the beam.

Cheap, for it is asked for every frame: shares come from points spread over the bodies, not from a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from drivers.simulated.crystal import Crystal, random_orientation
from drivers.simulated.picturesettings import PictureSettings
from drivers.simulated.snapshotscene import SnapshotScene

LEAST_SHARE = 1e-3
"""Grains of which less is lit are left out."""
MOST = 4.0
"""A neighbour's spots are at most so many times as strong as the crystal's, however large it is."""
USUAL_NM3 = 3e7
"""What neighbours are compared with where there is no crystal: a brick of 500 nm."""


@dataclass(frozen=True, slots=True)
class Light:
    """grains: (number, strength) of each that diffracts, 1 for all of the crystal. beam: share of the primary beam that
    no bar of the grid keeps. crystal: share of the crystal that is lit.
    """

    grains: Sequence[tuple[int, float]]
    beam: float
    crystal: float


WHOLE = Light(((0, 1.0),), 1.0, 1.0)


def lit_share(settings: PictureSettings, off_nm: tuple[float, float]) -> float:
    """Which share of the aperture is lit by a beam whose middle lies off_nm from its own: of two circles what they have
    in common.
    """
    if not settings.lit_nm:
        return 1.0
    small, large = sorted((settings.aperture_nm / 2, settings.lit_nm / 2))
    away_nm = float(np.hypot(*off_nm))
    if away_nm <= large - small:
        return min(1.0, (settings.lit_nm / settings.aperture_nm) ** 2)
    if away_nm >= large + small:
        return 0.0
    common = 0.0
    for radius, other in ((small, large), (large, small)):
        chord = (away_nm**2 + radius**2 - other**2) / (2 * away_nm)
        common += radius**2 * float(np.arccos(chord / radius)) - chord * float(np.sqrt(max(radius**2 - chord**2, 0.0)))
    return common / (np.pi * (settings.aperture_nm / 2) ** 2)


class Aperture:
    """The aperture of an instrument over a scene."""

    def __init__(self, settings: PictureSettings, scene: SnapshotScene) -> None:
        self._scene = scene
        self._radius_nm = settings.aperture_nm / 2.0
        self._axes = np.reshape(settings.snapshot, (2, 2))
        volumes = np.array([body.volume_nm3 for body in scene.bodies])
        usual = USUAL_NM3 if scene.is_empty or not len(volumes) else volumes[0]
        self._strengths = np.minimum(volumes / usual, MOST)

    def grains(self, crystal: Crystal) -> list[Crystal]:
        """The crystal, and one of the same kind for each other body, which lies as it happens to lie."""
        others = len(self._scene.bodies) - (0 if self._scene.is_empty else 1)
        b_matrix = crystal.orientation.T @ crystal.ub
        grains = [crystal]
        for number in range(others):
            orientation = random_orientation(1000 * self._scene.seed + number + 1)
            grains.append(replace(crystal, orientation=orientation, ub=orientation @ b_matrix))
        return grains

    def light(self, crystal_nm: tuple[float, float], tilt_deg: float) -> Light:
        """What is lit where the crystal's middle is seen at crystal_nm, in x and y of the stage."""
        seen = crystal_nm, tilt_deg, self._radius_nm, self._axes
        shares = self._scene.shares_inside(*seen)
        first = 1 if self._scene.is_empty else 0
        grains = tuple(
            (number + first, float(share * strength))
            for number, (share, strength) in enumerate(zip(shares, self._strengths, strict=True))
            if share > LEAST_SHARE
        )
        return Light(grains, self._scene.share_lit(*seen), 0.0 if first else float(shares[0]))
