"""A finished SerialED run as its writers see it: run.json, trace and frames.h5, read and checked; read only.

What the files hold is told by `crystaltable`; pictures are read one at a time. Errors are `DataError` with the file,
the cause and the remedy. A run whose trace or frames are damaged in parts is read as far as they go, and says so
(`lost`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from drivers.geometry import per_px_A
from drivers.judged import geometry_cannot_be
from engine.errors import DataError
from engine.frame import Picture
from engine.record.document import RUN_FILE, RunDocument
from engine.record.found import read_found
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.spool import SPOOL_FILE
from engine.record.spoolformat import FrameInfo
from engine.record.trace import Record
from protocols.products.corrections import Correction, correction
from protocols.products.cross import GROWTH_PX
from protocols.serialed.results.crystaltable import IMAGE, PATTERN, SerialTables, tables_of
from protocols.serialed.results.runknown import scale_of

COLUMNS = {
    IMAGE: ("field", "x_nm", "y_nm", "nm_per_px"),
    PATTERN: (
        *("field", "crystal", "fast_px", "slow_px", "x_nm", "y_nm", "beam_x", "beam_y", "length_nm", "is_isolated"),
    ),
}
"""Of each kind, those that are read here."""
MAX_COUNT = 65535


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """The run's patterns as one stack, for files that link to them (`products.nexus.Stack`, `Instrument`).

    Slot k is pattern k - 1. nominal_beam: on the grid of equal pixels, pixel i covers [i, i + 1).
    """

    count: int
    raw_shape: tuple[int, int]
    raw_type: str
    raw_place: str
    wide_cross: bool
    saturation: int
    created_at: datetime
    detector: str
    exposure_s: float
    wavelength_A: float
    camera_length_mm: float
    pixel_size_mm: float
    rotation_axis_deg: float
    rotation_axis_tilt_deg: float
    nominal_beam_fast_px: float
    nominal_beam_slow_px: float
    distortion_amplitude_percent: float
    distortion_azimuth_deg: float
    origins: Mapping[str, str]
    calibrated: Mapping[str, Mapping[str, Any]]
    camera_hand: float | None

    @property
    def slot(self) -> NDArray[np.int32]:
        """One for each pattern, from 1."""
        return np.arange(1, self.count + 1, dtype=np.int32)

    @property
    def row(self) -> NDArray[np.int64]:
        """Where each lies in frames.h5."""
        return np.arange(self.count, dtype=np.int64)

    @property
    def last_slot(self) -> int:
        """The last one."""
        return self.count

    @property
    def period_s(self) -> float:
        """Patterns follow one another as they come: their exposure."""
        return self.exposure_s

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid of equal pixels."""
        rows, columns = self.raw_shape
        return (rows + GROWTH_PX, columns + GROWTH_PX) if self.wide_cross else (rows, columns)

    @property
    def inverse_A_per_px(self) -> float:
        """Reciprocal length of a pixel."""
        return per_px_A(self.pixel_size_mm, self.camera_length_mm, self.wavelength_A)


@dataclass(frozen=True, slots=True, eq=False)
class SerialSource:
    """A run that has ended. records: of its trace, header first, as far as they can be read. frames: those in the file.
    lost: what could not be read, a line each. file: None where there are no frames.
    """

    folder: Path
    document: RunDocument
    header: Record
    records: Sequence[Record]
    frames: Sequence[FrameInfo]
    tables: SerialTables
    file: FramesFile | None
    lost: Sequence[str] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.document.run_id or self.folder.name

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Rows and columns of an image on equal pixels; None where there is none."""
        return None if self.file is None else _grid(self.file, self.document)

    def of_kind(self, kind: str) -> list[FrameInfo]:
        """The frames of one kind, in order."""
        return [frame for frame in self.frames if frame.kind == kind]

    def image(self, number: int) -> Picture:
        """Raw counts (rows, columns) of an image, from 0. DataError for a damaged one."""
        return self._picture(IMAGE, number)

    def pattern(self, number: int) -> Picture:
        """Raw counts (rows, columns) of a pattern, from 0. DataError for a damaged one."""
        return self._picture(PATTERN, number)

    def _picture(self, kind: str, number: int) -> Picture:
        if self.file is None:
            raise DataError(f"{self.folder / DATA_FILE}: the run kept no frames")
        return self.file.picture(kind, number)

    def correction(self) -> Correction:
        """How pictures become equal pixels (`products.corrections`)."""
        detector = self.document.instrument.get("detector") or {}
        response = None if self.file is None else self.file.extra("flatfield")
        flat = None if response is None else response.astype(np.float32)
        return correction(flat, bool(detector.get("wide_cross")), int(detector.get("saturation") or 0))

    def patterns(self) -> Patterns | None:
        """The stack of patterns; None for a run without. DataError for a geometry that no instrument has, or none."""
        path = self.folder / RUN_FILE
        count = 0 if self.file is None or PATTERN not in self.file.kinds else self.file.pictures(PATTERN)
        if self.file is None or not count:
            return None
        try:
            geometry = {**self.document.instrument["geometry"]}
            figures = {name: float(geometry[name]) for name in Geometry.__dataclass_fields__ if name in geometry}
            known = Geometry(**figures)
            detector = self.document.instrument["detector"]
            created_at = datetime.fromisoformat(self.document.created_at or "")
            pixel = self.file.dtype(PATTERN)
            most = int(np.iinfo(pixel).max) if pixel.kind in "iu" else MAX_COUNT
            calibration = self.document.instrument.get("calibration") or {}
            measured = calibration.get("figures") or {}
            made = Patterns(
                count=count,
                raw_shape=self.file.shape(PATTERN),
                raw_type=pixel.newbyteorder("<").str,
                raw_place=self.file.data_place(PATTERN),
                wide_cross=bool(detector.get("wide_cross")),
                saturation=int(detector.get("saturation") or most),
                created_at=created_at,
                detector=str(detector.get("name") or ""),
                exposure_s=self.exposure_s(PATTERN),
                wavelength_A=known.wavelength_A,
                camera_length_mm=known.camera_length_mm,
                pixel_size_mm=known.pixel_size_mm,
                rotation_axis_deg=known.rotation_axis_deg,
                rotation_axis_tilt_deg=known.rotation_axis_tilt_deg,
                nominal_beam_fast_px=known.beam_fast_px,
                nominal_beam_slow_px=known.beam_slow_px,
                distortion_amplitude_percent=known.distortion_amplitude_percent,
                distortion_azimuth_deg=known.distortion_azimuth_deg,
                origins={str(k): str(v) for k, v in (self.document.instrument.get("origins") or {}).items()},
                calibrated={
                    name.removeprefix("geometry."): figure
                    for name, figure in measured.items()
                    if name.startswith("geometry.")
                },
                camera_hand=calibration.get("camera_hand"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: does not tell geometry and camera ({type(error).__name__}: {error}); nothing was exported. "
                f"`credline recover {self.folder}` rewrites it"
            ) from error
        if why := geometry_cannot_be(known, made.shape):
            raise DataError(f"{path}: {why} Nothing was exported. Correct the devices file for the next run")
        return made

    def exposure_s(self, kind: str) -> float:
        """The exposure of the frames of a kind: the median, 0 where there are none."""
        lengths = [frame.end_ns - frame.start_ns for frame in self.frames if frame.kind == kind]
        return float(np.median(lengths)) / 1e9 if lengths else 0.0


@contextmanager
def open_serial(folder: Path) -> Iterator[SerialSource]:
    """The run in a folder, for as long as the context lasts. Raises DataError for what is no SerialED run, has not
    ended, or cannot be read.
    """
    document = RunDocument.read(folder)
    if not document.has_ended or (folder / SPOOL_FILE).exists():
        raise DataError(
            f"{folder / RUN_FILE}: the run has not ended, or was killed; wait for its end, or "
            f"`credline recover {folder}`"
        )
    found = read_found(folder, COLUMNS)
    if not found.remains.records and not found.remains.frames:
        raise DataError(f"{folder}: neither its trace nor its frames can be read ({'; '.join(found.lost)})")
    file = FramesFile(folder / DATA_FILE) if (folder / DATA_FILE).is_file() else None
    try:
        whole = _whole(found.remains.frames, file)
        shape = None if file is None else _grid(file, document)
        told, stage_px = scale_of(found.remains.header, found.remains.plan)
        tables = tables_of(found.remains.records, whole, shape or told, stage_px)
        lost = [line for line in found.lost if not line.startswith("journal.jsonl")]
        yield SerialSource(folder, document, found.remains.header, found.remains.records, whole, tables, file, lost)
    finally:
        if file is not None:
            file.close()


def _grid(file: FramesFile, document: RunDocument) -> tuple[int, int] | None:
    """Rows and columns of the images on equal pixels; None where there is no image."""
    if IMAGE not in file.kinds or not file.pictures(IMAGE):
        return None
    rows, columns = file.shape(IMAGE)
    wide = bool((document.instrument.get("detector") or {}).get("wide_cross"))
    return (rows + GROWTH_PX, columns + GROWTH_PX) if wide else (rows, columns)


def _whole(frames: Sequence[FrameInfo], file: FramesFile | None) -> list[FrameInfo]:
    """The frames that have a picture in the file: a table may be longer than what a damaged file still holds."""
    if file is None:
        return []
    room = {kind: file.pictures(kind) for kind in file.kinds}
    kept: list[FrameInfo] = []
    for frame in frames:
        if room.get(frame.kind, 0) > 0:
            room[frame.kind] -= 1
            kept.append(frame)
    return kept


def seconds(at_ns: int | None, origin_ns: int = 0) -> float:
    """An instant of the run in seconds since its beginning; NaN for none."""
    return math.nan if at_ns is None else (at_ns - origin_ns) / 1e9
