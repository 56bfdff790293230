"""How well an instrument is known before a run, and fits that keep to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.rotationfit import Observed, RotationFit, fit_rotation
from protocols.lattice.rotationgeometry import RotationGeometry


@dataclass(frozen=True, slots=True)
class GeometryKnown:
    """How well an instrument is known before a run, standard deviations.

    camera_length, ellipse: relative. What a file of calibrations says better is given so.
    """

    axis_deg: float = 1.5
    out_of_plane_deg: float = 0.5
    beam_px: float = 1.5
    ellipse: float = 0.0005
    camera_length: float = 0.02

    def fit(
        self,
        observed: Observed,
        geometry: RotationGeometry,
        ub: NDArray[np.float64],
        told: RotationGeometry | None = None,
    ) -> RotationFit | None:
        """Lattice and geometry, begun with `geometry`, to what is `told`; that is the same where nothing is said."""
        widths = (self.axis_deg, self.out_of_plane_deg, self.beam_px, self.beam_px)
        return fit_rotation(observed, geometry, ub, self.ellipse, self.camera_length, widths, believed=told)

    def anew(self, observed: Observed, told: RotationGeometry, fit: RotationFit) -> RotationFit | None:
        """The lattice of a fit once more, where the geometry that is told is not the one that the fit began with."""
        return self.fit(observed, fit.geometry, fit.ub, told)


def some(observed: Observed, which: NDArray[np.bool_]) -> Observed:
    """Those of a mask."""
    return Observed(*(getattr(observed, name)[which] for name in Observed.__dataclass_fields__))
