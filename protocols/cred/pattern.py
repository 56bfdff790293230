"""What a run's geometry means for its patterns, in numbers for run.json and in words for a plan; and its correction.

Numbers of a plan's instrument and of a finished run alike, so that both say the same.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from drivers.facts import DetectorFacts, Geometry
from drivers.geometry import high_tension_v, per_px_A, resolution
from drivers.judged import beam_beside, geometry_cannot_be, grid
from drivers.options import is_number
from engine.errors import Refused, shown
from protocols.cred.plan import BEAM_SAYS, BEAM_WORDS


def pattern_of(geometry: Geometry, shape: tuple[int, int] | None) -> dict[str, float]:
    """High tension, 1/A of a pixel, and the smallest spacings that are seen.

    shape: of the grid that the beam is on; None for a camera without pictures, or where it is not known. edge_A is
    left out where the beam is not on the detector.
    """
    wavelength_A, length_mm = geometry.wavelength_A, geometry.camera_length_mm
    beam_px = geometry.beam_fast_px, geometry.beam_slow_px
    told = {
        "high_tension_kV": round(high_tension_v(wavelength_A) / 1000, 3),
        "per_px_A": round(per_px_A(geometry.pixel_size_mm, length_mm, wavelength_A), 9),
    }
    if shape is not None:
        seen = resolution(shape, *beam_px, geometry.pixel_size_mm, length_mm, wavelength_A)
        told |= {"edge_A": round(seen.edge_A, 4), "corner_A": round(seen.corner_A, 4)}
    return {name: value for name, value in told.items() if math.isfinite(value)}


def pattern_in(instrument: Mapping[str, Any]) -> dict[str, float]:
    """The same from what a trace or a run.json tells of the instrument; empty where that is damaged or cannot be."""
    try:
        geometry = _geometry(instrument["geometry"])
        return {} if geometry_cannot_be(geometry) else pattern_of(geometry, _shape(instrument["detector"]))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError):
        return {}


def words_of(geometry: Geometry, detector: DetectorFacts) -> dict[str, str]:
    """For a plan; what nobody knows before the instrument is connected is left out."""
    told = pattern_of(geometry, grid(detector) if detector.has_pictures else None)
    words = {}
    if "high_tension_kV" in told:
        words["wavelength"] = f"{geometry.wavelength_A:.5g} A ({told['high_tension_kV']:.4g} kV)"
    if "per_px_A" in told:
        words["camera length"] = f"{geometry.camera_length_mm:.5g} mm, {told['per_px_A']:.4g} 1/A per px"
    if "corner_A" in told:
        edge = f"{told['edge_A']:.3g} A at the nearest edge" if "edge_A" in told else "the beam is beside the detector"
        words["resolution"] = f"{edge}, {told['corner_A']:.3g} A in the corner"
    return words


def corrected(instrument: Mapping[str, Any], settings: Mapping[str, object]) -> dict[str, Any]:
    """`geometry` and `detector` of a run.json with other values of the geometry. Raises Refused, in one line."""
    known = [f"geometry.{item.name}" for item in fields(Geometry)]
    geometry = dict(instrument.get("geometry") or {})
    for key, value in settings.items():
        if key not in known:
            near = get_close_matches(f"geometry.{key.removeprefix('geometry.')}", known, n=1, cutoff=0.85)
            hint = f"Did you mean {near[0]}?" if near else f"Keys are {', '.join(known)}, beam."
            raise Refused(f"--set {shown(key)}: cannot be corrected after a run; nothing was changed. {hint}")
        if not is_number(value):
            raise Refused(f"--set {key} = {shown(repr(value))}: is not a number; nothing was changed.")
        geometry[key.removeprefix("geometry.")] = float(value)
    try:
        why = geometry_cannot_be(_geometry(geometry), _shape(instrument["detector"]))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError) as error:
        raise Refused(
            f"--set: run.json does not tell the whole geometry ({type(error).__name__} {error}); nothing was changed. "
            "Set what is missing too."
        ) from error
    if why:
        raise Refused(f"--set: {why} Nothing was changed.")
    return {**instrument, "geometry": geometry}


def corrected_beam(instrument: Mapping[str, Any], value: object) -> object:
    """What a run's plan says of its primary beam, anew. Raises Refused, in one line."""
    if value in BEAM_WORDS:
        return value
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
        raise Refused(f"--set beam = {shown(repr(value))}: nothing was changed; {BEAM_SAYS}.")
    place_px = (float(value[0]), float(value[1]))
    try:
        why = beam_cannot_be(place_px, _geometry(instrument["geometry"]), _shape(instrument["detector"]))
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError):
        why = None  # the export says what is wrong with such a run.json
    if why:
        raise Refused(f"--set: {why} Nothing was changed.")
    return list(place_px)


def beam_cannot_be(beam: str | tuple[float, float], geometry: Geometry, shape: tuple[int, int] | None) -> str | None:
    """Why a place that is given for the primary beam (fast, slow, px) cannot be it; None for a word. shape: of the grid
    that it is on, where that is known.
    """
    if isinstance(beam, str) or shape is None:
        return None
    why = geometry_cannot_be(_with_beam(geometry, beam), shape)
    return None if why is None else _of_beam(beam, why)


def beam_asked_about(beam: str | tuple[float, float], geometry: Geometry, detector: DetectorFacts) -> str | None:
    """What to ask about a place that is given for the primary beam and is not on the detector; None for all others."""
    if isinstance(beam, str):
        return None
    asked = beam_beside(_with_beam(geometry, beam), detector)
    return None if asked is None else _of_beam(beam, asked)


def _with_beam(geometry: Geometry, beam: tuple[float, float]) -> Geometry:
    return replace(geometry, beam_fast_px=beam[0], beam_slow_px=beam[1])


def _of_beam(beam: tuple[float, float], said: str) -> str:
    """The same of the plan's key: a beam of the plan is no figure of the devices file."""
    return f"beam = [{beam[0]:g}, {beam[1]:g}]: {said.replace('geometry.beam_', '').replace('_px = ', ' = ', 1)}"


def _geometry(told: Mapping[str, Any]) -> Geometry:
    return Geometry(**{item.name: float(told[item.name]) for item in fields(Geometry) if item.name in told})


def _shape(detector: Mapping[str, Any]) -> tuple[int, int] | None:
    if detector.get("has_pictures") is False:
        return None
    rows, columns = (int(side) for side in detector["shape"])
    return (rows + 4, columns + 4) if detector["wide_cross"] else (rows, columns)
