"""What may be told to a live view, by `credline tell` or a button of the console."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.parts import OpticalMode
from engine.errors import Refused

UNBLANK, BLANK, DEFOCUS, FOCUS, RELAX = "unblank", "blank", "defocus", "focus", "relax"
TILT, TILT_BY, STOP_STAGE, EXPOSURE, SAVE = "tilt", "tilt by", "stop stage", "exposure", "save"
MOVE_X, MOVE_Y, MOVE_Z, MODE = "move x", "move y", "move z", "mode"
ALONE = (UNBLANK, BLANK, FOCUS, RELAX, STOP_STAGE, SAVE)
NUMBERS: Mapping[str, tuple[str, float]] = {
    DEFOCUS: ("lens units", 2.0**31),
    TILT: ("degrees", 180.0),
    TILT_BY: ("degrees", 180.0),
    MOVE_X: ("micrometres", 2000.0),
    MOVE_Y: ("micrometres", 2000.0),
    MOVE_Z: ("micrometres", 2000.0),
    EXPOSURE: ("seconds", 60.0),
}
"""Words that a number follows: its unit, and the largest that is understood."""
SAYS = (
    "unblank, blank, defocus [UNITS], focus, relax, move x UM, move y UM, move z UM, tilt DEG, tilt by DEG, "
    f"stop stage, mode {'|'.join(OpticalMode)} [MAGNIFICATION or MM], exposure S, save"
)


@dataclass(frozen=True, slots=True)
class Told:
    """Words that were understood. number: what follows them; None where nothing does. mode: which one `MODE` asks
    for; its number is a magnification, or of diffraction a camera length in mm.
    """

    verb: str
    number: float | None = None
    mode: OpticalMode | None = None

    def __str__(self) -> str:
        words = self.verb if self.mode is None else f"{self.verb} {self.mode}"
        return words if self.number is None else f"{words} {self.number:.10g}"


def told_in(words: str) -> Told:
    """What these words ask for. Raises Refused, with all that is understood, for others."""
    plain = " ".join(words.lower().split())
    if plain in ALONE or plain == DEFOCUS:
        return Told(plain)
    if plain.partition(" ")[0] == MODE:
        return _mode_in(words, plain.split(" ")[1:])
    verb, _, rest = plain.rpartition(" ")
    number = _number(rest)
    if verb not in NUMBERS:
        raise Refused(f"{words!r} is not understood; nothing was done. Say one of: {SAYS}.")
    unit, most = NUMBERS[verb]
    if not abs(number) <= most or (verb == EXPOSURE and number <= 0) or (verb == DEFOCUS and number != int(number)):
        raise Refused(f"{words!r}: after {verb!r} comes a number of {unit} up to {most:g}; nothing was done.")
    return Told(verb, number)


def _mode_in(words: str, said: list[str]) -> Told:
    """A mode by its name, and what may follow it."""
    name, *rest = said or [""]
    number = _number(rest[0]) if rest else None
    if name not in tuple(OpticalMode) or len(rest) > 1 or (number is not None and not 0 < number < math.inf):
        raise Refused(
            f"{words!r}: after {MODE!r} comes one of {', '.join(OpticalMode)}, and then a magnification, or of "
            "diffraction a camera length in mm, or nothing; nothing was done."
        )
    return Told(MODE, number, OpticalMode(name))


def _number(text: str) -> float:
    """Not a number (NaN) where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
