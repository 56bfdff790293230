"""A microscope of which only the camera is there, for the conformance suite of detectors."""

from typing import Any

from drivers.contract import Microscope, Parts
from drivers.facts import Geometry, Timing

GEOMETRY = Geometry(0.0251, 250.0, 0.075, 0.0, 32.0, 24.0)


def only_a_camera(parts: Parts) -> Microscope:
    """The camera of these parts; nothing else is asked of this microscope."""
    nothing: Any = None
    assert parts.detector is not None
    return Microscope(nothing, nothing, nothing, parts.detector, GEOMETRY, Timing(0.01, 0.02, 0.01))
