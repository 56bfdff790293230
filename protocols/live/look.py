"""All that a rotation tells at one instant, as JSON: from its reflections so far to what a person reads.

`look` is a pure function of the reflections, the geometry as told, and the look before, from which it goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.lattice.cell import Cell, lattice_difference
from protocols.lattice.rotationfit import Observed, RotationFit
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.coverage import Coverage, Shell, coverage, resolution_A, shells
from protocols.live.crystal import FoundCrystal
from protocols.live.damage import damage
from protocols.live.geometryknown import GeometryKnown
from protocols.live.latticetype import Candidate, candidates, conventional
from protocols.live.mosaicity import Mosaicity, mosaicity
from protocols.live.phases import Phase, named
from protocols.live.secondlattice import lattices
from protocols.spots.joining import Reflections
from protocols.spots.shadow import Part, beside_shadows, without

Array = NDArray[np.float64]

DISTANT_A = 0.8
"""Reflections are reckoned to that spacing at most."""
TYPE_KNOWN_TO, TYPE_KNOWN_TO_DEG = 0.004, 0.4
"""Ratios and angles known worse allow nearly any symmetry: no type is said."""
MORE_DEG = (10.0, 20.0, 30.0, 45.0, 60.0)
STAGE_DEG = 60.0
"""Between so many degrees to either side other ranges are thought of, where the plan says nothing else."""
OFF_SIGMAS = 4.0
LEAST_OFF_DEG, LEAST_OFF_PX = 0.2, 1.0
"""What is told of the geometry is called wrong when it is off by so many standard deviations, and so much at least."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of instrument and camera.

    geometry: as told. frame_deg: width of a frame. shape: rows, columns of the corrected picture.
    stage_deg: limits of the stage. phases: known cells.
    """

    geometry: RotationGeometry
    shape: tuple[int, int]
    frame_deg: float
    known: GeometryKnown = field(default_factory=GeometryKnown)
    stage_deg: tuple[float, float] = (-STAGE_DEG, STAGE_DEG)
    phases: Sequence[Phase] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found. told: JSON for people and files."""

    told: dict[str, Any]
    found: FoundCrystal | None

    @property
    def fit(self) -> RotationFit | None:
        """Of the lattice, determined or not, from which the next look goes on; None without one."""
        return None if self.found is None else self.found.fit


def observed(reflections: Reflections) -> Observed:
    """Reflections as a fit takes them."""
    return Observed(*(getattr(reflections, each.name) for each in fields(Observed)))


def look(
    reflections: Reflections,
    whole: Part,
    setting: Setting,
    before: RotationFit | None = None,
    dark: Sequence[Part] = (),
) -> Look:
    """All there is to say of the reflections of a rotation so far. 0.1 s with a fit before, else 0.5 s and more.

    dark: its parts in a shadow, where nothing is measured.
    """
    parts = beside_shadows(whole, dark)
    seen = observed(reflections)
    found, other = lattices(seen, setting.geometry, setting.known, before)
    told: dict[str, Any] = {
        "deg": round(abs(whole[1] - whole[0]), 3),
        "reflections": len(reflections),
        "determined": False,
        "cell": None,
        "bravais": None,
        "indexed": 0.0,
        "lattices": 0,
        "resolution_A": None,
        "completeness": None,
    }
    if dark:
        told["shadowed_deg"] = [[round(angle, 2) for angle in part] for part in dark]
        begin, end = dark[-1]
        if end == whole[1] and begin != whole[0]:
            told["in_shadow_deg"] = round(abs(end - begin), 2)
    if found is None:
        return Look(told | {"reasons": [_none_found(len(reflections))]}, None)
    told |= {"reasons": list(found.reasons), "indexed": round(found.share, 4)}
    told |= _primitive(found)
    if not found.determined:
        return Look(told, found)
    types = candidates(found.cell, found.sigma)
    told |= _cell(found, types)
    told |= {"determined": True, "lattices": 1 if other is None else 2, "second": _second(other, found)}
    likeliest = next(each for each in types if each.allowed).bravais
    covered = coverage(found.fit.ub, likeliest, found.fit.geometry, setting.shape, DISTANT_A)
    lit, used = parts, found.fit.used
    beside = covered.absences(parts, found.fit.hkl[used], seen.angle_deg[used])
    if beside:
        told["absent_deg"] = [[round(angle, 2) for angle in _as_turned(part, whole)] for part in beside]
        parts = without(parts, beside)
    strength = reflections.intensity[used] / reflections.intensity_sigma[used]
    by_shell = shells(covered, parts, found.fit.hkl[used], strength)
    told |= {
        "resolution_A": _rounded(resolution_A(by_shell), 3),
        "shells": [_shell(each) for each in by_shell],
        "mosaicity": _mosaicity(mosaicity(reflections, found.fit, setting.frame_deg)),
        "geometry": _geometry(found, setting),
        "phases": named(found.cell, found.sigma, list(setting.phases)),
    }
    told |= _completeness(covered, whole, parts, told["resolution_A"], setting)
    resolved_A = told["resolution_A"]
    told["damage"] = damage(reflections, found.fit, covered, whole, lit, setting.frame_deg, resolved_A, likeliest)
    return Look(told, found)


def _as_turned(part: Part, whole: Part) -> Part:
    return part if whole[1] >= whole[0] else (part[1], part[0])


def _none_found(count: int) -> str:
    return f"no lattice is found in {count} reflections" if count else "no reflections were seen"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _numbers(cell: Cell) -> list[float]:
    return [round(x, 4) for x in cell.parameters]


def _rows(matrix: Array) -> list[list[float]]:
    return [[round(float(x), 7) for x in row] for row in matrix]


def _primitive(found: FoundCrystal) -> dict[str, Any]:
    """The numbers of the primitive lattice. orientation: (3, 3) columns a*, b*, c*, 1/A, of the crystal at angle 0."""
    return {
        "primitive": _numbers(found.cell),
        "primitive_sigma": [round(float(x), 5) for x in (*found.sigma.lengths_A, *found.sigma.angles_deg)],
        "camera_length_sigma": round(found.sigma.camera_length, 5),
        "orientation": _rows(found.fit.ub),
    }


def _cell(found: FoundCrystal, types: Sequence[Candidate]) -> dict[str, Any]:
    """Conventional where the type is known. axes: (3, 3) columns a*, b*, c* of that cell, as those of `_primitive`."""
    sure = found.sigma.ratio < TYPE_KNOWN_TO and float(found.sigma.angles_deg.max()) < TYPE_KNOWN_TO_DEG
    best = next(each for each in types if each.allowed) if sure else types[-1]
    cell, sigma = conventional(best, found.cell, found.sigma)
    axes = np.linalg.inv(best.bravais.basis @ best.bravais.reduction @ np.linalg.inv(found.fit.ub))
    axes *= np.sign(np.linalg.det(axes))  # right-handed, as that of `fit` is
    return {
        "cell": _numbers(cell),
        "axes": _rows(axes),
        "cell_sigma": [round(float(x), 5) for x in sigma],
        "bravais": best.bravais.symbol if sure else None,
        "bravais_candidates": [
            {"symbol": each.bravais.symbol, "chance": float(f"{each.chance:.2g}")} for each in types
        ],
        "volume_A3": round(cell.volume_A3, 1),
    }


def _second(other: FoundCrystal | None, found: FoundCrystal) -> dict[str, Any] | None:
    if other is None:
        return None
    length, angle_deg = lattice_difference(other.cell, found.cell)
    return {
        "cell": _numbers(other.cell),
        "share": round(float(other.fit.used.mean() * (1 - found.share)), 4),
        "same_cell": length < 0.02 and angle_deg < 1.0,
    }


def _shell(each: Shell) -> dict[str, Any]:
    return {
        "from_A": round(min(each.from_A, 99.0), 3),
        "to_A": round(each.to_A, 3),
        "passed": each.passed,
        "found": round(each.found, 3),
        "i_over_sigma": round(each.i_over_sigma, 2),
    }


def _mosaicity(told: Mosaicity | None) -> dict[str, Any] | None:
    if told is None:
        return None
    if told.value_deg is None or told.sigma_deg is None:
        return {"at_most_deg": round(told.limit_deg, 3)}
    return {"deg": round(told.value_deg, 3), "sigma_deg": round(told.sigma_deg, 3)}


def _geometry(found: FoundCrystal, setting: Setting) -> dict[str, Any]:
    """What was fitted, and what of the told is wrong, in words."""
    told, fitted = setting.geometry, found.fit.geometry
    values = {
        "axis_deg": (LEAST_OFF_DEG, "the rotation axis is off by {:+.2f} deg from what is told"),
        "beam_fast_px": (LEAST_OFF_PX, "the beam is off by {:+.2f} px along fast from what is told"),
        "beam_slow_px": (LEAST_OFF_PX, "the beam is off by {:+.2f} px along slow from what is told"),
        "camera_length_px": (0.0, "the camera length is off by {:+.2%} from what is told"),
    }
    result: dict[str, Any] = {}
    wrong = []
    for name, (least, words) in values.items():
        off, sigma = getattr(fitted, name) - getattr(told, name), found.fit.sigma(name)
        result[name] = [round(getattr(fitted, name), 4), round(sigma, 4)]
        if sigma > 0 and abs(off) > max(OFF_SIGMAS * sigma, least):
            wrong.append(words.format(off / told.camera_length_px if name == "camera_length_px" else off))
    return result | {"off": wrong}


def _completeness(
    covered: Coverage, whole: Part, parts: Sequence[Part], d_min_A: float | None, setting: Setting
) -> dict[str, Any]:
    """Reached, after more of the same rotation, and of as long a range that had begun elsewhere."""
    start_deg, end_deg = whole
    way = 1 if end_deg >= start_deg else -1
    low, high = setting.stage_deg
    reached = covered.completeness(*parts, d_min_A=d_min_A)
    more = {}
    for degrees in MORE_DEG:
        if low <= (end := end_deg + way * degrees) <= high:
            more[f"{degrees:g}"] = round(covered.completeness(*parts, (end_deg, end), d_min_A=d_min_A), 4)
    length = abs(end_deg - start_deg)
    starts = np.arange(low, high - length + 1e-9, 10.0).tolist()
    elsewhere = [(covered.completeness((start, start + length), d_min_A=d_min_A), start) for start in starts]
    best = max(elsewhere, default=None)
    return {
        "completeness": round(reached, 4),
        "completeness_after": more,
        "completeness_best": None if best is None else {"start_deg": best[1], "completeness": round(best[0], 4)},
    }
