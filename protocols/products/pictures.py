"""The work of one process of an export: a stretch of frames read, corrected, looked at and written.

`Frames` holds the run open and one picture at a time, so memory does not grow with the length of a run. Worker
processes make one each, at their first task; what they take and give is small, and pictures stay inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from protocols.products.corrections import Correction, correction, untrusted
from protocols.products.cross import cross_mask
from protocols.products.metadata import RunHeader, frame_header, placeholder_header, run_header
from protocols.products.picturefiles import SMV, PictureFolders, write_picture
from protocols.products.source import RunInfo, RunSource, open_run
from protocols.products.survey import FrameSurvey, survey
from protocols.spots.beam_centre import even_level


@dataclass(frozen=True, slots=True)
class Job:
    """What an export wants of each frame. mark: of the files that this export puts aside."""

    run_dir: Path
    folders: PictureFolders
    mark: str
    look_for_spots: bool


class Frames:
    """The frames of an open run, for one export."""

    def __init__(self, source: RunSource, job: Job) -> None:
        self._source, self._job = source, job
        info = source.info
        self._correct = run_correction(source)
        self._untrusted = untrusted(info.raw_shape, info.wide_cross, self._correct.dead)
        self._cross = cross_mask(info.raw_shape) if info.wide_cross else None
        self._level = even_level(info.overload, info.wide_cross)
        self._nominal = (info.nominal_beam_fast_px, info.nominal_beam_slow_px)

    def make(self, indices: Sequence[int]) -> list[FrameSurvey]:
        """Look at the kept frames of these indices, and put their pictures aside in every format asked for."""
        return [self._make(index) for index in indices]

    def _make(self, index: int) -> FrameSurvey:
        info, job = self._source.info, self._job
        counts, clipped = self._correct.apply(self._source.raw(index))
        counts = np.ascontiguousarray(counts)
        slot = int(info.slot[index])
        seen = survey(
            slot, counts, clipped, self._nominal, self._untrusted, self._level, self._cross, job.look_for_spots
        )
        if job.folders.wanted:
            beam = (seen.beam_fast_px, seen.beam_slow_px)
            places = {slot: beam} if np.isfinite(beam).all() else {}  # as likely as not: the text keeps its length
            so_far = run_header(info, places.get(slot, self._nominal), frame_beams=places)
            job.folders.put_aside(job.mark, counts, so_far, frame_header(info, index, seen))
        return seen

    def name(self, indices: Sequence[int], surveys: Sequence[FrameSurvey], header: RunHeader) -> int:
        """Give the pictures of these frames their header and name; returns the number of files."""
        info, job = self._source.info, self._job
        return sum(
            job.folders.name(job.mark, header, frame_header(info, index, seen))
            for index, seen in zip(indices, surveys, strict=True)
        )


def make_frames(job: Job, indices: Sequence[int]) -> list[FrameSurvey]:
    """`Frames.make` in a worker process."""
    return _frames(job).make(indices)


def name_frames(job: Job, indices: Sequence[int], surveys: Sequence[FrameSurvey], header: RunHeader) -> int:
    """`Frames.name` in a worker process."""
    return _frames(job).name(indices, surveys, header)


@cache
def _frames(job: Job) -> Frames:
    """Those of a worker process: opened once, and closed with the process, which serves one export."""
    return Frames(open_run(job.run_dir), job)


def run_correction(source: RunSource) -> Correction:
    """The correction of a run's pictures, by its own flatfield."""
    return correction(source.flatfield(), source.info.wide_cross, source.info.saturation)


def write_placeholders(info: RunInfo, header: RunHeader, folder: Path) -> int:
    """Write the all-zero SMV pictures of the gaps, which DIALS needs to see one sweep; returns their number."""
    empty = np.zeros(header.shape, dtype=np.uint16)
    for slot in info.gaps:
        write_picture(folder / f"{slot:05d}.img", SMV, empty, header, placeholder_header(info, slot))
    return len(info.gaps)
