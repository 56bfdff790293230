"""A microscope of which only the camera is there, for the conformance suite of detectors."""

from dataclasses import replace
from typing import Any

from drivers.contract import Microscope, Parts
from drivers.facts import Geometry, Timing

GEOMETRY = Geometry(0.0251, 250.0, 0.075, 0.0, 32.0, 24.0)


def only_a_camera(parts: Parts) -> Microscope:
    """The camera of these parts, and what it knows of the geometry; nothing else is asked of this microscope."""
    nothing: Any = None
    assert parts.detector is not None
    geometry = replace(GEOMETRY, **parts.geometry)
    return Microscope(nothing, nothing, nothing, parts.detector, geometry, Timing(0.01, 0.02, 0.01))
