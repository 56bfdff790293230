"""The frames of a rotation from wherever they lie: a run folder of ours, or a folder of pictures and its geometry.

A foreign folder (SMV, TIFF, MRC, NeXus and whatever `protocols.pictures` reads) needs a file that says what no picture
says: a TOML table with the keys of `KEYS`. Its pictures are taken by name, one frame after the other.
"""

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.facts import Geometry
from engine.errors import DataError, Refused, shown
from engine.record.document import RUN_FILE
from protocols.calibrate.runreflections import frames_of
from protocols.lattice.rotationgeometry import RotationGeometry
from protocols.pictures.opening import open_container, open_folder
from protocols.products.source import open_run
from protocols.spots.badpixels import bad_pixels
from protocols.spots.beam_centre import filter_px, find_beam

Array = NDArray[np.float64]

LARGEST = 1e9
"""No figure of a geometry is."""
MRC = (".mrc", ".mrcs")
KEYS = {
    "wavelength_A": "A",
    "camera_length_mm": "effective distance from specimen to camera",
    "pixel_size_mm": "side of a pixel",
    "rotation_axis_deg": "direction of the axis, from fast (+x) towards up; docs/live.md",
    "start_deg": "stage angle at which the first frame begins",
    "oscillation_deg": "width of a frame, with the sign of the rotation",
}
BEAM_KEYS = ("beam_fast_px", "beam_slow_px")
"""Where they are missing the beam is looked for in the mean of BEAM_FRAMES frames."""
FIRST_ROW = "first_row"
"""Which the first row of a file is, "top" or "bottom": without this key bottom in MRC, as its definition and REDp have
it, and top in all others. Seen upside down a rotation goes the other way, and shows no lattice.
"""
BEAM_FRAMES = 15
SATURATION_KEY = "saturation"
"""Counts from which a pixel is saturated; where it is missing, the highest of a camera of 16 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesFrames:
    """(n,) frames. counts: (rows, columns) of the frame with an index. made_up: (rows, columns), see `SeriesPeaks`.

    slot: ascending numbers; where one is left out there is a gap. beam_px: None where it is not on the picture.
    saturation: counts from which a pixel is saturated; None where nobody knows it.
    s_per_deg: of the rotation; None where nobody tells.
    """

    shape: tuple[int, int]
    counts: Callable[[int], NDArray[Any]]
    made_up: NDArray[np.bool_] | None
    beam_px: tuple[float, float] | None
    geometry: RotationGeometry
    slot: NDArray[np.integer]
    start_deg: Array
    end_deg: Array
    saturation: float | None = None
    s_per_deg: float | None = None

    @property
    def frame_deg(self) -> float:
        """Width of a frame."""
        return float(np.median(np.abs(self.end_deg - self.start_deg)))


def is_run(path: Path) -> bool:
    """Whether it is a run folder of ours."""
    return (path / RUN_FILE).is_file()


@contextmanager
def open_frames(path: Path, geometry: Path | None) -> Iterator[SeriesFrames]:
    """The frames of a run folder, or of a folder or file of pictures with a geometry.

    Refused where the one is missing that is needed; DataError for a run that is not readable.
    """
    if is_run(path):
        if geometry is not None:
            raise Refused("live: a run folder has its own geometry; nothing was done. Leave --geometry out.")
        with open_run(path) as source:
            run = frames_of(source)
            info = run.info
            yield SeriesFrames(
                info.shape, run.counts, run.made_up, run.beam_px, run.geometry, info.slot, info.frame_start_deg,
                info.frame_end_deg, info.overload, info.period_s / abs(info.oscillation_deg),
            )  # fmt: skip
        return
    if not path.exists():
        raise Refused(f"live: {shown(path)} does not exist; nothing was done.")
    if geometry is None:
        raise Refused(
            f"live: {shown(path)} is no run folder of credline; nothing was done. For pictures of another program say "
            f"--geometry FILE, a TOML file with {', '.join(KEYS)}."
        )
    yield _foreign(path, geometry)


def _foreign(path: Path, geometry: Path) -> SeriesFrames:
    told, first_row = _read_geometry(geometry)
    containers = open_folder(path)[0] if path.is_dir() else [open_container(path)]
    places = [(container, number) for container in containers for number in range(container.count)]
    if not places:
        raise Refused(f"live: {shown(path)} has no pictures; nothing was done.")

    def counts(index: int) -> NDArray[Any]:
        container, number = places[index]
        picture = container.picture(number)
        usual = "bottom" if container.path.suffix.lower() in MRC else "top"
        return picture[::-1] if (first_row or usual) == "bottom" else picture

    first = counts(0)
    made_up = bad_pixels(first)
    shape = (first.shape[0], first.shape[1])

    def checked(index: int) -> NDArray[Any]:
        picture = counts(index)
        if picture.shape != shape:
            raise DataError(f"live: picture {index + 1} is {picture.shape}, the first is {shape}; take it away")
        return picture

    beam_px = (told[BEAM_KEYS[0]], told[BEAM_KEYS[1]]) if BEAM_KEYS[0] in told else _beam(checked, len(places), made_up)
    number = np.arange(len(places))
    start_deg: Array = np.asarray(told["start_deg"] + number * told["oscillation_deg"], dtype=np.float64)
    end_deg: Array = np.asarray(start_deg + told["oscillation_deg"], dtype=np.float64)
    rotation = RotationGeometry.of(
        Geometry(
            wavelength_A=told["wavelength_A"],
            camera_length_mm=told["camera_length_mm"],
            pixel_size_mm=told["pixel_size_mm"],
            rotation_axis_deg=told["rotation_axis_deg"],
            beam_fast_px=beam_px[0],
            beam_slow_px=beam_px[1],
        )
    )

    highest = float(np.iinfo(first.dtype).max) if first.dtype.kind in "iu" and first.dtype.itemsize <= 2 else None
    saturation = told.get(SATURATION_KEY, highest)
    return SeriesFrames(shape, checked, made_up, beam_px, rotation, number, start_deg, end_deg, saturation)


def _beam(counts: Callable[[int], NDArray[Any]], count: int, bad: NDArray[np.bool_]) -> tuple[float, float]:
    some = np.unique(np.linspace(0, count - 1, BEAM_FRAMES).astype(np.intp)).tolist()
    mean = np.mean([np.where(bad, 0.0, counts(index).astype(np.float64)) for index in some], axis=0)
    found = find_beam(mean, filter_px((mean.shape[0], mean.shape[1])))
    if found is None:
        raise Refused("live: the frames show no primary beam; nothing was done. Say beam_fast_px and beam_slow_px.")
    return found


def _read_geometry(path: Path) -> tuple[dict[str, float], str | None]:
    """The figures, and what it says of the first row."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(
            f"geometry: {shown(path)} cannot be read ({shown(error)}); nothing was done. docs/live.md has one."
        ) from error
    if missing := [key for key in KEYS if key not in told]:
        words = "; ".join(f"{key}: {KEYS[key]}" for key in missing)
        raise Refused(f"geometry: {shown(path)} lacks {words}. Nothing was done.")
    if (BEAM_KEYS[0] in told) != (BEAM_KEYS[1] in told):
        raise Refused(f"geometry: {shown(path)} says one of {' and '.join(BEAM_KEYS)}; nothing was done. Say both.")
    first_row = told.pop(FIRST_ROW, None)
    if first_row not in (None, "top", "bottom"):
        raise Refused(
            f'geometry: {shown(path)}: {FIRST_ROW} = {shown(first_row)} is neither "top" nor "bottom"; nothing was '
            "done."
        )
    if unknown := sorted(set(told) - set(KEYS) - {*BEAM_KEYS, SATURATION_KEY}):
        raise Refused(
            f"geometry: {shown(path)} has an unknown key {shown(unknown[0])!r}; nothing was done. Known are "
            f"{', '.join((*KEYS, *BEAM_KEYS, SATURATION_KEY, FIRST_ROW))}."
        )
    for key, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise Refused(f"geometry: {shown(path)}: {key} = {shown(value)} is no number; nothing was done.")
        if key in ("wavelength_A", "camera_length_mm", "pixel_size_mm", SATURATION_KEY) and value <= 0:
            raise Refused(f"geometry: {shown(path)}: {key} = {value:g} must be above 0; nothing was done.")
    if told["oscillation_deg"] == 0:
        raise Refused(f"geometry: {shown(path)}: oscillation_deg = 0 is no rotation; nothing was done.")
    return {key: float(value) for key, value in told.items()}, first_row
