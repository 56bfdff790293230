"""Instamatic's calibration of its camera lengths, from `config/calibration/*.yaml`: what a pixel is in 1/A, and how its
own programs turn patterns.

Used by `drivers.instamatic.microscope`. The servers do not tell it, but the file is a table of two levels, of which
this reads what it needs; it is no reader of YAML. Source: Instamatic 2.2.2, `config/calibration/`, `image_utils.py`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from drivers.turn import Turn
from engine.errors import Refused

MODE = "diff"
KEY = re.compile(r"(\s*)([^\s:#][^:#]*):\s*([^#]*?)\s*(#.*)?$")
INLINE = re.compile(r"([-+.\w]+)\s*:\s*([-+.\w]+)")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one camera length. per_px_A: 1/A of an unbinned pixel. turn: of the picture, against that of the server."""

    per_px_A: float
    turn: Turn


def calibration(path: str, camera_length: float) -> Calibration:
    """What the file says of a camera length, as the microscope tells it.

    Raises Refused for a file that cannot be read, or that does not have this camera length.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"instamatic: calibration = {path!r} cannot be read ({error}); nothing was started. Give one of the files "
            "in Instamatic's config/calibration."
        ) from error
    sizes = _table(text, "pixelsize")
    if camera_length not in sizes:
        known = ", ".join(f"{length:g}" for length in sizes) or "none"
        raise Refused(
            f"instamatic: {path} has no pixelsize for diff {camera_length:g}, at which the microscope is; it has "
            f"{known}. Nothing was started. Choose one of these, or write camera_length_mm into [geometry]."
        )
    quarters = _table(text, "rot90").get(camera_length, 0.0)  # of another camera length it says nothing
    if not quarters.is_integer():
        raise Refused(
            f"instamatic: {path} turns patterns of diff {camera_length:g} by rot90 = {quarters:g}, which is no whole "
            "number of quarters; nothing was started. Correct it there: Instamatic itself cannot use it either."
        )
    flipud, fliplr = (bool(_table(text, name)) for name in ("flipud", "fliplr"))
    return Calibration(sizes[camera_length], Turn.of(int(quarters), flipud, fliplr))


def _table(text: str, name: str) -> dict[float, float]:
    """The numbers below (or beside) a key of the diffraction mode; {0: 1} for one that is just true."""
    where: list[tuple[int, str]] = []
    found: dict[float, float] = {}
    for line in text.splitlines():
        if (match := KEY.match(line)) is None:
            continue
        depth, key, value = len(match[1]), match[2].strip(), match[3]
        where = [(d, k) for d, k in where if d < depth] + [(depth, key)]
        path = [k for _, k in where]
        pairs = [(key, value)] if path[:-1] == [MODE, name] else INLINE.findall(value) if path == [MODE, name] else []
        if path == [MODE, name] and value.lower() in ("true", "yes", "on"):
            found[0.0] = 1.0
        for length, number in pairs:
            try:
                found[float(length)] = float(number)
            except ValueError:
                continue
    return {length: number for length, number in found.items() if number != 0}
