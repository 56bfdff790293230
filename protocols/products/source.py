"""A finished run as the writers see it: `run.json` and `frames.h5`, read and checked, one frame at a time.

Everything downstream (corrections, image writers, instruction files, report) takes a `RunInfo` and single
frames from here, and nothing else: no live driver, no plan object. Errors are `DataError` with the file, the
cause and the remedy; the files of the run are only ever opened for reading.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from drivers.facts import PacedFacts
from drivers.geometry import per_px_A
from engine.errors import DataError, shown
from engine.frame import Picture
from engine.record.document import RUN_FILE, RunDocument
from engine.record.frametable import FramesFile, first_line
from protocols.products.checkedgeometry import check_geometry

TEXT_LETTERS = 1000
FRAMES_FILE = "frames.h5"
SEVERAL = "crystals"
"""The key of a result by which a run tells of several crystals."""
ROTATION = ("start_deg", "oscillation_deg")
"""Keys of the result of a run with a rotation."""
KIND = "diffraction"
"""The kind of frame that products are made of."""
SNAPSHOT_KIND = "snapshot"
MAX_COUNT = 65535
"""The largest count of a product: all formats hold 16 bits."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot as run.json tells of it: its slot, when its exposure began, and the stage's angle then."""

    slot: int
    start_ns: int | None = None
    start_deg: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunInfo:
    """What a run says about itself, in the units of the names.

    rotation_axis_deg: direction of the tilt axis w in the picture; the axis is (cos w, sin w, 0) in the frame of
        fast = +x, slow = -y, beam towards -z. A positive stage angle is a right-handed rotation about it.
    rotation_axis_tilt_deg: how far it leans towards the source, so that its z is the sine of that.
    origins, calibrated: where each figure of the geometry is from; how sure those are that are calibrated, by their
        names (`drivers.calibration.calibrationfacts.CalibratedFigure` as JSON has it).
    camera_hand: -1 where the pictures are known to be mirrored, 1 where they are known not to be; None else.
    nominal_beam_fast_px, nominal_beam_slow_px: on the corrected grid; pixel i covers [i, i + 1).
    start_deg: stage angle at which slot 1 begins. oscillation_deg: signed width of one slot, so that slot k
        begins at `start_deg + (k - 1) * oscillation_deg`.
    slots: number of slots of the run, numbered from 1. slot: (n,) slot of each kept frame, ascending; row: (n,)
        its index in frames.h5; frame_*: (n,) its exposure. Every other slot of the run is a gap.
    stage_readings: begin and end of each reading and its distance from the fitted rotation in degrees.
    created_at: wall time at the run's clock 0, with its UTC offset.
    saturation: raw counts from which a pixel is saturated; the largest of the camera's type where nobody said.
    raw_place, table_place: datasets of pictures and table in frames.h5. raw_type: of the raw counts, as numpy names it.
    """

    folder: Path
    run_id: str
    version: str
    protocol: str
    status: str
    reason: str
    sample: str
    created_at: datetime
    plan: Mapping[str, Any]
    wavelength_A: float
    camera_length_mm: float
    pixel_size_mm: float
    rotation_axis_deg: float
    rotation_axis_tilt_deg: float
    nominal_beam_fast_px: float
    nominal_beam_slow_px: float
    distortion_amplitude_percent: float
    distortion_azimuth_deg: float
    raw_shape: tuple[int, int]
    saturation: int
    raw_place: str
    table_place: str
    raw_type: str
    wide_cross: bool
    detector: str
    slots: int
    exposure_s: float
    period_s: float
    start_deg: float
    oscillation_deg: float
    offset_uncertainty_deg: float | None
    snapshot_interval: int
    snapshots: tuple[SnapshotInfo, ...]
    lost_slots: tuple[int, ...]
    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    frame_start_ns: NDArray[np.int64]
    frame_end_ns: NDArray[np.int64]
    frame_start_deg: NDArray[np.float64]
    frame_end_deg: NDArray[np.float64]
    frame_late_ns: NDArray[np.int64]
    stage_readings: tuple[tuple[int, int, float], ...]
    origins: Mapping[str, str]
    calibrated: Mapping[str, Mapping[str, Any]]
    camera_hand: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a corrected picture: four more of each where the detector has a wide cross."""
        rows, columns = self.raw_shape
        return (rows + 4, columns + 4) if self.wide_cross else (rows, columns)

    @property
    def overload(self) -> int:
        """Counts from which a pixel of a product is saturated: products hold no more than 16 bits."""
        return min(self.saturation, MAX_COUNT)

    @property
    def first_slot(self) -> int:
        """Slot of the first kept frame: the first image number in every product."""
        return int(self.slot[0])

    @property
    def last_slot(self) -> int:
        """Slot of the last kept frame: the last image number in every product."""
        return int(self.slot[-1])

    @property
    def gaps(self) -> tuple[int, ...]:
        """Slots between the first and the last kept frame that hold no frame: snapshots, lost, not kept."""
        kept = set(self.slot.tolist())
        return tuple(k for k in range(self.first_slot, self.last_slot + 1) if k not in kept)

    @property
    def angstrom_per_px(self) -> float:
        """Reciprocal length of one pixel, in 1/A."""
        return per_px_A(self.pixel_size_mm, self.camera_length_mm, self.wavelength_A)

    @property
    def end_deg(self) -> float:
        """Stage angle at which the last slot ends."""
        return self.slot_start_deg(self.slots + 1)

    @property
    def range_deg(self) -> float:
        """The rotation from the begin of the first kept frame's slot to the end of the last slot, as a run tells it."""
        return abs((self.slots - self.first_slot + 1) * self.oscillation_deg)

    def slot_start_deg(self, slot: int) -> float:
        """Stage angle at which a slot begins."""
        return self.start_deg + (slot - 1) * self.oscillation_deg

    def wall_time(self, run_ns: int) -> datetime:
        """Wall time of an instant on the run's clock, with the run's UTC offset."""
        return self.created_at + timedelta(microseconds=run_ns / 1000)


def ranges(slots: tuple[int, ...] | list[int]) -> list[tuple[int, int]]:
    """Consecutive slots joined: (3, 4, 5, 9) gives [(3, 5), (9, 9)]. Ascending input."""
    joined: list[tuple[int, int]] = []
    for slot in slots:
        if joined and slot == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], slot)
        else:
            joined.append((slot, slot))
    return joined


class RunSource:
    """An open run: its `info`, its flatfield, and its frames one at a time. A context manager; read only."""

    def __init__(self, info: RunInfo, frames: FramesFile) -> None:
        self.info = info
        self._frames = frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close frames.h5; harmless when closed."""
        self._frames.close()

    def raw(self, index: int) -> Picture:
        """Raw counts (rows, columns) of kept frame `index` (0 .. n-1), in the camera's own type.

        DataError for a chunk that is damaged.
        """
        try:
            return self._frames.picture(KIND, int(self.info.row[index]))
        except DataError as error:
            raise DataError(f"{error} (slot {int(self.info.slot[index])})") from error

    def snapshot(self, slot: int) -> Picture:
        """Raw counts of the snapshot of this slot. DataError where it is missing or damaged."""
        if SNAPSHOT_KIND in self._frames.kinds:
            rows = np.flatnonzero(self._frames.table(SNAPSHOT_KIND)["slot"] == slot)
            if len(rows):
                return self._frames.picture(SNAPSHOT_KIND, int(rows[0]))
        path = self.info.folder / "snapshots" / f"{slot:05d}.tiff"  # where alone runs of schema 1 have them
        from PIL import Image

        try:
            with Image.open(path) as image:
                picture: Picture = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{path}: not readable ({first_line(error)}); the frames are not concerned") from error
        if picture.ndim != 2:
            raise DataError(f"{path}: is no picture of grey counts; the frames are not concerned")
        return picture

    def flatfield(self) -> NDArray[np.float32] | None:
        """Relative response (rows, columns) as collected, or None where there is none."""
        path = self.info.folder / FRAMES_FILE
        found = self._frames.extra("flatfield")
        if found is None:
            return None
        response = found.astype(np.float32)
        if response.shape != self.info.raw_shape:
            raise DataError(
                f"{path}: /flatfield is {response.shape}, the pictures are {self.info.raw_shape}; nothing was "
                "exported. Collect a flatfield with this detector, or remove it from the file"
            )
        return response


def open_run(path: Path) -> RunSource:
    """Open the run folder `path`; the caller closes it. DataError says which file is wrong, and the remedy."""
    folder = Path(path)
    run = _read_run_file(folder)
    frames = FramesFile(folder / FRAMES_FILE)
    try:
        info = _run_info(folder, run, frames)
    except BaseException:
        frames.close()
        raise
    return RunSource(info, frames)


def why_no_frames(run: RunDocument) -> str:
    """In words, of a run that has ended; empty where there are frames, or nobody knows."""
    if run.has_ended and not any(run.result.get(key, 1) for key in ("frames", "frames_not_kept")):
        return f"the run has no frames ({_text(run.reason or 'no reason')})"
    return ""


def crystal_folder(folder: Path, number: int) -> Path:
    """The run folder of one of several crystals that a run exposed in turns, by its number from 1."""
    return folder / f"crystal_{number}"


def data_set_folders(folder: Path) -> list[Path]:
    """The folders of the data sets of a run: the run itself, or that of each of its crystals. Raises DataError, also
    where these have not been made.
    """
    several = RunDocument.read(folder).result.get(SEVERAL) or []
    folders = [crystal_folder(folder, number) for number in range(1, len(several) + 1)]
    for own in folders:
        if not (own / RUN_FILE).exists():
            raise DataError(f"{own}: is not there yet; `credline export {folder}` makes the folders of its crystals")
    return folders or [folder]


def _read_run_file(folder: Path) -> RunDocument:
    run = RunDocument.read(folder)
    if not run.has_ended:
        raise DataError(
            f"{folder / RUN_FILE}: the run has not ended, or was killed; wait for its end, or "
            f"`credline recover {folder}`"
        )
    if why := why_no_frames(run):
        raise DataError(f"{folder}: {why}; nothing was done")
    several = run.result.get(SEVERAL)
    if isinstance(several, list) and several:
        raise DataError(
            f"{folder}: holds the frames of {len(several)} crystals, which were exposed in turns; give the folder of "
            f"one, as {crystal_folder(folder, 1)} (`credline export {folder}` makes them)"
        )
    if run.result and not any(name in run.result for name in ROTATION):
        raise DataError(
            f"{folder}: a run of {shown(run.protocol)}, whose frames are of no rotation; nothing was done. Give one of "
            "cRED."
        )
    return run


def _text(value: object) -> str:
    """Text for headers: on one line, and without what HDF5 and XML cannot hold."""
    return shown(value, TEXT_LETTERS)


def _run_info(folder: Path, run: RunDocument, frames: FramesFile) -> RunInfo:
    path = folder / RUN_FILE
    try:
        for name, value in (
            ("result", run.result),
            ("label (sample in schema 1)", run.label),
            ("created_at", run.created_at),
        ):
            if not value:
                raise KeyError(name)
        geometry, detector, result = run.instrument["geometry"], run.instrument["detector"], run.result
        if result["start_deg"] is None or result["oscillation_deg"] is None:
            raise DataError(
                f"{path}: the frames of this run have no angles, as no stage reading of its exposures is left; nothing "
                f"was exported. The pictures themselves are in {folder / FRAMES_FILE}"
            )
        table = _frame_table(folder / FRAMES_FILE, frames, int(result["slots"]))
        kept = np.flatnonzero(table["kept"] != 0)
        kept = kept[np.argsort(table["slot"][kept], kind="stable")]
        uncertainty = result.get("offset_uncertainty_deg")
        info = RunInfo(
            folder=folder,
            run_id=_text(run.run_id),
            version=_text(run.version or ""),
            protocol=_text(run.protocol),
            status=_text(run.status),
            reason=_text(run.reason),
            sample=_text(run.label),
            created_at=datetime.fromisoformat(run.created_at or ""),
            plan=run.plan,
            wavelength_A=float(geometry["wavelength_A"]),
            camera_length_mm=float(geometry["camera_length_mm"]),
            pixel_size_mm=float(geometry["pixel_size_mm"]),
            rotation_axis_deg=float(geometry["rotation_axis_deg"]),
            rotation_axis_tilt_deg=float(geometry.get("rotation_axis_tilt_deg", 0.0)),
            nominal_beam_fast_px=float(geometry["beam_fast_px"]),
            nominal_beam_slow_px=float(geometry["beam_slow_px"]),
            distortion_amplitude_percent=float(geometry.get("distortion_amplitude_percent", 0.0)),
            distortion_azimuth_deg=float(geometry.get("distortion_azimuth_deg", 0.0)),
            raw_shape=(int(detector["shape"][0]), int(detector["shape"][1])),
            saturation=_saturation(detector, float(result["exposure_s"]), frames),
            raw_place=frames.data_place(KIND),
            table_place=frames.table_place(KIND),
            raw_type=frames.dtype(KIND).newbyteorder("<").str,
            wide_cross=bool(detector["wide_cross"]),
            detector=_text(detector.get("name", "")),
            slots=int(result["slots"]),
            exposure_s=float(result["exposure_s"]),
            period_s=float(result["period_s"]),
            start_deg=float(result["start_deg"]),
            oscillation_deg=float(result["oscillation_deg"]),
            offset_uncertainty_deg=None if uncertainty is None else float(uncertainty),
            snapshot_interval=int(result.get("snapshot_interval") or 0),
            snapshots=tuple(_snapshot(told) for told in run.own.get("snapshots", [])),
            lost_slots=tuple(int(k) for k in result["lost_slot_numbers"]),
            slot=table["slot"][kept].astype(np.int32),
            row=kept.astype(np.int64),
            frame_start_ns=table["start_ns"][kept],
            frame_end_ns=table["end_ns"][kept],
            frame_start_deg=table["start_deg"][kept],
            frame_end_deg=table["end_deg"][kept],
            frame_late_ns=table["late_ns"][kept],
            stage_readings=tuple(
                (int(r["t_before_ns"]), int(r["t_after_ns"]), float(r["residual_deg"]))
                for r in run.own.get("stage_readings", [])
                if r["residual_deg"] is not None
            ),
            origins={str(name): _text(origin) for name, origin in run.instrument.get("origins", {}).items()},
            calibrated=_calibrated(run.instrument.get("calibration")),
            camera_hand=_camera_hand(run.instrument.get("calibration")),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise DataError(
            f"{path}: {type(error).__name__} {first_line(error)}; a key is missing or of the wrong type. "
            f"`credline recover {folder}` rewrites it"
        ) from error
    _check(info, frames)
    check_geometry(info, path, has_pictures=detector.get("has_pictures") is not False)
    return info


def _calibrated(told: Any) -> dict[str, Mapping[str, Any]]:
    """How sure the calibrated figures of the geometry are."""
    figures = told["figures"] if told else {}
    return {name.removeprefix("geometry."): figure for name, figure in figures.items() if name.startswith("geometry.")}


def _camera_hand(told: Any) -> float | None:
    hand = (told or {}).get("camera_hand")
    return None if hand is None else float(hand)


def _snapshot(told: Mapping[str, Any]) -> SnapshotInfo:
    start_ns, start_deg = told.get("start_ns"), told.get("start_deg")
    return SnapshotInfo(
        int(told["slot"]),
        None if start_ns is None else int(start_ns),
        None if start_deg is None else float(start_deg),
    )


def _saturation(detector: Mapping[str, Any], exposure_s: float, frames: FramesFile) -> int:
    """As the camera says; the largest count of its type where it does not.

    Where a frame is the sum of parts, it is full when each of them is (`DetectorFacts.saturation_of`).
    """
    if told := int(detector.get("saturation") or 0):
        paced = detector.get("paced")
        if not paced or not paced.get("saturation"):
            return told
        series = PacedFacts(paced["part_s"], paced["period_s"], paced["spare"], paced["saturation"])
        return min(series.parts(exposure_s) * int(paced["saturation"]), told)
    pixel = frames.dtype(KIND)
    return int(np.iinfo(pixel).max) if pixel.kind in "iu" else MAX_COUNT


def _frame_table(path: Path, frames: FramesFile, slots: int) -> NDArray[np.void]:
    if KIND not in frames.kinds:
        raise DataError(f"{path}: the run kept no frames, there is nothing to export; see run.json for the reason")
    table = frames.table(KIND)
    if len(table) > frames.pictures(KIND):
        raise frames.damaged(f"{len(table)} frames in the table, {frames.pictures(KIND)} pictures")
    kept = table["slot"][table["kept"] != 0]
    if not len(kept):
        raise DataError(f"{path}: the run kept no frames, there is nothing to export; see run.json for the reason")
    if len(np.unique(kept)) != len(kept):
        raise DataError(f"{path}: two kept frames claim the same slot; nothing was exported. Report this run")
    if kept.min() < 1 or kept.max() > slots:
        raise DataError(
            f"{path}: kept frames of slots {kept.min()} to {kept.max()}, the run has slots 1 to {slots}; "
            "nothing was exported. Report this run"
        )
    return table


def _check(info: RunInfo, frames: FramesFile) -> None:
    """Refuse what would end as a wrong number in a header."""
    path = info.folder / RUN_FILE
    if info.created_at.tzinfo is None:
        raise DataError(f"{path}: created_at has no UTC offset; add it (+00:00 for UTC)")
    for name in ("exposure_s", "period_s"):
        value = getattr(info, name)
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"{path}: {name} is {value}, it must be positive; correct it and export again")
    for name in ("start_deg", "oscillation_deg"):
        if not math.isfinite(getattr(info, name)):
            raise DataError(f"{path}: {name} is not a number; correct it and export again")
    if info.oscillation_deg == 0:
        raise DataError(f"{path}: oscillation_deg is 0, the stage did not rotate; there is no rotation to export")
    frames_path = info.folder / FRAMES_FILE
    if frames.shape(KIND) != info.raw_shape:
        raise DataError(
            f"{frames_path}: pictures are {frames.shape(KIND)}, run.json says {info.raw_shape}; "
            "nothing was exported. Correct detector.shape"
        )
    planned = info.start_deg + (info.slot - 1) * info.oscillation_deg
    offset = float(np.median(info.frame_start_deg - planned)) / info.oscillation_deg
    if not abs(offset) < 0.25:
        raise DataError(
            f"{path}: the frames' angles lie {offset:+.2f} slots from start_deg + (slot - 1) * oscillation_deg; "
            "nothing was exported. One of them is wrong: compare with the stage readings in trace.jsonl"
        )
