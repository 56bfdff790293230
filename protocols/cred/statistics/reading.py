"""The cRED runs of a folder, or of a table of runs, to be compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import DataError
from engine.record.document import RunDocument
from engine.record.runtable import read_rows
from engine.run.runlist import read_runs
from protocols.cred.statistics.row import RunRow, read_row, row_of


@dataclass(slots=True)
class FoundRuns:
    """runs: those with frames. without_frames: how many others ended. problems: lines on what could not be read."""

    runs: list[RunRow] = field(default_factory=list)
    without_frames: int = 0
    problems: list[str] = field(default_factory=list)


def read_all(path: Path) -> FoundRuns:
    """The cRED runs of a folder by their run.json, or the rows of a table. Raises Refused for a folder that there is
    not, DataError for a table that is none.
    """
    found = FoundRuns()
    if path.is_file():
        # A run that was recovered has two rows, of which the later one counts.
        rows = {run.run: run for run in (read_row(row, path.name) for row in read_rows(path))}
    else:
        rows = {run.run: run for run in (read_row(row, path.name) for row in _of_folder(path, found.problems))}
    found.runs = [run for run in rows.values() if run.range_deg > 0]
    found.without_frames = len(rows) - len(found.runs)
    return found


def _of_folder(path: Path, problems: list[str]) -> Iterator[Mapping[str, object]]:
    listed, _ = read_runs(path)
    for each in listed:
        if each.protocol != "cred":
            problems += [each.problem] if not each.protocol and each.problem else []
            continue
        try:
            document = RunDocument.read(each.folder)
        except DataError as error:
            problems.append(str(error))
            continue
        if document.has_ended:
            yield {**row_of(document), "run": str(each.folder)}
        else:
            problems.append(each.problem)
