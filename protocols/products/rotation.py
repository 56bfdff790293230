"""The rotation as processing programs want it: about an axis that makes every step positive.

XDS needs a positive OSCILLATION_RANGE, and DIALS flips the axis of a negative one without touching the start
angle. A rotation by -p about an axis is one by +p about the opposite axis; so for a run of falling stage angles
the axis *and* the angles change sign together, in SMV headers, XDS.INP, dials.sh and NeXus alike. The
goniometer's own readings stand beside them (STAGE_START, STAGE_END). REDp and PETS2 take a list of stage angles
and need no such turn.
"""

import math
from dataclasses import dataclass

from protocols.products.source import RunInfo


@dataclass(frozen=True, slots=True)
class Rotation:
    """Slot k covers `start_deg + (k - 1) * width_deg` to `start_deg + k * width_deg`, width_deg > 0, about `axis`.

    axis: unit vector in the frame of DIALS (fast = +x, slow = -y, beam towards -z).
    sign: -1 where the stage angle falls during the run, so that stage angle = sign * angle here.
    """

    axis: tuple[float, float, float]
    start_deg: float
    width_deg: float
    sign: int

    @property
    def xds_axis(self) -> tuple[float, float, float]:
        """The axis in the frame of XDS (x = fast, y = slow, z = along the beam): y and z change sign."""
        x, y, z = self.axis
        return (x, -y, -z)

    def slot_start_deg(self, slot: int) -> float:
        """Angle about `axis` at which a slot begins."""
        return self.start_deg + (slot - 1) * self.width_deg


def rotation(info: RunInfo) -> Rotation:
    """The run's rotation about the axis that makes it positive."""
    sign = 1 if info.oscillation_deg > 0 else -1
    w, out = math.radians(info.rotation_axis_deg), math.radians(info.rotation_axis_tilt_deg)
    return Rotation(
        axis=(
            sign * math.cos(w) * math.cos(out),
            sign * math.sin(w) * math.cos(out),
            sign * math.sin(out) if out else 0.0,  # not -0.0
        ),
        start_deg=sign * info.start_deg,
        width_deg=abs(info.oscillation_deg),
        sign=sign,
    )
