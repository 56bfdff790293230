"""The work of one process of an export: a stretch of frames corrected, and looked at or written.

These functions run in worker processes: what they take and give is small, and pictures stay inside. Each opens
the run for itself and holds one picture at a time, so memory does not grow with the length of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protocols.products.corrections import Correction, correction, untrusted
from protocols.products.cross import cross_mask
from protocols.products.metadata import RunHeader, frame_header, placeholder_header
from protocols.products.mrc import write_mrc
from protocols.products.smv import write_smv
from protocols.products.source import RunSource, open_run
from protocols.products.survey import FrameSurvey, survey
from protocols.products.tiff import write_tiff
from protocols.spots.beam_centre import even_level


@dataclass(frozen=True, slots=True)
class PictureFolders:
    """Where the pictures go; None for a format that was not asked for."""

    tiff: Path | None
    smv: Path | None
    mrc: Path | None

    @property
    def any(self) -> bool:
        """Whether there is a format to write."""
        return not (self.tiff is None and self.smv is None and self.mrc is None)


def run_correction(source: RunSource) -> Correction:
    """The correction of a run's pictures, by its own flatfield."""
    return correction(source.flatfield(), source.info.wide_cross, source.info.saturation)


def survey_frames(run_dir: Path, indices: Sequence[int], look_for_spots: bool) -> list[FrameSurvey]:
    """Look at the kept frames of these indices."""
    with open_run(run_dir) as source:
        info, correct = source.info, run_correction(source)
        mask = untrusted(info.raw_shape, info.wide_cross, correct.dead)
        nominal = (info.nominal_beam_fast_px, info.nominal_beam_slow_px)
        cross = cross_mask(info.raw_shape) if info.wide_cross else None
        level = even_level(info.overload, info.wide_cross)
        found = []
        for index in indices:
            counts, clipped = correct.apply(source.raw(index))
            found.append(survey(int(info.slot[index]), counts, clipped, nominal, mask, level, cross, look_for_spots))
    return found


def write_frames(run_dir: Path, indices: Sequence[int], header: RunHeader, folders: PictureFolders) -> int:
    """Write the kept frames of these indices in every format asked for; returns the number of files."""
    files = 0
    with open_run(run_dir) as source:
        info, correct = source.info, run_correction(source)
        for index in indices:
            counts, clipped = correct.apply(source.raw(index))
            counts = np.ascontiguousarray(counts)
            frame = frame_header(info, index, clipped.total)
            if folders.tiff is not None:
                write_tiff(folders.tiff / f"{frame.slot:05d}.tiff", counts, header, frame)
                files += 1
            if folders.smv is not None:
                write_smv(folders.smv / f"{frame.slot:05d}.img", counts, header, frame)
                files += 1
            if folders.mrc is not None:
                write_mrc(folders.mrc / f"{frame.slot:05d}.mrc", counts, header, frame)
                files += 1
    return files


def write_placeholders(run_dir: Path, header: RunHeader, folder: Path) -> int:
    """Write the all-zero SMV pictures of the gaps, which DIALS needs to see one sweep; returns their number."""
    with open_run(run_dir) as source:
        info = source.info
    empty = np.zeros(header.shape, dtype=np.uint16)
    for slot in info.gaps:
        write_smv(folder / f"{slot:05d}.img", empty, header, placeholder_header(info, slot))
    return len(info.gaps)
