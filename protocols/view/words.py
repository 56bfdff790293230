"""What may be told to a live view, by `credline tell` or a button of the console."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import Refused

UNBLANK, BLANK, DEFOCUS, FOCUS, RELAX = "unblank", "blank", "defocus", "focus", "relax"
TILT, STOP_STAGE, EXPOSURE, SAVE = "tilt", "stop stage", "exposure", "save"
ALONE = (UNBLANK, BLANK, FOCUS, RELAX, STOP_STAGE, SAVE)
NUMBERS: Mapping[str, tuple[str, float]] = {
    DEFOCUS: ("lens units", 2.0**31),
    TILT: ("degrees", 180.0),
    EXPOSURE: ("seconds", 60.0),
}
"""Words that a number follows: its unit, and the largest that is understood."""
SAYS = "unblank, blank, defocus [UNITS], focus, relax, tilt DEG, stop stage, exposure S, save"


@dataclass(frozen=True, slots=True)
class Told:
    """Words that were understood. number: what follows them; None where nothing does."""

    verb: str
    number: float | None = None

    def __str__(self) -> str:
        return self.verb if self.number is None else f"{self.verb} {self.number:g}"


def told_in(words: str) -> Told:
    """What these words ask for. Raises Refused, with all that is understood, for others."""
    plain = " ".join(words.lower().split())
    if plain in ALONE or plain == DEFOCUS:
        return Told(plain)
    verb, _, rest = plain.rpartition(" ")
    try:
        number = float(rest)
    except ValueError:
        number = math.nan
    if verb not in NUMBERS:
        raise Refused(f"{words!r} is not understood; nothing was done. Say one of: {SAYS}.")
    unit, most = NUMBERS[verb]
    if not abs(number) <= most or (verb == EXPOSURE and number <= 0) or (verb == DEFOCUS and number != int(number)):
        raise Refused(f"{words!r}: after {verb!r} comes a number of {unit} up to {most:g}; nothing was done.")
    return Told(verb, number)
