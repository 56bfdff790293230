"""The runs in a folder, one line each for a list: read from run.json alone, so that hundreds take a moment.

Whatever is wrong with one folder concerns its own line only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import CredlineError, DataError, Refused, shown
from engine.record.document import RunDocument
from engine.record.folder import children_of
from engine.record.jsonobject import JsonDict
from engine.record.lock import is_at_work
from engine.record.salvage import protocol_of
from engine.run.registry import experiment_type

REPORT = Path("report") / "index.html"
CUT_OFF = "cut off"
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run as the list shows it. own: the columns of its protocol. problem: what is wrong with it, a whole line."""

    folder: Path
    status: str
    label: str = ""
    protocol: str = ""
    created_at: str = ""
    own: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def place(self) -> Path:
        """What there is to look at: its report, or the folder where it has none."""
        report = self.folder / REPORT
        return report if report.exists() else self.folder

    def row(self) -> dict[str, str]:
        """Names and texts of its columns."""
        return {"status": self.status, "label": self.label, **self.own, "report, or folder": str(self.place)}

    def as_json(self) -> JsonDict:
        """The same for a program."""
        return {
            "run_dir": str(self.folder),
            "status": self.status,
            "label": self.label,
            "protocol": self.protocol,
            "created_at": self.created_at or None,
            **self.own,
            "report": str(self.place) if self.place != self.folder else None,
            "problem": self.problem or None,
        }


def read_runs(folder: Path) -> tuple[list[ListedRun], int]:
    """The runs in a folder, or the one that it is, each before the runs within it; and how many folders are no run's.

    Oldest first, those of unknown time before. Raises Refused when there is no such folder.
    """
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise Refused(
            f"{folder}: cannot be listed ({error.strerror or error}). Give the folder that holds run folders, as "
            "--out of the runs."
        ) from error
    if _is_run(folder):
        return list(_run_and_children(folder)), 0
    runs = [path for path in inside if _is_run(path)]
    listed = sorted((list(_run_and_children(path)) for path in runs), key=lambda of_one: _age(of_one[0]))
    return [run for of_one in listed for run in of_one], len(inside) - len(runs)


def runs_in(paths: Sequence[Path], *, children: bool = False) -> list[Path]:
    """The run folders that a person names: runs, and folders of runs; each once. children: also the runs within runs.

    DataError for a path that is neither.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        listed = [each.folder for each in read_runs(path)[0]] if path.is_dir() else []
        if not listed:
            RunDocument.read(path)  # says what is wrong with it
        inside = listed if children or path not in listed else [path]
        for folder in inside:
            if children or folder.parent == path or folder == path:
                found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _is_run(folder: Path) -> bool:
    try:
        protocol_of(folder)
    except DataError:
        return False
    return True


def _age(run: ListedRun) -> tuple[str, str]:
    return run.created_at, run.folder.name


def _run_and_children(folder: Path) -> Iterator[ListedRun]:
    yield _read(folder)
    try:
        children = children_of(folder)
    except OSError:
        return
    for child in children:
        if _is_run(child):
            yield from _run_and_children(child)


def _read(folder: Path) -> ListedRun:
    try:
        document = RunDocument.read(folder)
    except DataError as error:
        return ListedRun(folder, DAMAGED, problem=str(error))
    status, problem = document.status, ""
    if not document.has_ended and not is_at_work(folder):
        status, problem = CUT_OFF, f"{folder}: its program was cut off; `credline recover {folder}` finishes it"
    if document.alarms:
        status += ", ALARM"
        problem = problem or f"{folder}: {'; '.join(map(shown, document.alarms))}"
    try:
        kind = experiment_type(document.protocol)
        own = {name: shown(text) for name, text in kind.listed(document.result)}
    except CredlineError as error:  # its protocol is not installed here
        own, problem = {}, problem or f"{folder}: {error}"
    except Exception:  # somebody's protocol, or a result of an older version or that was edited
        own, problem = {}, problem or f"{folder}: what its result says could not be understood"
    return ListedRun(
        folder,
        shown(status),
        shown(document.label or ""),
        shown(document.protocol),
        shown(document.created_at or ""),
        own,
        problem,
    )
