"""The frames of a rotation from wherever they lie: a run folder of ours, or a folder of pictures and its geometry.

A foreign folder (SMV, TIFF, MRC, NeXus and whatever `protocols.pictures` reads) needs a file that says what no picture
says: a TOML table with the keys of `KEYS`. Its pictures are taken by name, one frame after the other.
"""

import math
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
BEAM_FRAMES = 15


@dataclass(frozen=True, slots=True, eq=False)
class SeriesFrames:
    """(n,) frames. counts: (rows, columns) of the frame with an index. made_up: (rows, columns), see `SeriesPeaks`.

    slot: ascending numbers; where one is left out there is a gap. beam_px: None where it is not on the picture.
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
    s_per_deg: float | None = None

    @property
    def frame_deg(self) -> float:
        """Width of a frame."""
        return float(np.median(np.abs(self.end_deg - self.start_deg)))


@contextmanager
def open_frames(path: Path, geometry: Path | None) -> Iterator[SeriesFrames]:
    """The frames of a run folder, or of a folder or file of pictures with a geometry.

    Refused where the one is missing that is needed; DataError for a run that is not readable.
    """
    if (path / RUN_FILE).is_file():
        if geometry is not None:
            raise Refused("live: a run folder has its own geometry; nothing was done. Leave --geometry out.")
        with open_run(path) as source:
            run = frames_of(source)
            info = run.info
            yield SeriesFrames(
                info.shape, run.counts, run.made_up, run.beam_px, run.geometry, info.slot, info.frame_start_deg,
                info.frame_end_deg, info.period_s / abs(info.oscillation_deg),
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
    told = _read_geometry(geometry)
    containers = open_folder(path)[0] if path.is_dir() else [open_container(path)]
    places = [(container, number) for container in containers for number in range(container.count)]
    if not places:
        raise Refused(f"live: {shown(path)} has no pictures; nothing was done.")

    def counts(index: int) -> NDArray[Any]:
        container, number = places[index]
        return container.picture(number)

    first = counts(0)
    made_up = bad_pixels(first)
    shape = (first.shape[0], first.shape[1])
    beam_px = (told[BEAM_KEYS[0]], told[BEAM_KEYS[1]]) if BEAM_KEYS[0] in told else _beam(counts, len(places), made_up)
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

    def checked(index: int) -> NDArray[Any]:
        picture = counts(index)
        if picture.shape != shape:
            raise DataError(f"live: picture {index + 1} is {picture.shape}, the first is {shape}; take it away")
        return picture

    return SeriesFrames(shape, checked, made_up, beam_px, rotation, number, start_deg, end_deg)


def _beam(counts: Callable[[int], NDArray[Any]], count: int, bad: NDArray[np.bool_]) -> tuple[float, float]:
    some = np.unique(np.linspace(0, count - 1, BEAM_FRAMES).astype(np.intp)).tolist()
    mean = np.mean([np.where(bad, 0.0, counts(index).astype(np.float64)) for index in some], axis=0)
    found = find_beam(mean, filter_px((mean.shape[0], mean.shape[1])))
    if found is None:
        raise Refused("live: the frames show no primary beam; nothing was done. Say beam_fast_px and beam_slow_px.")
    return found


def _read_geometry(path: Path) -> dict[str, float]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"geometry: {shown(path)} cannot be read ({shown(error)}); nothing was done.") from error
    if missing := [key for key in KEYS if key not in told]:
        words = "; ".join(f"{key}: {KEYS[key]}" for key in missing)
        raise Refused(f"geometry: {shown(path)} lacks {words}. Nothing was done.")
    if (BEAM_KEYS[0] in told) != (BEAM_KEYS[1] in told):
        raise Refused(f"geometry: {shown(path)} says one of {' and '.join(BEAM_KEYS)}; nothing was done. Say both.")
    if unknown := sorted(set(told) - set(KEYS) - set(BEAM_KEYS)):
        raise Refused(f"geometry: {shown(path)} has an unknown key {shown(unknown[0])!r}; nothing was done.")
    for key, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Refused(f"geometry: {shown(path)}: {key} = {shown(value)} is no number; nothing was done.")
        if key in ("wavelength_A", "camera_length_mm", "pixel_size_mm") and value <= 0:
            raise Refused(f"geometry: {shown(path)}: {key} = {value:g} must be above 0; nothing was done.")
    if told["oscillation_deg"] == 0:
        raise Refused(f"geometry: {shown(path)}: oscillation_deg = 0 is no rotation; nothing was done.")
    return {key: float(value) for key, value in told.items()}
