"""The setting of the lenses that a calibration holds for, as the microscope names it: read before a run, kept in the
header of its trace, and read from there when values are stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.contract import Microscope
from drivers.geometry import high_tension_v
from drivers.parts import OpticalMode
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.trace import open_trace

MODE, MAGNIFICATION, CAMERA_LENGTH = "mode", "magnification", "camera_length_mm"


@dataclass(frozen=True, slots=True)
class Setting:
    """High tension, nominal camera length and magnification; None where nobody told it."""

    high_tension_kV: float
    camera_length_mm: float | None
    magnification: float | None


async def looked_at(microscope: Microscope) -> JsonDict:
    """Mode, and magnification or camera length, for `ExperimentType.look`; empty where no mode is told."""
    if microscope.mode is None:
        return {}
    mode = await microscope.mode.mode()
    if mode is OpticalMode.DIFFRACTION:
        return {MODE: mode.value, CAMERA_LENGTH: await microscope.mode.camera_length_mm()}
    return {MODE: mode.value, MAGNIFICATION: await microscope.mode.magnification()}


def setting_of(folder: Path, run: RunDocument) -> Setting:
    """The setting of a run. The camera length is the one that was looked at; or else the one that its calibrated camera
    length holds for; or else the one of its geometry.

    Raises DataError where it cannot be told.
    """
    header, _ = open_trace(folder)
    look = header.get("look")
    seen = look if isinstance(look, dict) else {}
    try:
        tension_kV = high_tension_v(float(run.instrument["geometry"]["wavelength_A"])) / 1000
        length_mm = float(seen.get(CAMERA_LENGTH) or _nominal_mm(run.instrument))
        magnification = float(seen[MAGNIFICATION]) if MAGNIFICATION in seen else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{folder}: does not tell high tension and camera length ({error}); nothing was stored. `credline recover "
            f"{folder}` rewrites run.json"
        ) from error
    return Setting(tension_kV, length_mm, magnification)


def _nominal_mm(instrument: Mapping[str, Any]) -> Any:
    figures = (instrument.get("calibration") or {}).get("figures", {})
    calibrated = figures.get("geometry.camera_length_mm", {}).get("camera_length_mm")
    return calibrated or instrument["geometry"]["camera_length_mm"]
