"""Whether a run's geometry can be: what would be a wrong number in every header is refused, with the remedy, and what
no microscope usually has is asked about.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from drivers.facts import Geometry
from drivers.judged import geometry_cannot_be, geometry_unusual
from engine.errors import DataError

if TYPE_CHECKING:
    from protocols.products.source import RunInfo


def check_geometry(info: "RunInfo", path: Path, *, has_pictures: bool) -> None:
    """Raise DataError, in one line, for a figure that no instrument has. path: of run.json, for the message.

    has_pictures: whether the beam has a place on them, or they are placeholders.
    """
    if why := geometry_cannot_be(_geometry(info), info.shape if has_pictures else None):
        raise DataError(
            f"{path}: {why} Nothing was exported. Correct it, and keep what it was: credline export {info.folder} "
            "--set geometry.KEY=VALUE"
        )


def unusual_geometry(info: "RunInfo") -> tuple[str, ...]:
    """What to ask about a geometry that can be and is unusual, one line each."""
    return tuple(
        f"{text} credline export {info.folder} --set geometry.KEY=VALUE" for text in geometry_unusual(_geometry(info))
    )


def _geometry(info: "RunInfo") -> Geometry:
    return Geometry(
        info.wavelength_A,
        info.camera_length_mm,
        info.pixel_size_mm,
        info.rotation_axis_deg,
        info.nominal_beam_fast_px,
        info.nominal_beam_slow_px,
        info.distortion_amplitude_percent,
        info.distortion_azimuth_deg,
        info.rotation_axis_tilt_deg,
    )
