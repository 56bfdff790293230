"""Is the cell of some degrees off by as much as is said? The first frames of runs against the whole of each.

    python -m benchmarks.livepulls FOLDER_OF_RUNS [--frames 8,12,20,40] [--every 45] [--jobs 2]

Looks at so many frames of each cRED run, from its first and from every 45th, as if the run had begun and ended there,
and compares the cell with that of all its frames, which is known some ten times better. Pulls: how far off, in the
standard deviations that are told, of the lengths, the angles and the camera length; 1 is right. What is no rotation,
of few frames, or without a cell, is passed over.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import CredlineError
from protocols.lattice.rotationfit import RotationFit
from protocols.live.frames import SeriesFrames, open_frames
from protocols.live.lookedframes import LookedFrames
from protocols.session.judging.cellnumbers import numbers_like
from protocols.session.judging.dataset import DataSet, data_set

LEAST_FRAMES = 60
"""Of a run whose cell is taken for right; and twice as many as the longest look has."""


@dataclass(frozen=True, slots=True)
class Pulls:
    """Of one look. lengths, angles: (3,); camera_length: one number. off: of the size of the cell, relative."""

    frames: int
    lengths: NDArray[np.float64]
    angles: NDArray[np.float64]
    camera_length: float
    off: float


def of_run(every: int, counts: tuple[int, ...], folder: Path) -> list[Pulls]:
    """Of all looks at one run; none where it tells no cell."""
    try:
        with open_frames(folder, None) as frames:
            total = len(frames.slot)
            if total < max(LEAST_FRAMES, 2 * counts[-1]):
                return []
            _, whole, fit = looked(frames, range(total), (total,))[0]
            if whole.cell is None or fit is None:
                return []
            beginnings = range(0, total - counts[-1] + 1, every)
            looks = [look for first in beginnings for look in looked(frames, range(first, first + counts[-1]), counts)]
            return [pulls for look in looks if (pulls := against(look, whole, fit)) is not None]
    except CredlineError:  # no rotation, or a run that was cut off
        return []


def looked(
    frames: SeriesFrames, which: range, counts: tuple[int, ...]
) -> list[tuple[int, DataSet, RotationFit | None]]:
    """After so many of these frames, what a look tells of them."""
    some, told = LookedFrames(frames), []
    for number, index in enumerate(which, 1):
        some.add(index, frames.counts(index))
        if number in counts:
            look = some.look()
            told.append((number, data_set({"live": look.told}, 1, 1, ""), look.fit))
    return told


def against(one: tuple[int, DataSet, RotationFit | None], whole: DataSet, whole_fit: RotationFit) -> Pulls | None:
    """None where no cell is determined, or another one."""
    frames, data, fit = one
    if data.cell is None or fit is None or whole.cell is None:
        return None
    reference = whole.cell.reduced()
    here, there = (
        numbers_like(*pair, reference) for pair in ((data.cell, data.covariance), (whole.cell, whole.covariance))
    )
    if here is None or there is None:
        return None
    off = here.value - there.value
    pull = off / np.sqrt(np.diag(here.covariance))
    length = fit.geometry.camera_length_px - whole_fit.geometry.camera_length_px
    return Pulls(frames, pull[:3], pull[3:], length / fit.sigma("camera_length_px"), float(off[:3].mean()))


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of runs, or of a session")
    parser.add_argument("--frames", default="8,12,20,40", help="after which a look is compared")
    parser.add_argument("--every", type=int, default=45, help="frames from one beginning to the next")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    counts = tuple(sorted(map(int, given.frames.split(","))))
    runs = sorted(path.parent for path in given.folder.glob("*/frames.h5"))
    with ProcessPoolExecutor(given.jobs) as pool:
        by_run = [some for some in pool.map(partial(of_run, given.every, counts), runs) if some]
    found = [each for some in by_run for each in some]
    print(f"{len(by_run)} runs compared; pulls as their root mean square")
    print(f"{'frames':>7}{'cells':>7}{'size off':>10}{'rms':>8}{'lengths':>9}{'angles':>8}{'camera':>9}{'mean':>7}")
    for count in counts:
        here = [each for each in found if each.frames == count]
        if not here:
            continue
        lengths, angles = (rms(np.array([getattr(each, name) for each in here])) for name in ("lengths", "angles"))
        off, camera = (np.array([getattr(each, name) for each in here]) for name in ("off", "camera_length"))
        print(
            f"{count:>7}{len(here):>7}{off.mean():>10.2%}{rms(off):>8.2%}{lengths:>9.2f}{angles:>8.2f}"
            f"{rms(camera):>9.2f}{camera.mean():>7.2f}"
        )


if __name__ == "__main__":
    main()
