"""The scale of each frame of a run, as in Fig. 7 of Cichocka et al. (2018): a crystal that leaves the aperture takes
its spots with it.

There it is SCALE of XDS' INIT, here the counts in spots (`protocols.products.scale`), over the run's median.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.products.picturefiles import PictureFolders
from protocols.products.pictures import Frames, Job
from protocols.products.scale import scale_of, smoothed
from protocols.products.source import open_run

STAYED = 0.5
"""Smoothed, a frame below this part of the run's median is counted: the crystal was half gone, or in a poor zone."""


@dataclass(frozen=True, slots=True, eq=False)
class RunScale:
    """slots: (n,) of the frames. scale: (n,) counts in spots over their median in the run; NaN in all of a run without
    spots.
    """

    run: str
    slots: NDArray[np.int64]
    scale: NDArray[np.float64]

    @property
    def low(self) -> float:
        """Share of the frames whose smoothed scale is below `STAYED`; NaN without spots."""
        known = np.isfinite(self.scale).all() and len(self.scale)
        return float(np.mean(smoothed(self.scale) < STAYED)) if known else float("nan")


def scale_in(run: Path) -> RunScale:
    """Of a run folder; 10 ms a frame of 512 x 512. Raises DataError where it is not readable."""
    with open_run(run) as source:
        count = len(source.info.slot)
        frames = Frames(source, Job(run, PictureFolders(None, None, None), "", look_for_spots=True))
        surveys = frames.make(range(count))
    return RunScale(run.name, np.array([each.slot for each in surveys], np.int64), scale_of(surveys))
