"""Where a grid of crystals truly lies: where the stage has brought it, how high its film is over the tilt axis from
place to place, and what the goniometer does to it while it turns (`crystalmotion`).

One holder and one grid for all runs on an instrument: nobody centres its crystals but the stage and the beam.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

from drivers.simulated.crystalmotion import MotionSettings, moved_nm
from drivers.simulated.gridsettings import GridSettings

if TYPE_CHECKING:
    from drivers.simulated.gridfilm import Ripple

Triple = tuple[float, float, float]

WAVES_NM = (40_000.0, 250_000.0)
"""A film on a mesh is off its plane by windows, and the mesh is bent: assumed."""


class GridPlace:
    """motion: of the holder; its height is that of the film's mean."""

    def __init__(self, grid: GridSettings, motion: MotionSettings) -> None:
        meant = motion.meant
        self.height_nm = meant.height_nm
        self._sigma_nm = grid.height_nm
        self._motion = dataclasses.replace(meant, height_nm=0.0, centred_off_nm=(0.0, 0.0), drawn_seed=-1)
        self._seed = grid.seed
        self._ripple: Ripple | None = None

    def film_nm(self, x_nm: float, y_nm: float) -> float:
        """How high the film is at a place of the grid when the stage's z is 0."""
        if self._sigma_nm <= 0.0:
            return self.height_nm
        if self._ripple is None:
            import numpy as np

            from drivers.simulated.gridfilm import Ripple

            self._ripple = Ripple(np.random.Generator(np.random.PCG64([self._seed, 16])), *WAVES_NM)
        return self.height_nm + self._sigma_nm * float(self._ripple.at(x_nm, y_nm))  # type: ignore[arg-type]

    def specimen_nm(self, stage_nm: Triple, tilt_deg: float, since_s: float) -> Triple:
        """x, y, z by which the grid is moved, as `imaging.electrons_s` and `imaging.lab_on_grid` take it: y before the
        tilt. stage_nm: where the stage holds it. since_s: since the stage last moved it, for the holder's drift.
        """
        x_nm, y_nm, z_nm = stage_nm
        z_nm += self.film_nm(-x_nm, -y_nm)
        if not self._motion.moves:
            return x_nm, y_nm, z_nm
        by_x_nm, by_y_nm = moved_nm(self._motion, tilt_deg, 0.0, since_s)
        return x_nm + by_x_nm, y_nm + by_y_nm / max(math.cos(math.radians(tilt_deg)), 1e-3), z_nm
