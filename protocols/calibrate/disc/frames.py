"""The frames of a run of snapshots, as an analysis wants them: mean pictures of visits, on equal pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from protocols.calibrate.disc.discfit import fit_disc
from protocols.calibrate.disc.visits import DARK, SNAPSHOT
from protocols.calibrate.disc.window import Window
from protocols.products.cross import pixel_area, spread

Array = NDArray[np.float64]

NEAR_SATURATION = 0.7
"""Of the largest count: where a thousandth of the disc lies above, the camera no longer answers in proportion."""
SATURATED_SHARE = 1e-3
FIRST_PICTURES = 8
"""So many show where the disc is."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one visit has seen. picture: mean counts per equal pixel in the window, without dark counts and with the
    response of the pixels divided out where it is known. gain: counts per electron, by how much a picture differs from
    the next one; pairs: pixels and pictures that tell it. saturated: whether the camera was full.
    """

    defocus: float
    place_nm: tuple[float, float]
    tilt_deg: float
    spot_size: int
    brightness: float
    time_s: float
    window: Window
    picture: NDArray[np.float32]
    gain: float
    pairs: int
    saturated: bool


class DiscFrames:
    """The frames of a run folder. Raises DataError for a run of something else, and for one without frames."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.folder, self.run = folder, RunDocument.read(folder)
        if self.run.protocol != protocol:
            raise DataError(f"{folder}: is a run of {self.run.protocol}, not of {protocol}; nothing was stored")
        self.exposure_s = float(self.run.plan["exposure_s"])
        self._file = FramesFile(folder / DATA_FILE)
        kinds = {kind: len(self._file.table(kind)) if kind in self._file.kinds else 0 for kind in ("dark", "snapshot")}
        if not all(kinds.values()):
            self._file.close()
            raise DataError(
                f"{folder}: has {kinds['snapshot']} snapshots and {kinds['dark']} dark frames, which is too few "
                f"({self.run.status}: {self.run.reason}); nothing was stored"
            )
        self._table = self._file.table(SNAPSHOT.name)
        detector = self.run.instrument["detector"]
        self._wide_cross, self._saturation = bool(detector.get("wide_cross")), detector.get("saturation")
        self._dark = np.mean([self._file.picture(DARK.name, row) for row in range(kinds["dark"])], axis=0)
        shape = self._file.shape(SNAPSHOT.name)
        area = pixel_area(shape).astype(np.float64) if self._wide_cross else np.ones(shape)
        flatfield = self._file.extra("flatfield")
        self.has_response = flatfield is not None
        """Whether the response of the pixels is known."""
        self._collects = area
        if flatfield is not None:
            self._collects = np.asarray(flatfield, np.float64)
            self._collects = self._collects / np.median((self._collects / area)[self._collects > 0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def visits(self) -> Iterator[Seen]:
        """What each visit has seen, in order; of each defocus around its disc."""
        windows: dict[float, Window] = {}
        for visit in np.unique(self._table["visit"]):
            rows = np.flatnonzero(self._table["visit"] == visit)
            defocus = float(self._table["defocus"][rows[0]])
            if defocus not in windows:
                windows[defocus] = self._window(defocus)
            yield self._seen(rows, windows[defocus])

    def _window(self, defocus: float) -> Window:
        """Around the disc that the first pictures of a defocus show; all of the camera where they show none."""
        rows = np.flatnonzero(self._table["defocus"] == defocus)[:FIRST_PICTURES]
        mean = self._even(np.mean([self._file.picture(SNAPSHOT.name, int(row)) for row in rows], axis=0) - self._dark)
        shape = mean.shape[0], mean.shape[1]
        try:
            return Window.around(fit_disc(mean), shape)
        except DataError:
            return Window.whole(shape)

    def _even(self, counts: Array) -> Array:
        """Counts (rows, columns) of equal pixels of equal response."""
        whole = counts / np.where(self._collects > 0, self._collects, np.inf)
        return np.asarray(spread(whole), np.float64) if self._wide_cross else whole

    def _seen(self, rows: NDArray[np.intp], window: Window) -> Seen:
        first = self._table[rows[0]]
        raw = np.array([self._file.picture(SNAPSHOT.name, int(row)) for row in rows], np.float64)
        full = self._saturation is not None and np.mean(raw >= NEAR_SATURATION * self._saturation) > SATURATED_SHARE
        counts = raw - self._dark
        mean = np.asarray(counts.mean(axis=0))
        gain, pairs = _gain(counts, mean)
        return Seen(
            float(first["defocus"]),
            (float(first["x_nm"]), float(first["y_nm"])),
            float(first["tilt_deg"]),
            round(float(first["spot_size"])),
            float(first["brightness"]),
            float(first["start_ns"]) / 1e9,
            window,
            window.cut(self._even(mean)),
            gain,
            pairs,
            bool(full),
        )


def _gain(counts: Array, mean: Array) -> tuple[float, int]:
    """Counts per electron by the scatter of bright pixels from picture to picture, whatever their response; and how
    many differences tell it. What changes from picture to picture as a whole (flicker) is taken out.
    """
    lit = mean > np.percentile(mean, 99.5) / 2
    if len(counts) < 2 or not lit.any():
        return float("nan"), 0
    pixels = counts[:, lit]
    pixels = pixels * (pixels.mean() / np.maximum(pixels.mean(axis=1, keepdims=True), 1e-9))
    scatter = (pixels[1:] - pixels[:-1]) / np.sqrt(2 * np.maximum(mean[lit], 1.0))
    gain = (1.4826 * float(np.median(np.abs(scatter - np.median(scatter))))) ** 2
    return gain, int(np.count_nonzero(lit)) * max(1, len(counts) // 2)
