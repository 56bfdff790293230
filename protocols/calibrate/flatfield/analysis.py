"""From the run folder of a flatfield to its result: arrays, values, pictures; nothing is stored in the instrument here.

Reads frames one at a time, several times over, so that a camera of any size fits into memory. What cannot be a
flatfield is refused with DataError; the run folder stays as it is.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.calibration.calibrationarrays import CameraArrays
from drivers.geometry import high_tension_v
from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.frametable import DATA_FILE, FramesFile
from protocols.calibrate.flatfield.illumination import Blocks, Illumination, fit_illumination
from protocols.calibrate.flatfield.plan import DARK, LIT, POSITIONS
from protocols.calibrate.flatfield.response import Dark, Response, dark_of, plainly_bad, response_of
from protocols.calibrate.flatfield.truth import flatfield_truth
from protocols.calibrate.measured import Analysed, Measured
from protocols.products.cross import pixel_area

Array = NDArray[np.float64]
Advance = Callable[[int, int], None]

BLOCKS = 12
"""Along each side of the camera."""
FEWEST_FRAMES = 20
MOST_BAD = 0.1
UNEVEN_SHARE = 1.0
"""The uncertainty of the light may be so many times that of counting."""
NS = 1e9


def analyse(folder: Path, advance: Advance = lambda done, total: None) -> Analysed:
    """The flatfield of a run, with pictures in its `report` folder. Raises DataError for what makes none."""
    from protocols.calibrate.flatfield.drawing import draw

    run = RunDocument.read(folder)
    if run.protocol != "flatfield":
        raise DataError(f"{folder}: is a run of {run.protocol}, not of flatfield; nothing was stored")
    with FramesFile(folder / DATA_FILE) as file:
        kinds = {kind: len(file.table(kind)) if kind in file.kinds else 0 for kind in (DARK.name, LIT.name)}
        if kinds[LIT.name] < FEWEST_FRAMES or not kinds[DARK.name]:
            raise DataError(
                f"{folder}: has {kinds[LIT.name]} lit and {kinds[DARK.name]} dark frames, which is too few for a "
                f"flatfield ({run.status}: {run.reason}); nothing was stored"
            )
        found = _Analysis(file, kinds, bool(run.instrument["detector"].get("wide_cross")), advance)
        dark, light, response = found.dark, found.light, found.response
        values = found.values(float(run.plan["exposure_s"]))
        if np.mean(response.bad) > MOST_BAD:
            raise DataError(
                f"{folder}: {np.mean(response.bad):.0%} of the pixels would be bad, which is no camera; nothing was "
                "stored. Look at report/flatfield.png"
            )
    arrays = CameraArrays(
        flatfield=response.flatfield.astype(np.float32),
        sigma=response.sigma.astype(np.float32),
        dark_counts_s=(dark.mean / float(run.plan["exposure_s"])).astype(np.float32),
        bad=response.bad,
        high_tension_kV=high_tension_v(float(run.instrument["geometry"]["wavelength_A"])) / 1000,
        accuracy=values["flatfield_accuracy"].number,
        made_on=datetime.fromisoformat(run.created_at or "").date(),
        data=folder.name,
        program=f"credline {run.version}",
    )
    picture = folder / "report" / "flatfield.png"
    draw(picture, response, dark, light)
    kinds_of_bad = ", ".join(f"{number} {name}" for name, number in response.kinds.items())
    accuracy = values["flatfield_accuracy"].number
    return Analysed(
        values,
        (
            f"{picture}: response, light, bad pixels and scatter",
            f"{kinds[LIT.name]} lit frames: response to {accuracy:.2%}; {np.count_nonzero(response.bad)} bad pixels "
            f"({kinds_of_bad}); gain {response.gain:.3f} counts per electron",
        ),
        arrays,
        flatfield_truth(folder, arrays),
    )


class _Analysis:
    """The steps of it on one open file."""

    def __init__(self, file: FramesFile, kinds: dict[str, int], wide_cross: bool, advance: Advance) -> None:
        self._file, self._number, self._advance = file, kinds[LIT.name], advance
        self._done = 0
        shape = file.shape(LIT.name)
        self.area: Array = pixel_area(shape).astype(np.float64) if wide_cross else np.ones(shape)
        self._places = _places(shape, wide_cross)
        self.dark: Dark = dark_of((file.picture(DARK.name, row) for row in range(kinds[DARK.name])), kinds[DARK.name])
        self._dark_frames = kinds[DARK.name]
        total = np.zeros(shape)
        for counts in self._lit():
            total += counts
        blocks = self._blocks(plainly_bad(total, self.area, self.dark.hot))
        self.light: Illumination = fit_illumination(blocks)
        x, y = self._places
        self.response: Response = response_of(
            self._lit, lambda frame: self.light.light(frame, x, y), self.area, self.dark.hot
        )
        self._check(blocks)

    def _lit(self) -> Iterator[Array]:
        """Each lit frame with the dark counts taken off."""
        for row in range(self._number):
            yield np.asarray(self._file.picture(LIT.name, row), np.float64) - self.dark.mean
            self._done += 1
            self._advance(self._done, 4 * self._number)

    def _blocks(self, bad: NDArray[np.bool_]) -> Blocks:
        x, y = self._places
        rows = np.minimum(np.arange(len(y)) * BLOCKS // len(y), BLOCKS - 1)
        columns = np.minimum(np.arange(len(x)) * BLOCKS // len(x), BLOCKS - 1)
        label = (rows[:, None] * BLOCKS + columns[None, :]).ravel()
        good = ~bad.ravel()

        def summed(values: Array) -> Array:
            return np.asarray(np.bincount(label[good], values.ravel()[good], BLOCKS * BLOCKS), np.float64)

        area = summed(self.area)
        used = area > 0.2 * area.max()
        sums = np.array([summed(counts) for counts in self._lit()])[:, used]
        if (sums <= 0).any():
            raise DataError(
                "flatfield: in some frames a part of the camera has no light at all, so the beam went away meanwhile; "
                "nothing was stored. Let it come to rest, and take the frames again"
            )
        middles = [
            summed(np.broadcast_to(place, self.area.shape) * self.area) / np.maximum(area, 1)
            for place in (
                x[None, :],
                y[:, None],
            )
        ]
        table = self._file.table(LIT.name)
        time_s = (table["start_ns"] + table["end_ns"]) / 2 / NS
        shifts = np.stack([table["shift_x"], table["shift_y"]], axis=1).astype(np.float64)
        # Pairs of frames tell what counting makes of a block, the gain of the camera included.
        return Blocks(middles[0][used], middles[1][used], sums / area[used], _relative(sums), time_s, shifts)

    def _check(self, blocks: Blocks) -> None:
        """Refuse light that could not be told apart from the response."""
        errors = self.light.uncertainty(blocks.x, blocks.y)
        uneven, counting = float(np.sqrt(np.mean(errors**2))), self._counting()
        if np.any(self.light.shifts) and uneven > UNEVEN_SHARE * counting and uneven > 0.002:
            raise DataError(
                f"flatfield: uneven light could be told apart from the camera's response to {uneven:.1%} only, and "
                f"counting gives {counting:.1%}; nothing was stored. Raise shift_percent, or spread the beam more "
                "evenly"
            )

    def _counting(self) -> float:
        good = ~self.response.bad
        return float(np.sqrt(np.mean((self.response.sigma[good] / self.response.flatfield[good]) ** 2)))

    def values(self, exposure_s: float) -> dict[str, Measured]:
        """What was measured."""
        response, good = self.response, ~self.response.bad
        x, y = self._places
        grid_x, grid_y = np.meshgrid(x[::16], y[::16])
        errors = self.light.uncertainty(grid_x.ravel(), grid_y.ravel())
        rms = np.sqrt(self._counting() ** 2 + np.mean(errors**2, axis=1))
        dark_total = float(np.sum(np.maximum(self.dark.mean[good], 0))) * self._dark_frames
        seconds = np.count_nonzero(good) * self._dark_frames * exposure_s
        dark_sigma = np.sqrt(max(response.gain * dark_total, response.gain**2)) / seconds
        number = int(np.count_nonzero(response.bad))
        return {
            "gain_counts_per_electron": Measured(response.gain, response.gain_sigma, "counts per electron"),
            "dark_counts_s": Measured(dark_total / seconds, float(dark_sigma), "counts per s"),
            "bad_pixels": Measured(number, max(1.0, 0.01 * number), "pixels"),
            "flatfield_accuracy": Measured(float(rms.mean()), float(max(rms.std(), 0.01 * rms.mean())), "1"),
        }


def _relative(sums: Array) -> Array:
    """(frames, blocks) standard uncertainty of the logarithm of each, by counting: the gain is seen from how much
    blocks change against the others of their frame, from one visit of a position to the next.
    """
    logs = np.log(sums)
    left = logs - logs.mean(axis=1, keepdims=True)
    visit = len(POSITIONS)
    change = (left[visit:] - left[:-visit]) * np.sqrt(sums[visit:] / 2)
    gain = (1.4826 * float(np.median(np.abs(change - np.median(change))))) ** 2
    return np.asarray(np.sqrt(max(gain, 0.1) / sums))


def _places(shape: tuple[int, int], wide_cross: bool) -> tuple[Array, Array]:
    """X (columns,), y (rows,): centres of the pixels from the camera's middle, in units of its larger side."""
    sides = []
    for number in (shape[1], shape[0]):
        widths = np.ones(number)
        if wide_cross:
            widths[number // 2 - 1 : number // 2 + 1] = 3.0
        sides.append(np.cumsum(widths) - widths / 2 - widths.sum() / 2)
    size = max(2 * side[-1] + 1 for side in sides)
    return sides[0] / size, sides[1] / size
