"""The intensities of one cRED run, for merging with others: by its crystal.json, from its frames.

The lattice and the geometry that a look has found are in `crystal.json`; with them all reflections of the range are
integrated (`protocols.integration.observing`). Done once for a run: the result is kept beside the merged files.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from engine.errors import CredlineError, DataError, shown
from protocols.integration.observing import observe
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.live.frames import open_frames
from protocols.live.structurefactors import BEGIN, series
from protocols.products.atomic import make_folder, replacing
from protocols.products.foundcrystal import FoundCrystal, found_crystal
from protocols.products.source import open_run

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

FIGURES = ("hkl", "intensity", "sigma", "frame", "angle_deg", "ub", "d_min_A")


@dataclass(frozen=True, slots=True, eq=False)
class Integrated:
    """(n,) observations of a run. hkl: (n, 3) in the axes of ub (3, 3); intensity: proportional to |F|^2; sigma: of it;
    frame: index of that in which its middle is; angle_deg: of the stage then. d_min_A: how far was integrated. why_not:
    in words, where there are none.
    """

    hkl: Indices
    intensity: Array
    sigma: Array
    frame: NDArray[np.intp]
    angle_deg: Array
    ub: Array
    d_min_A: float
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """number: of the data set. folder: of the run. keep: file (.npz) of the result; where it stands already, with the
    same lattice and as far as d_min_A, nothing is computed.
    """

    number: int
    folder: Path
    keep: Path
    d_min_A: float


def integrated(job: Job) -> tuple[Job, Integrated]:
    """For an executor: does not raise. 5 to 20 ms of processor time a frame."""
    try:
        return job, _integrated(job)
    except (CredlineError, OSError, ValueError, KeyError, np.linalg.LinAlgError) as error:
        return job, _none(shown(error, 300))


def _integrated(job: Job) -> Integrated:
    found = _found(job.folder)
    kept = _kept(job, found)
    if kept is not None:
        return kept
    result = measured(job.folder, job.d_min_A)
    if not result.why_not:
        make_folder(job.keep.parent)
        with replacing(job.keep) as part, part.open("wb") as file:
            file.write(as_bytes(result))
    return result


def measured(folder: Path, d_min_A: float) -> Integrated:
    """The intensities of a run that has ended. DataError where nobody has looked at it, and for damaged files."""
    found = _found(folder)
    if not found.determined:
        return _none("; ".join(found.reasons) or "no cell is determined")
    with open_run(folder) as source:
        wavelength_A, pixel_size_mm = source.info.wavelength_A, source.info.pixel_size_mm
    with open_frames(folder, None) as frames:
        geometry = _geometry(wavelength_A, pixel_size_mm, found)
        seen = observe(series(frames, len(frames.slot)), found.ub, geometry, d_min_A, BEGIN)
    some = seen.kept
    return Integrated(
        hkl=seen.passages.hkl[some],
        intensity=seen.intensity[some],
        sigma=seen.sigma[some],
        frame=seen.frame[some],
        angle_deg=seen.passages.angle_deg[some],
        ub=found.ub,
        d_min_A=d_min_A,
    )


def _found(folder: Path) -> FoundCrystal:
    with open_run(folder) as source:
        found = found_crystal(source.info)
    if found is None:
        raise DataError(f"nobody has looked at it: credline live {folder}")
    return found


def as_bytes(of: Integrated) -> bytes:
    """For a file (.npz); `from_bytes` reads it."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: getattr(of, name) for name in FIGURES})
    return file.getvalue()


def from_bytes(data: bytes) -> Integrated:
    """What `as_bytes` made. ValueError, KeyError, OSError or BadZipFile for anything else."""
    with np.load(io.BytesIO(data), allow_pickle=False) as told:
        values: dict[str, Any] = {name: told[name] for name in FIGURES}
    return Integrated(**{**values, "d_min_A": float(values["d_min_A"])})


def _geometry(wavelength_A: float, pixel_size_mm: float, found: FoundCrystal) -> RotationGeometry:
    """As the look has fitted it."""
    fitted = {name: each.value for name, each in found.fitted.items()}
    return RotationGeometry.of(Geometry(wavelength_A=wavelength_A, pixel_size_mm=pixel_size_mm, **fitted))


def _kept(job: Job, found: FoundCrystal) -> Integrated | None:
    try:
        kept = from_bytes(job.keep.read_bytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if kept.d_min_A > job.d_min_A + 1e-6 or not np.allclose(kept.ub, found.ub, atol=1e-9):
        return None
    return kept


def _none(why: str) -> Integrated:
    return Integrated(
        np.empty((0, 3), np.int64), *(np.empty(0),) * 2, np.empty(0, np.intp), np.empty(0), np.eye(3), 0.0, why
    )  # fmt: skip
