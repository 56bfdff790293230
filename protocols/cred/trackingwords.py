"""What an operator may tell a cRED run while it goes: where in the aperture its crystal is to be held.

`credline tell RUN track offset X_NM Y_NM`; docs/tracking.md.
"""

import math

from engine.errors import Refused

FARTHEST_NM = 100_000.0
SAYS = "track offset X Y, in nm from the middle: x along the tilt axis, y across it; 0 0 is the middle again"


def offset_in(words: str) -> tuple[float, float]:
    """X and Y in nm of `track offset X Y`. Raises Refused for anything else."""
    parts = words.split()
    if len(parts) != 4 or [part.lower() for part in parts[:2]] != ["track", "offset"]:
        raise Refused(f"{words!r} is not understood; nothing was changed. Say {SAYS}.")
    try:
        x_nm, y_nm = (float(part) for part in parts[2:])
    except ValueError:
        x_nm = y_nm = math.nan
    if not math.hypot(x_nm, y_nm) <= FARTHEST_NM:
        raise Refused(f"{words!r} has no two numbers that can be; nothing was changed. Say {SAYS}.")
    return x_nm, y_nm


def words_of(x_nm: float, y_nm: float) -> str:
    """The words for an offset."""
    return f"track offset {x_nm:g} {y_nm:g}"
