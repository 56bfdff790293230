"""The file of a path: CSV, one line an angle, as a run leaves it and as a plan may name one.

`angle_deg,x_nm,y_nm,z_nm,sigma_nm`, angles rising. What a person or another program wrote is checked before anything
moves: units by the names of the columns, numbers, order, range.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from engine.errors import Refused, shown
from protocols.tracking.path import PathPoint

COLUMNS = ("angle_deg", "x_nm", "y_nm", "z_nm", "sigma_nm")
LARGEST_DEG = 90.0
LARGEST_NM = 100_000.0
"""A crystal that is further off never was in an aperture: the numbers are in another unit."""
LEAST_SIGMA_NM, LEAST_NM = 0.5, 10.0
"""No look tells a place so well, and no goniometer keeps a crystal to so little: the numbers are in a larger unit."""
LARGER = {"um": 1e3, "mm": 1e6, "m": 1e9}
MOST_ROWS = 10_000
"""They stand in the header of the trace."""
NOTHING_MOVED = "Nothing was moved"


def path_text(points: Sequence[PathPoint]) -> str:
    """The file of these points, in the order of their angles; of several at one angle the last."""
    told = {round(each.angle_deg, 4): each for each in points}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for angle_deg in sorted(told):
        each = told[angle_deg]
        places = (each.x_nm, each.y_nm, each.z_nm, each.sigma_nm)
        if not all(math.isfinite(value) for value in places):
            raise ValueError(f"a path with a place that is no number, at {angle_deg} deg: {places}")
        rows.writerow([f"{angle_deg:.4f}", *(f"{value:.2f}" for value in places)])
    return text.getvalue()


def read_path(file: Path) -> tuple[PathPoint, ...]:
    """The points of a file. Raises Refused, which says line and remedy, for what is no path."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file.name} cannot be read as a path: {shown(error)}. {NOTHING_MOVED}.") from error
    lines = text.splitlines()
    header = tuple(name.strip() for name in lines[0].split(",")) if lines else ()
    if header != COLUMNS:
        raise Refused(
            f"{file.name} begins with {shown(','.join(header))!r} and not with {','.join(COLUMNS)!r}, which says the "
            f"columns and their units. {NOTHING_MOVED}; write the columns so, in nm and degrees."
        )
    if len(lines) > MOST_ROWS:
        raise Refused(f"{file.name} has more than {MOST_ROWS} lines. {NOTHING_MOVED}; thin it out.")
    points: list[PathPoint] = []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            point = _point(file, number, line)
            if points and point.angle_deg <= points[-1].angle_deg:
                raise _wrong(file, number, f"the angle {point.angle_deg:g} is not above the one before", "sort them")
            points.append(point)
    if len(points) < 2:
        raise Refused(f"{file.name} has {len(points)} angles; a path needs two. {NOTHING_MOVED}.")
    _check_unit(file, points)
    return tuple(points)


def check_range(
    file: Path, points: Sequence[PathPoint], first_deg: float, last_deg: float, beyond_deg: float = 0.0
) -> None:
    """Raises Refused for a path that does not hold for a whole rotation. beyond_deg: by so much the rotation may go
    beyond it at either end, where it goes on as it ends.
    """
    low, high = sorted((first_deg, last_deg))
    begin, end = points[0].angle_deg, points[-1].angle_deg
    if begin > low + beyond_deg or end < high - beyond_deg:
        radians = "; if these are radians, write degrees" if max(-begin, end) < math.pi / 2 else ""
        raise Refused(
            f"{file.name} holds for {begin:g} to {end:g} deg and the rotation goes from {low:g} to {high:g} deg. "
            f"{NOTHING_MOVED}; take a shorter rotation, or a path that covers it{radians}."
        )


def _check_unit(file: Path, points: Sequence[PathPoint]) -> None:
    """Raises Refused where the numbers are so small that they are in um or m."""
    places = [abs(value) for each in points for value in (each.x_nm, each.y_nm, each.z_nm)]
    sigma_nm, largest_nm = max(each.sigma_nm for each in points), max(places)
    if sigma_nm < LEAST_SIGMA_NM:
        raise Refused(_meant(file, f"sigma_nm is {sigma_nm:.3g} at most, better than any look can tell", sigma_nm))
    if 0.0 < largest_nm < LEAST_NM:
        raise Refused(_meant(file, f"x_nm, y_nm and z_nm are {largest_nm:.3g} at most", largest_nm))


def _meant(file: Path, cause: str, value_nm: float) -> str:
    """The smallest unit in which this would be something."""
    unit = next((unit for unit, nm in LARGER.items() if value_nm * nm >= 1.0), "m")
    return f"{file.name}: {cause}. {NOTHING_MOVED}; if {unit} was meant, write {LARGER[unit]:.0f} times as much, in nm."


def _point(file: Path, number: int, line: str) -> PathPoint:
    cells = line.split(",")
    if len(cells) != len(COLUMNS):
        raise _wrong(file, number, f"{len(cells)} values and not {len(COLUMNS)}", "write one value a column")
    values = []
    for name, cell in zip(COLUMNS, cells, strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        largest = LARGEST_DEG if name == "angle_deg" else LARGEST_NM
        if not math.isfinite(value):
            raise _wrong(file, number, f"{name} is {shown(cell.strip())!r}", "write a number, or leave the line out")
        if abs(value) > largest:
            raise _wrong(file, number, f"{name} = {value:g} is beyond {largest:g}", "look at the unit")
        values.append(value)
    if values[-1] <= 0:
        raise _wrong(file, number, f"sigma_nm = {values[-1]:g} is not above 0", "say how well the place is known")
    return PathPoint(*values)


def _wrong(file: Path, number: int, cause: str, remedy: str) -> Refused:
    return Refused(f"{file.name}, line {number}: {cause}. {NOTHING_MOVED}; {remedy}.")
