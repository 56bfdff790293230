"""Files of frames to scores, in processes of this machine or of a cluster: each opens its files itself.

Whatever a person names is opened as `credline zones` opens it (`protocols.zones.patterns.snapshots`): TIFF, SMV, MRC,
HDF5, CXI, PNG, folders of these, run folders. A picture that cannot be read has no score, and says why; others have.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError, Refused
from engine.executor import Executor
from protocols.screening.geometric import USUAL_PER_FRAME_A
from protocols.screening.patternfile import scales_of
from protocols.screening.scoring import Score, Scorer, by_geometry
from protocols.zones.patterns.snapshots import Snapshots, open_snapshots

AT_ONCE = 32
"""Frames of one piece of work; of large frames fewer are in memory at a time."""
MEMORY_PX = 1 << 25
NETWORK, GEOMETRY = "network", "geometry"
NO_SCALE = "1/A per pixel is not known (--per-px): a frame is taken to reach 1.26 1/A, and d_min is not told"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some frames of one source. per_px: what a person said; None = what the source says. model: folder, or None."""

    path: Path
    first: int
    count: int
    per_px: float | None
    model: Path | None
    method: str = NETWORK


@dataclass(frozen=True, slots=True)
class Row:
    """One frame: its name, and its score, or why there is none."""

    name: str
    score: Score | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a piece of work gives. note: what a person should know of how; refused: why there is nothing."""

    rows: list[Row]
    note: str = ""
    refused: str = ""


def pieces(
    paths: Sequence[Path], per_px: float | None = None, model: Path | None = None, method: str = NETWORK
) -> list[Piece]:
    """The work there is in these sources. Refused for what is not there, of no known kind, or a list of peaks."""
    found = []
    for path, source in zip(paths, open_snapshots(paths, per_px), strict=True):
        if source.picture is None:
            raise Refused(f"{path}: a list of peaks, and frames are screened; give these. Nothing was scored.")
        found += [
            Piece(path, first, min(AT_ONCE, len(source) - first), per_px, model, method)
            for first in range(0, len(source), AT_ONCE)
        ]
    return found


def scored(executor: Executor, work: Sequence[Piece], progress: Callable[[int], None]) -> tuple[list[Row], list[str]]:
    """Every frame, in the order of the sources, and what a person should know. Refused as its processes say."""
    found: dict[int, Scored] = {}
    done = 0
    with closing(executor.each(_numbered, list(enumerate(work)))) as results:  # where one refuses, no more is begun
        for number, one in results:
            if one.refused:
                raise Refused(one.refused)
            found[number] = one
            done += len(one.rows)
            progress(done)
    rows = [row for number in range(len(work)) for row in found[number].rows]
    return rows, list(dict.fromkeys(one.note for one in found.values() if one.note))


def score_piece(piece: Piece) -> Scored:
    """In a process of its own."""
    try:
        return _scored(piece)
    except Refused as error:
        return Scored([], refused=str(error))


def scale_of(said: float | None, frame: NDArray[Any]) -> float:
    """1/A a pixel, as said; else that of a Timepix at 250 mm, whose frame this is taken to show."""
    return said or USUAL_PER_FRAME_A / min(frame.shape)


def without_scale(score: Score) -> Score:
    """The same where 1/A a pixel were guessed, so that nothing is known of d_min."""
    return replace(score, d_min_A=None, why=score.why.split(" to ")[0].split(", to")[0])


def frame_of(path: Path, number: int) -> NDArray[Any]:
    """(slow, fast) one frame of a source; pixels known to tell nothing are NaN. DataError for one that is damaged."""
    source = _opened(path)
    if source.picture is None:
        raise DataError(f"{path}: has no pictures; give another")
    frame = source.picture(number)
    bad = None if source.bad is None else source.bad(number)
    return frame if bad is None else np.where(bad, np.float32(np.nan), frame.astype(np.float32))


def _numbered(numbered: tuple[int, Piece]) -> tuple[int, Scored]:
    place, piece = numbered
    return place, score_piece(piece)


def _scored(piece: Piece) -> Scored:
    source = _opened(piece.path)
    rows: dict[int, Row] = {}
    notes: set[str] = set()
    scales = None if piece.per_px else scales_of(piece.path)
    for numbers, frames in _alike(piece, rows, source):
        said = piece.per_px or source.per_px
        if scales is None and said is None:
            notes.add(NO_SCALE)
        per_px = scale_of(said, frames[0]) if scales is None else scales[numbers]
        scores = _scores(piece, frames, per_px, notes)
        for number, score in zip(numbers, scores, strict=True):
            known = scales is not None or said is not None
            rows[number] = Row(source.names[number], score if known else without_scale(score))
    return Scored([rows[number] for number in sorted(rows)], "; ".join(sorted(notes)))


def _alike(piece: Piece, rows: dict[int, Row], source: Snapshots) -> Iterator[tuple[list[int], NDArray[Any]]]:
    """Frames of one shape at a time; those that cannot be read become rows."""
    numbers: list[int] = []
    frames: list[NDArray[Any]] = []
    for number in range(piece.first, piece.first + piece.count):
        try:
            frame = frame_of(piece.path, number)
        except DataError as error:
            rows[number] = Row(source.names[number], None, str(error))
            continue
        other = bool(frames) and (frame.shape != frames[0].shape or frame.dtype != frames[0].dtype)
        if frames and (other or len(frames) * frame.size > MEMORY_PX):
            yield numbers, np.stack(frames)
            numbers, frames = [], []
        numbers.append(number)
        frames.append(frame)
    if frames:
        yield numbers, np.stack(frames)


def _scores(piece: Piece, frames: NDArray[Any], per_px: float | NDArray[np.float64], notes: set[str]) -> list[Score]:
    if piece.method == GEOMETRY:
        return by_geometry(frames, per_px)
    scorer = _scorer(piece.model)
    scores = scorer.score(frames, per_px)
    if scorer.note:
        notes.add(scorer.note)
    return scores


@lru_cache(maxsize=2)
def _scorer(model: Path | None) -> Scorer:
    return Scorer(model, threads=1)


@lru_cache(maxsize=4)
def _opened(path: Path) -> Snapshots:
    (source,) = open_snapshots([path])
    return source
