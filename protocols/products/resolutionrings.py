"""Rings of resolution over a diffraction pattern, for displays: where they lie in the pixels that the camera gave.

Pure, from what run.json says of the instrument, which may be damaged: then nothing is known, and ValueError says so.
"""

import math
from dataclasses import dataclass
from typing import Any

from drivers.geometry import per_px_A
from engine.record.jsonobject import JsonObject
from protocols.products.cross import raw_place

RINGS_A = (4.0, 2.0, 1.5, 1.2, 1.0, 0.8)
"""Spacings of the rings."""


@dataclass(frozen=True, slots=True)
class ResolutionRings:
    """centre_px: the beam (fast, slow) in the counts as the camera gave them, from the middle of the first pixel.
    rings: radius in these pixels, and the spacing in words.
    """

    centre_px: tuple[float, float]
    rings: list[tuple[float, str]]


def resolution_rings(instrument: JsonObject, times_length: float = 1.0) -> ResolutionRings:
    """With a ring of radius tan(2 theta) L / pixel for each spacing d, sin(theta) = wavelength / 2d.

    instrument: of a run's document. times_length: the camera length over that of the geometry. Raises ValueError where
    the geometry is not known.
    """
    try:
        geometry: Any = instrument["geometry"]
        detector: Any = instrument["detector"]
        wavelength_A, pixel_mm = float(geometry["wavelength_A"]), float(geometry["pixel_size_mm"])
        length_mm = float(geometry["camera_length_mm"]) * times_length
        centre_px = float(geometry["beam_fast_px"]), float(geometry["beam_slow_px"])
        if not all(map(math.isfinite, (per_px_A(pixel_mm, length_mm, wavelength_A), *centre_px))):
            raise ValueError("not known before the instrument was connected")
        if detector["wide_cross"]:
            rows, columns = detector["shape"]
            centre_px = raw_place(centre_px[0], columns), raw_place(centre_px[1], rows)
    except (KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise ValueError("the geometry is not known") from error
    rings = [
        (math.tan(2 * math.asin(wavelength_A / 2 / d_A)) * length_mm / pixel_mm, f"{d_A:g} A")
        for d_A in RINGS_A
        if wavelength_A < d_A
    ]
    return ResolutionRings(centre_px, rings)


def nominal_length_mm(instrument: JsonObject) -> float | None:
    """The camera length as the microscope names it for which the geometry holds: that of its calibration, or the
    geometry's own; None where nobody knows.
    """
    try:
        calibration: Any = instrument.get("calibration") or {}
        figure = (calibration.get("figures") or {}).get("geometry.camera_length_mm") or {}
        geometry: Any = instrument["geometry"]
        length_mm = float(figure.get("camera_length_mm") or geometry["camera_length_mm"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return length_mm if math.isfinite(length_mm) and length_mm > 0 else None
