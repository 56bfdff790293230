"""Instamatic's calibration of its camera lengths: what a pixel is in 1/A, from `config/calibration/*.yaml`.

Used by `drivers.instamatic.microscope`. The servers do not tell it, but the file is a table of two levels, of which
this reads what it needs; it is no reader of YAML. Source: Instamatic 2.2.2, `config/calibration/`, `image_utils.py`.
"""

import re
from pathlib import Path

from engine.errors import Refused

MODE = "diff"
KEY = re.compile(r"(\s*)([^\s:#][^:#]*):\s*([^#]*?)\s*(#.*)?$")
INLINE = re.compile(r"([-+.\w]+)\s*:\s*([-+.\w]+)")


def per_px_A(path: str, camera_length: float) -> float:
    """1/A of an unbinned pixel at a camera length, as the microscope tells it.

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
    turned = [name for name in ("rot90", "flipud", "fliplr") if _table(text, name)]
    if turned:
        raise Refused(
            f"instamatic: {path} turns diffraction patterns ({', '.join(turned)}), which is not done here, so "
            "directions would be wrong; nothing was started. Leave calibration out, and write camera_length_mm and "
            "rotation_axis_deg of the picture as the camera gives it into [geometry]."
        )
    if camera_length not in sizes:
        known = ", ".join(f"{length:g}" for length in sizes) or "none"
        raise Refused(
            f"instamatic: {path} has no pixelsize for diff {camera_length:g}, at which the microscope is; it has "
            f"{known}. Nothing was started. Choose one of these, or write camera_length_mm into [geometry]."
        )
    return sizes[camera_length]


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
