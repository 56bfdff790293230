"""The data sets of a session's folder, or of any list of cRED runs, with what a look at all frames of each told.

The look at a run's end stands in its `crystal.json`; where there is none (a run that made no files) the run is looked
at now, and what it told stays there for the next time.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import CredlineError, DataError, Refused, shown
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.lock import alone_in
from engine.run.runlist import read_runs
from protocols.live.keeping import keep_current_crystal
from protocols.products.foundcrystal import CRYSTAL_FILE, found_crystal
from protocols.products.source import data_set_folders, open_run
from protocols.session.judging.dataset import DataSet, data_set

CRED, SESSION = "cred", "session"


@dataclass(frozen=True, slots=True)
class Gathered:
    """A run whose data set is wanted. number, crystal: in the session; without one, in the order of the runs."""

    number: int
    crystal: int
    folder: Path


def gathered(folders: Sequence[Path]) -> list[Gathered]:
    """The cRED runs of sessions, of folders of runs, or the runs themselves. Refused where there is none."""
    found: list[Gathered] = []
    for folder in folders:
        found += _of_session(folder) or [Gathered(0, 0, run) for run in _runs(folder)]
    if not found:
        raise Refused(
            f"session: {', '.join(map(str, folders))}: no run of cRED is there; nothing was done. Give the folder of a "
            "session, of cRED runs, or several of them."
        )
    numbers = [each.number for each in found]
    if 0 in numbers or len(set(numbers)) < len(numbers):  # of several sessions, or of none
        found = [replace(each, number=n, crystal=each.crystal or n) for n, each in enumerate(found, 1)]
    return found


def _of_session(folder: Path) -> list[Gathered]:
    try:
        document = RunDocument.read(folder)
    except DataError:
        return []
    section = document.own.get(SESSION)
    rows = section.get("data_sets") if isinstance(section, dict) else None
    if document.protocol != SESSION or not isinstance(rows, list):
        return []
    return [Gathered(int(row["number"]), int(row["crystal"]), (folder / row["run_dir"]).resolve()) for row in rows]


def _runs(folder: Path) -> Iterator[Path]:
    """Raises DataError for a run of several crystals that have no folders yet."""
    listed, _ = read_runs(folder)
    for each in listed:
        if each.protocol == CRED:
            yield from data_set_folders(each.folder)


def looked_at(run: Gathered) -> tuple[Gathered, JsonDict]:
    """For an executor: the result of a run with `live` in it, as `data_set` takes it. Does not raise: `reasons` say
    what is wrong. 8 ms a frame where nobody has looked.
    """
    try:
        document = RunDocument.read(run.folder)
        if not document.has_ended:
            raise DataError(f"it has not ended; credline recover {run.folder}")
        with open_run(run.folder) as source:
            known = found_crystal(source.info) is not None
        if not known:
            with alone_in(run.folder):
                keep_current_crystal(run.folder, lambda done, total: None)
        live = json.loads((run.folder / CRYSTAL_FILE).read_text(encoding="utf-8"))
        return run, {**document.result, "reason": document.reason, "live": live}
    except (CredlineError, OSError, ValueError) as error:
        return run, {"live": {"determined": False, "reasons": [shown(error, 300)]}}


def data_set_of(run: Gathered, result: JsonDict, base: Path) -> DataSet:
    """base: the folder from which the run's is told."""
    try:
        place = run.folder.resolve().relative_to(base.resolve()).as_posix()
    except ValueError:
        place = str(run.folder)
    return data_set(result, run.number, run.crystal, place)
