"""What the TEM server's answers must look like, and what the microscope was last known to be.

Used by all parts behind the TEM server, with `drivers.instamatic.wire`: an answer of another shape was meant for
another client. Each shape returns the answer in the driver's own type and raises ValueError saying what it is not.
"""

from dataclasses import dataclass
from typing import Any

from drivers.instamatic.codec import StagePosition
from drivers.options import is_number

DIFFRACTION = "diff"
"""Instamatic's name of the diffraction mode."""


def position(value: Any) -> StagePosition:
    """The shape of a stage position: five finite numbers."""
    if not (isinstance(value, list | tuple) and len(value) == 5 and all(is_number(item) for item in value)):
        raise ValueError("not a stage position")
    return StagePosition(*value)


def truth(value: Any) -> bool:
    """The shape of a yes or no; a JEOL's status is a number."""
    if not isinstance(value, bool) and value not in (0, 1):
        raise ValueError("not true or false")
    return bool(value)


def motion(value: Any) -> bool:
    """The shape of `isStageMoving`: a JEOL gives the status number of an axis, 0 for rest."""
    if not isinstance(value, bool | int):
        raise ValueError("neither true, false nor a status")
    return bool(value)


def lens_value(value: Any) -> int:
    """The shape of a lens value: a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not a lens value")
    return value


def pair_of_values(value: Any) -> tuple[int, int]:
    """The shape of a pair of deflectors: two whole numbers."""
    if not (isinstance(value, list | tuple) and len(value) == 2):
        raise ValueError("not a pair of values")
    return lens_value(value[0]), lens_value(value[1])


def plain_number(value: Any) -> float:
    """The shape of any other number."""
    if not is_number(value):
        raise ValueError("not a number")
    return float(value)


def mode_name(value: Any) -> str:
    """The shape of a function mode: `mag1`, `diff`, ..."""
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError("not the name of a mode")
    return value


def nothing(value: Any) -> None:
    """The shape of the answer of functions that only do something."""
    if value is not None:
        raise ValueError("not empty")


@dataclass(slots=True)
class Known:
    """What the microscope was last known to be, to be compared after a new connection; None = not known."""

    blanked: bool | None = None
    mode: str | None = None
    focus: int | None = None
    speed_setting: float | None = None
