"""What a rotation told of its crystal, as `crystal.json` in the run folder keeps it: read and checked for the writers.

`protocols.live.keeping` writes the file, after a run with `live = true` and after `credline live`. Cells here go with a
camera length: who is told another one needs the cell that it makes of the same pictures (`FoundCrystal.scaled_to`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, shown
from engine.record.jsonobject import JsonDict
from protocols.lattice.cell import Cell
from protocols.products.source import RunInfo

CRYSTAL_FILE = "crystal.json"
SCHEMA = 1
LETTERS = 400
"""Of a line of words that is taken over."""

LARGEST = 1e12
"""No figure here is: what is larger is damage."""

LONGEST_A, SMALLEST_A3, LARGEST_PER_A = 1e4, 1.0, 1e3

GEOMETRY = (
    "wavelength_A", "camera_length_mm", "pixel_size_mm", "rotation_axis_deg", "rotation_axis_tilt_deg",
    "nominal_beam_fast_px", "nominal_beam_slow_px", "distortion_amplitude_percent", "distortion_azimuth_deg",
)  # fmt: skip
"""Of `RunInfo`: what a lattice is found with."""

FITTED = (
    "rotation_axis_deg", "rotation_axis_tilt_deg", "beam_fast_px", "beam_slow_px", "camera_length_mm",
    "distortion_amplitude_percent", "distortion_azimuth_deg",
)  # fmt: skip

Array = NDArray[np.float64]
Six = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A figure of the geometry as the reflections say it, and its standard deviation."""

    value: float
    sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class FoundCrystal:
    """A crystal as it was found, or why none was.

    deg: of rotation that was looked at. reasons: why no cell is determined; empty where one is. cell, cell_sigma:
    conventional where the `bravais` type is known; all six in A and deg. primitive, primitive_sigma: the reduced cell,
    of which `ub` (3, 3) has the columns a*, b*, c* in 1/A, in the crystal at stage angle 0 and the frame of `RunInfo`;
    ub_as_told: what comes nearest to that in the geometry as it was told; axes: as ub, of `cell`.
    camera_length_sigma: share of the lengths that is not known for the camera length's sake. fitted: of the geometry,
    by the names of `drivers.facts.Geometry`. reflections: how many were seen; indexed: share of them that is of the
    lattice. resolution_A: to which they are seen. words: what `credline live` says at its end, one line each. points:
    (n, 5) of the brightest reflections: place in 1/A in the frame of `ub`, counts, 1 where it is of the lattice, else
    0.
    """

    deg: float
    determined: bool
    reasons: tuple[str, ...]
    cell: Six
    cell_sigma: Six
    bravais: str | None
    primitive: Six
    primitive_sigma: Six
    camera_length_sigma: float
    ub: Array
    ub_as_told: Array
    axes: Array
    fitted: Mapping[str, Fitted]
    reflections: int
    indexed: float
    resolution_A: float | None
    words: tuple[str, ...]
    points: Array

    def scaled_to(self, camera_length_mm: float, cell: Six) -> Six:
        """What another camera length makes of a cell: all lengths change by the same share."""
        share = camera_length_mm / self.fitted["camera_length_mm"].value
        a, b, c, *angles = cell
        alpha, beta, gamma = angles
        return a * share, b * share, c * share, alpha, beta, gamma


def asked_of(info: RunInfo) -> JsonDict:
    """What a crystal was looked for with: another geometry in run.json since then makes another crystal."""
    return {name: getattr(info, name) for name in GEOMETRY} | {"beam": info.plan.get("beam")}


def found_crystal(info: RunInfo) -> FoundCrystal | None:
    """The crystal of a run; None where nobody has looked, or with another geometry than run.json has now.

    DataError, with the remedy, for a file that is damaged.
    """
    path = info.folder / CRYSTAL_FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(info, error) from error
    try:
        if told["schema"] != SCHEMA:
            raise ValueError(f"schema {shown(told['schema'])} is not known")
        return _crystal(told) if told["asked"] == asked_of(info) else None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _unreadable(info, error) from error


def _unreadable(info: RunInfo, error: Exception) -> DataError:
    return DataError(
        f"{info.folder / CRYSTAL_FILE}: {type(error).__name__} {shown(error)}; the files have nothing of the crystal. "
        f"`credline live {info.folder}` writes it anew, then `credline export {info.folder}`"
    )


def _crystal(told: Any) -> FoundCrystal:
    determined = told["determined"] is True
    points = np.asarray(told["points"], dtype=np.float64).reshape(-1, 5)
    if not (np.abs(points[:, :3]) < LARGEST_PER_A).all() or not (np.abs(points[:, 3:]) < LARGEST).all():
        raise ValueError("a reflection has no place")
    if determined and not _number(told["fitted"]["camera_length_mm"]["value"]) > 0:
        raise ValueError("the camera length is none")
    return FoundCrystal(
        deg=_number(told["deg"]),
        determined=determined,
        reasons=tuple(shown(reason, LETTERS) for reason in told["reasons"]),
        cell=_cell(told["cell"]) if determined else _NO_CELL,
        cell_sigma=_six(told["cell_sigma"]) if determined else _NO_CELL,
        bravais=None if told["bravais"] is None else shown(told["bravais"]),
        primitive=_cell(told["primitive"]) if determined else _NO_CELL,
        primitive_sigma=_six(told["primitive_sigma"]) if determined else _NO_CELL,
        camera_length_sigma=_number(told["camera_length_sigma"]) if determined else 0.0,
        ub=_matrix(told["orientation"]) if determined else np.eye(3),
        ub_as_told=_matrix(told["orientation_as_told"]) if determined else np.eye(3),
        axes=_matrix(told["axes"]) if determined else np.eye(3),
        fitted={name: _fitted(told["fitted"][name]) for name in FITTED} if determined else {},
        reflections=int(_number(told["reflections"])),
        indexed=_number(told["indexed"]),
        resolution_A=None if told["resolution_A"] is None else _number(told["resolution_A"]),
        words=tuple(shown(line, LETTERS) for line in told["words"]),
        points=points,
    )


_NO_CELL: Six = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _fitted(told: Any) -> Fitted:
    return Fitted(_number(told["value"]), _number(told["sigma"]))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise ValueError(f"{shown(value)} is no number")
    return float(value)


def _six(values: Any) -> Six:
    a, b, c, alpha, beta, gamma = (_number(value) for value in values)
    return a, b, c, alpha, beta, gamma


def _cell(values: Any) -> Six:
    six = _six(values)
    if not (min(six) > 0 and max(six[:3]) < LONGEST_A and max(six[3:]) < 180 and Cell(*six).volume_A3 > SMALLEST_A3):
        raise ValueError("no cell has such numbers")
    return six


def _matrix(rows: Any) -> Array:
    matrix = np.array([[_number(value) for value in row] for row in rows])
    if matrix.shape != (3, 3) or not LONGEST_A**-3 < abs(np.linalg.det(matrix)) < 1 / SMALLEST_A3:
        raise ValueError("the orientation is none")
    return matrix
