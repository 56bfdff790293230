"""A rotation looked through from its first frame to its last; and many of them, through an executor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.clock import NS_PER_S, RealClock
from engine.errors import CredlineError, Refused, shown
from engine.record.jsonobject import JsonDict
from engine.record.lock import alone_in
from engine.run.runlist import DAMAGED, read_runs
from protocols.live.frames import SeriesFrames, is_run, open_frames
from protocols.live.growing import ends
from protocols.live.keeping import keep_crystal
from protocols.live.look import Look
from protocols.live.lookedframes import LookedFrames
from protocols.live.phases import Phase
from protocols.live.structurefactors import Wanted, measure, told_of
from protocols.live.words import line_of
from protocols.products.source import data_set_folders

CRED = "cred"


@dataclass(frozen=True, slots=True)
class Asked:
    """How a rotation is looked at: a look every so many deg, the first `until_deg` or all; cells that are known;
    structure factors, None for none.
    """

    every_deg: float
    until_deg: float | None
    phases: Sequence[Phase]
    wanted: Wanted | None


@dataclass(frozen=True, slots=True)
class Through:
    """look: after the last of `count` frames. seconds: that it took. not_kept: why it is not kept with its run."""

    look: Look
    count: int
    seconds: float
    not_kept: str


@dataclass(frozen=True, slots=True)
class Looked:
    """Of a run. told: by the look at its end and of the files, for programs. line: for a person. why_not: in words,
    where it could not be looked at, or has no structure factors although they were asked for.
    """

    run: Path
    told: JsonDict
    line: str
    why_not: str = ""


def look_through(run: Path, frames: SeriesFrames, asked: Asked, tell: Callable[[dict[str, Any]], None]) -> Through:
    """Look at the frames one after the other. A look at all of a run is kept in its folder. tell: of each look."""
    clock = RealClock()
    seen = LookedFrames(frames, asked.phases)
    seconds = 0.0
    for index, due in ends(frames, asked.every_deg, asked.until_deg):
        counts = frames.counts(index)
        begin_ns = clock.now_ns()
        seen.add(index, counts)
        if due:
            look = seen.look()
            tell(look.told)
        seconds += (clock.now_ns() - begin_ns) / NS_PER_S
    not_kept = ""
    if asked.until_deg is None and is_run(run):
        try:
            with alone_in(run):
                keep_crystal(run, frames, seen.reflections, look)
        except CredlineError as error:  # a folder that is not to be written to is looked at all the same
            not_kept = str(error)
    return Through(look, index + 1, seconds, not_kept)


def is_one(paths: Sequence[Path]) -> bool:
    """Whether one rotation is named, a run or pictures of another program; else it is several, or folders of runs."""
    if len(paths) > 1:
        return False
    (path,) = paths
    if not path.is_dir():
        return True
    within = [each for each in read_runs(path)[0] if each.folder != path]
    return not within


def rotations_in(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """The cRED runs in folders of runs and in sessions, or the runs themselves, of several crystals each; and how many
    other runs were passed over. Refused where there is none.
    """
    found: dict[Path, Path] = {}
    passed_over = 0
    for path in paths:
        listed = read_runs(path)[0] if path.is_dir() else []
        runs = [each.folder for each in listed if each.protocol == CRED or each.status == DAMAGED]
        own = [folder for run in runs for folder in _data_sets(run)] or ([path] if is_run(path) else [])
        passed_over += len(listed) - len(runs) if own else 0
        if not own:
            raise Refused(f"live: {shown(path)}: no run of cRED is there; nothing was done.")
        for folder in own:
            found.setdefault(folder.resolve(), folder)
    return list(found.values()), passed_over


def looked(job: tuple[Path, Asked]) -> Looked:
    """For an executor: a run to its end. Does not raise. 8 ms of a processor a frame, and a second or more a run."""
    run, asked = job
    try:
        with open_frames(run, None) as frames:
            return _looked(run, frames, asked)
    except (CredlineError, OSError) as error:
        return Looked(run, {}, "", shown(error, 500))
    except Exception as error:  # the other runs are none the worse for it
        return Looked(run, {}, "", f"internal error ({type(error).__name__}: {shown(error, 300)})")


def _looked(run: Path, frames: SeriesFrames, asked: Asked) -> Looked:
    through = look_through(run, frames, asked, lambda told: None)
    told = through.look.told | {"seconds": round(through.seconds, 3)}
    parts = [line_of(told).strip()]
    why_not = ""
    if asked.wanted is not None and told["determined"]:
        try:
            result = measure(frames, through.look, through.count, asked.wanted)
            files, lines = told_of(run, result, asked.wanted)
        except CredlineError as error:
            why_not = f"no structure factors: {error}"
        else:
            told |= {"structure_factors": [str(path) for path in files]}
            parts.append(lines[-1])
    if through.not_kept:
        parts.append(f"not kept: {through.not_kept}")
    return Looked(run, told, "; ".join(parts), why_not)


def _data_sets(run: Path) -> list[Path]:
    try:
        return data_set_folders(run)
    except CredlineError:
        return [run]  # says itself what is wrong with it
