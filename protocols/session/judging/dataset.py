"""What one cRED run told of its crystal, as a session judges it: its cell, how it lay, how far it was seen.

From the result of the run: what a look at all of its frames says (`protocols.live.look`) stands there as `live`, by
the names of `crystal.json`. What is missing or damaged counts as not known: a night does not end for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.record.jsonobject import JsonDict
from protocols.lattice.cell import Cell
from protocols.spots.shadow import Part, beside_shadows, without

Array = NDArray[np.float64]

LEAST_RELATIVE, LEAST_DEG = 0.002, 0.1
"""No cell of a crystal is known better than that as the cell of its phase: crystals of one phase differ by it."""


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """One rotation of one crystal.

    number: in the session, from 1. crystal: its number there. run_dir: folder of the run, as seen from that of the
    session. cell: of the primitive lattice, nearly reduced; None where it is not determined. sigma: (6,) standard
    deviations in A and deg; of the lengths camera_length_sigma, a share of them, is the camera length's and common to
    all three. lattice: Bravais type, as "oC"; empty where it is not known. orientation: UB, (3, 3) columns a*, b*, c*
    of that primitive lattice in 1/A in the crystal at stage angle 0, in the frame of `RotationGeometry`. start_deg,
    end_deg: stage angles; shadowed: parts of it in a shadow; absent: with the crystal beside the beam. d_min_A: to
    which reflections are seen. completeness: 0 to 1, as the look says it. indexed_share: of all reflections, those on
    the lattice; second_share: those on the lattice of a second crystal in the beam. lattices: found in it. ended: why
    the run ended. damage: what is said of damage by the beam. reasons: why no cell is determined.
    """

    number: int
    crystal: int
    run_dir: str
    cell: Cell | None
    sigma: Array
    camera_length_sigma: float
    lattice: str
    orientation: Array | None
    start_deg: float
    end_deg: float
    d_min_A: float | None
    completeness: float | None
    indexed_share: float
    lattices: int = 0
    second_share: float = 0.0
    ended: str = ""
    damage: str = ""
    reasons: tuple[str, ...] = ()
    shadowed: tuple[Part, ...] = ()
    absent: tuple[Part, ...] = ()

    @property
    def parts(self) -> list[Part]:
        """Of the rotation, those in which reflections are measured; none where its angles are not known."""
        if not math.isfinite(self.start_deg) or not math.isfinite(self.end_deg):
            return []
        return without(beside_shadows((self.start_deg, self.end_deg), self.shadowed), self.absent)

    @property
    def range_deg(self) -> float:
        """Of rotation; 0 where it is not known."""
        return abs(self.end_deg - self.start_deg) if math.isfinite(self.end_deg - self.start_deg) else 0.0

    @property
    def own_sigma(self) -> Array:
        """(6,) standard deviations of the cell without what the camera length does to all of it: of the logarithms of
        the lengths, and of the angles in deg.
        """
        of_lengths = self.sigma[:3] / (np.array(self.cell.parameters[:3]) if self.cell else 1.0)
        own = np.sqrt(np.maximum(of_lengths**2 - self.camera_length_sigma**2, LEAST_RELATIVE**2))
        return np.concatenate([own, np.hypot(self.sigma[3:], LEAST_DEG)])

    @property
    def covariance(self) -> Array:
        """(6, 6) of the cell, as logarithms of the lengths, and angles in deg."""
        known = np.diag(self.own_sigma**2)
        known[:3, :3] += self.camera_length_sigma**2
        return np.asarray(known)


def data_set(result: JsonDict, number: int, crystal: int, run_dir: str) -> DataSet:
    """From the result of a cRED run, with `live` in it where somebody has looked."""
    live = _object(result.get("live"))
    cell = _cell(live.get("primitive")) if live.get("determined") is True else None
    orientation = _matrix(live.get("orientation"))
    lattice = live.get("bravais")
    damage = _object(live.get("damage"))
    return DataSet(
        number=number,
        crystal=crystal,
        run_dir=run_dir,
        cell=cell if orientation is not None else None,
        sigma=_sigma(live.get("primitive_sigma"), cell),
        camera_length_sigma=_number(live.get("camera_length_sigma")) or 0.0,
        lattice=lattice if isinstance(lattice, str) and cell is not None else "",
        orientation=orientation if cell is not None else None,
        start_deg=_number_or_nan(result.get("start_deg")),
        end_deg=_number_or_nan(result.get("end_deg")),
        d_min_A=_number(live.get("resolution_A")),
        completeness=_number(live.get("completeness")),
        indexed_share=_number(live.get("indexed")) or 0.0,
        lattices=int(_number(live.get("lattices")) or 0),
        second_share=_number(_object(live.get("second")).get("share")) or 0.0,
        ended=_words(result.get("reason")),
        damage=_words(damage.get("verdict")),
        reasons=_reasons(live),
        shadowed=_shadowed(live, _number_or_nan(result.get("end_deg"))),
        absent=_told_parts(live, "absent_deg"),
    )


def _reasons(live: Mapping[str, object]) -> tuple[str, ...]:
    if not live:
        return ("nobody has looked at it",)
    told = live.get("reasons")
    return tuple(map(_words, told)) if isinstance(told, list) else ()


def _shadowed(live: Mapping[str, object], end_deg: float) -> tuple[Part, ...]:
    """What the last look says; a shadow that had not ended then goes on."""
    parts = _told_parts(live, "shadowed_deg")
    if parts and _number(live.get("in_shadow_deg")):
        return (*parts[:-1], (parts[-1][0], end_deg))
    return parts


def _told_parts(live: Mapping[str, object], name: str) -> tuple[Part, ...]:
    told = live.get(name)
    listed = [each for each in told if isinstance(each, list) and len(each) == 2] if isinstance(told, list) else []
    parts = tuple((_number_or_nan(begin), _number_or_nan(end)) for begin, end in listed)
    return parts if all(math.isfinite(angle) for part in parts for angle in part) else ()


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _words(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _number_or_nan(value: object) -> float:
    known = _number(value)
    return math.nan if known is None else known


def _six(values: object) -> list[float] | None:
    if not isinstance(values, list) or len(values) != 6:
        return None
    numbers = [_number(value) for value in values]
    return None if None in numbers else [each for each in numbers if each is not None]


def _cell(values: object) -> Cell | None:
    six = _six(values)
    if six is None or not (min(six) > 0 and max(six[3:]) < 180):
        return None
    cell = Cell(*six)
    return cell if cell.volume_A3 > 1 else None


UNKNOWN_RELATIVE, UNKNOWN_DEG = 0.01, 1.0
"""How well a cell is known of which nobody says it: live calls none determined that is known worse."""


def _sigma(values: object, cell: Cell | None) -> Array:
    six = _six(values)
    if six is not None and min(six) >= 0:
        return np.array(six)
    lengths = np.array(cell.parameters[:3]) if cell else np.ones(3)
    return np.concatenate([UNKNOWN_RELATIVE * lengths, np.full(3, UNKNOWN_DEG)])


def _matrix(rows: object) -> Array | None:
    if not isinstance(rows, list):
        return None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return matrix if matrix.shape == (3, 3) and abs(np.linalg.det(matrix)) > 1e-12 else None
