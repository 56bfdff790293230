"""The patterns of a serial run: one of each crystal, from frames.h5 of a run that has ended or the spool of one that
goes on.

Whatever a run's protocol is called: it counts when frames of the kind `pattern` are in its folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.geometry import per_px_A
from engine.errors import DataError, shown
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.spool import SPOOL_FILE, SpooledPictures, read_infos
from protocols.products.corrections import correction

KIND = "pattern"


@dataclass(frozen=True, slots=True, eq=False)
class SerialRun:
    """The patterns of a run, in the order of arrival.

    names: `N/M` of each, the number of the field and that of the crystal in it, or the number of the pattern from 1
    where its protocol does not say. per_px in 1/A. distortion: amplitude in % and azimuth in deg; None where the
    instrument's is not known to be other than none. picture: the corrected counts (rows, columns) of a pattern.
    going_on: the run has not ended, and this is what was on the disk.
    """

    names: Sequence[str]
    per_px: float
    wavelength_A: float
    distortion: tuple[float, float] | None
    picture: Callable[[int], NDArray[Any]]
    going_on: bool


def is_serial_run(folder: Path) -> bool:
    """Whether there are patterns, one a crystal, in a run folder. DataError for a damaged file."""
    if (folder / SPOOL_FILE).is_file():
        return next(read_infos(folder / SPOOL_FILE, KIND), None) is not None
    if not (folder / DATA_FILE).is_file():
        return False
    with FramesFile(folder / DATA_FILE) as frames:
        return KIND in frames.kinds


def open_serial_run(folder: Path) -> SerialRun:
    """The patterns that are there. DataError for files that are damaged, or do not say what is needed."""
    run = RunDocument.read(folder)
    try:
        geometry, detector = run.instrument["geometry"], run.instrument["detector"]
        wavelength_A = float(geometry["wavelength_A"])
        per_px = per_px_A(float(geometry["pixel_size_mm"]), float(geometry["camera_length_mm"]), wavelength_A)
        lens = tuple(float(geometry.get(f"distortion_{name}", 0.0)) for name in ("amplitude_percent", "azimuth_deg"))
        wide_cross, saturation = bool(detector.get("wide_cross")), int(detector.get("saturation") or 0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise DataError(
            f"{folder / 'run.json'}: its geometry is not complete ({type(error).__name__}: {shown(error)}); correct it "
            "there, or take the pictures themselves with --per-px and --voltage"
        ) from error
    names, raw, flatfield = _from_spool(folder) if (folder / SPOOL_FILE).is_file() else _from_data(folder)
    correct = correction(flatfield, wide_cross, saturation)
    return SerialRun(
        names,
        per_px,
        wavelength_A,
        (lens[0], lens[1]) if lens[0] else None,
        lambda i: correct.apply(raw(i))[0],
        not run.has_ended,
    )


Raw = Callable[[int], NDArray[Any]]


def _from_spool(folder: Path) -> tuple[list[str], Raw, NDArray[np.float32] | None]:
    """The flatfield of a run that goes on is not in its folder yet."""
    infos = list(read_infos(folder / SPOOL_FILE, KIND))
    pictures = SpooledPictures(folder / SPOOL_FILE)
    names = [_name(n, info.columns.get("field"), info.columns.get("crystal")) for n, info in enumerate(infos, 1)]
    return names, lambda i: pictures.picture(infos[i].index), None


def _from_data(folder: Path) -> tuple[list[str], Raw, NDArray[np.float32] | None]:
    frames = FramesFile(folder / DATA_FILE)
    table = frames.table(KIND)
    columns = table.dtype.names or ()
    field, crystal = (table[name].tolist() if name in columns else [None] * len(table) for name in ("field", "crystal"))
    names = [_name(n, f, c) for n, (f, c) in enumerate(zip(field, crystal, strict=True), 1)]
    found = frames.extra("flatfield")
    return names, lambda i: frames.picture(KIND, i), None if found is None else found.astype(np.float32)


def _name(number: int, field: object, crystal: object) -> str:
    return str(number) if field is None or crystal is None else f"{field}/{crystal}"
