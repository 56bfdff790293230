"""A saved picture as a file for people and other programs: TIFF with its geometry, `images/0001.tiff` in the folder.

Written when it is saved, and by who finishes or recovers the run where it is not there. The counts are as the camera
gave them, not flattened, and a wide cross is not widened: the description says so.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog

from drivers.geometry import per_px_A
from engine.errors import CredlineError
from engine.frame import Picture
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.spool import SpooledFrame
from protocols.products.atomic import write_file
from protocols.products.tiff import described_header

log = structlog.get_logger()

FOLDER = "images"
MOST = 65535


@dataclass(frozen=True, slots=True)
class Image:
    """A saved picture. number: from 1. counts: (rows, columns). start_ns: in the run. columns: of `SAVED`."""

    number: int
    counts: Picture
    start_ns: int
    columns: Mapping[str, object]


def place_of(folder: Path, number: int) -> Path:
    """The file of an image."""
    return folder / FOLDER / f"{number:04d}.tiff"


def write_image(folder: Path, document: RunDocument, image: Image) -> None:
    """Write one while the view goes; a failure costs the file, which is made at the end, and not the view."""
    try:
        _write(folder, document, image)
    except CredlineError as error:
        log.warning("an image could not be written; it is written when the view ends", cause=str(error))


def write_missing(folder: Path, frames: Iterable[SpooledFrame]) -> list[Path]:
    """Write those that are not there yet; which were. frames: the saved ones, in order. Raises StorageError."""
    written, document = [], None
    for number, frame in enumerate(frames, 1):
        if place_of(folder, number).exists():
            continue
        document = document or RunDocument.read(folder)
        written.append(_write(folder, document, Image(number, frame.counts, frame.start_ns, frame.columns)))
    return written


def _write(folder: Path, document: RunDocument, image: Image) -> Path:
    path = place_of(folder, image.number)
    path.parent.mkdir(exist_ok=True)
    counts = image.counts
    whole = np.nan_to_num(counts) if counts.dtype.kind == "f" else counts
    pixels = np.clip(whole, 0, MOST).astype("<u2")
    said = description(document, image) | {"clipped_pixels": int(np.count_nonzero(pixels != whole))}
    shape = (pixels.shape[0], pixels.shape[1])
    write_file(path, described_header(shape, json.dumps(said), f"credline {document.version}"), pixels)
    return path


def description(document: RunDocument, image: Image) -> JsonDict:
    """What is known of a picture, units in the names; what is not known is null.

    wavelength, pixel size, tilt, lenses; of a pattern its 1/A per pixel by the nominal camera length where that is the
    geometry's, and where the beam is on the corrected grid (`docs/products.md`).
    """
    geometry, detector = document.instrument.get("geometry", {}), document.instrument.get("detector", {})
    told = {name: _known(value) for name, value in image.columns.items()}
    length_mm, pixel_mm, wavelength_A = (
        _known(geometry.get(name)) for name in ("camera_length_mm", "pixel_size_mm", "wavelength_A")
    )
    pattern = told.get("mode") == "diffraction" and told.get("camera_length_mm") == length_mm
    numbers = [each for each in (pixel_mm, length_mm, wavelength_A) if isinstance(each, int | float) and each > 0]
    return {
        "run_id": document.run_id,
        "image": image.number,
        "started_at": _wall_time(document, image.start_ns),
        **told,
        "pixel_size_mm": pixel_mm,
        "wavelength_A": wavelength_A,
        "per_px_A": per_px_A(*numbers) if pattern and len(numbers) == 3 else None,
        "beam_fast_px": _known(geometry.get("beam_fast_px")) if pattern else None,
        "beam_slow_px": _known(geometry.get("beam_slow_px")) if pattern else None,
        "counts": "as the camera gave them",
        "wide_cross": detector.get("wide_cross"),
    }


def _known(value: object) -> object:
    return None if value == "" or (isinstance(value, float) and not math.isfinite(value)) else value


def _wall_time(document: RunDocument, run_ns: int) -> str | None:
    try:
        begun = datetime.fromisoformat(document.created_at or "")
    except ValueError:
        return None
    return (begun + timedelta(microseconds=run_ns / 1000)).isoformat(timespec="milliseconds")
