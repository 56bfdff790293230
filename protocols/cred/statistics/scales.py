"""The scale of each frame of a run, as in Fig. 7 of Cichocka et al. (2018): a crystal that leaves the aperture takes
its spots with it.

There it is SCALE of XDS' INIT, here the counts in spots (`protocols.products.scale`), over the run's median.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from protocols.cred.statistics.row import RunRow
from protocols.products.picturefiles import PictureFolders
from protocols.products.pictures import Frames, Job
from protocols.products.scale import faded, scale_of
from protocols.products.source import open_run


@dataclass(frozen=True, slots=True, eq=False)
class RunScale:
    """slots: (n,) of the frames. scale: (n,) counts in spots over their median in the run; NaN in all of a run without
    spots. faded: slots in which the spots had faded, as if the crystal had left.
    """

    run: str
    slots: NDArray[np.int64]
    scale: NDArray[np.float64]
    faded: tuple[int, ...]


def scale_in(run: Path) -> RunScale:
    """Of a run folder; 10 ms a frame of 512 x 512. Raises DataError where it is not readable."""
    with open_run(run) as source:
        count = len(source.info.slot)
        frames = Frames(source, Job(run, PictureFolders(None, None, None), "", look_for_spots=True))
        surveys = frames.make(range(count))
    slots = np.array([each.slot for each in surveys], np.int64)
    return RunScale(run.name, slots, scale_of(surveys), tuple(faded(surveys)))


def scales_of(runs: Sequence[RunRow], problems: list[str]) -> Iterator[RunScale]:
    """Of the runs of a folder, one after the other. problems: lines are added on what could not be read."""
    for run in runs:
        try:
            yield scale_in(Path(run.run))
        except DataError as error:
            problems.append(str(error))


def scale_line(told: RunScale) -> str:
    """One run in words."""
    if not np.isfinite(told.scale).all():
        return f"{told.run}: no spots, so no scale"
    count = len(told.slots)
    if not told.faded:
        return f"{told.run}: the spots of its {count} frames have not faded"
    return f"{told.run}: the spots have faded in {len(told.faded)} of {count} frames, first in slot {told.faded[0]}"
