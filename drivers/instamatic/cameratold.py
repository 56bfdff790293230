"""What a camera's configuration says in Instamatic, asked of its camera server: binnings and geometry.

Used by `drivers.instamatic.camera`. Source: Instamatic 2.2.2, `camera/camera_base.py` (each key of the configuration is
an attribute of the camera) and `processing/ImgConversion.py` (what angles are counted from).
"""

import math
from typing import Any, TypeVar

from drivers.instamatic.answers import plain_number
from drivers.instamatic.wire import ServerError, Shape, Wire
from drivers.options import is_number

LARGEST_BINNING = 16
Told = TypeVar("Told")


def binnings(value: Any) -> tuple[int, ...]:
    """The shape of the binnings that a camera has."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("not a list of binnings")
    return tuple(one_binning(item) for item in value)


def one_binning(value: Any) -> int:
    """The shape of one of them."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_BINNING:
        raise ValueError("not a binning")
    return value


def positive(value: Any) -> float:
    """The shape of a property that is a positive number."""
    if not is_number(value) or value <= 0:
        raise ValueError("not a positive number")
    return float(value)


async def told(wire: Wire, name: str, shape: Shape[Told]) -> Told | None:
    """What only some cameras' configurations say in Instamatic; None where it does not."""
    try:
        return await wire.call(name, shape)
    except ServerError:
        return None


async def geometry_told(wire: Wire, binning: int) -> dict[str, float]:
    """What Instamatic's camera configuration says of the geometry, under the names of `drivers.facts.Geometry`.

    `camera_rotation_vs_stage_xy` is the axis' direction in radians, counted as ours (`ImgConversion.py`: DIALS' axis is
    its cosine and sine).
    """
    found: dict[str, float] = {}
    if (pixel_mm := await told(wire, "physical_pixelsize", positive)) is not None:
        found["pixel_size_mm"] = pixel_mm * binning
    if (axis_rad := await told(wire, "camera_rotation_vs_stage_xy", plain_number)) is not None:
        found["rotation_axis_deg"] = math.degrees(axis_rad)
    amplitude = await told(wire, "stretch_amplitude", plain_number)
    azimuth_deg = await told(wire, "stretch_azimuth", plain_number)
    if amplitude is not None and azimuth_deg is not None:
        # Theirs is counted from rows towards columns, and mirrored.
        found |= {"distortion_amplitude_percent": amplitude, "distortion_azimuth_deg": 90.0 - azimuth_deg}
    return found
