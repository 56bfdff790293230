"""A run that somebody looks at: its files followed in a thread, once for all who look at it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name

import structlog

from engine.console.runview import RunView, rings_told, said
from engine.console.tail import FrameTail, SeenFrame
from engine.errors import CredlineError
from engine.record.document import RUN_FILE, RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.lock import is_at_work
from engine.record.trace import Record
from engine.record.tracetail import TraceTail
from engine.run.contract import AnyExperiment, Seen
from engine.run.panels import Cell
from engine.run.registry import experiment_type
from engine.run.total import total_of

log = structlog.get_logger()

WATCHDOG_FILE = "watchdog.jsonl"
WATCHDOG_WORDS = {
    "blanking": "the watchdog blanks the beam",
    "blanked": "the watchdog has blanked the beam and read it back",
    "not blanked": "THE BEAM MAY STILL BE ON: the watchdog could not blank it so far",
    "given up": "THE WATCHDOG HAS GIVEN UP: blank the beam by hand",
}
DISK_EVERY = 40
"""Looks after which free space, and whether a program is still at work, is asked again."""


class WatchedRun:
    """All that is shown of one run folder. Blocks: its methods are for one thread at a time.

    Raises DataError where the folder is no run's.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        document = RunDocument.read(folder)
        try:
            self._kind: AnyExperiment | None = experiment_type(document.protocol)
        except Exception:  # not installed here, or somebody's package: the run is shown as far as the engine knows it
            self._kind = None
        self._trace, self.frames = TraceTail(folder), FrameTail(folder)
        self.view = RunView(name, self._kind, document)
        self._changed = (0, 0)
        self._looks = 0
        self._free_bytes = 0
        self._at_work = False
        self._seen: tuple[tuple[str, int, int], JsonDict | None] = (("", -1, -1), None)
        self.kinds: dict[str, int] = {}
        """How many frames of each kind there are."""

    def look(self) -> None:
        """Read what is new."""
        records = self._trace.new()
        for record in records:
            if record["kind"] == "header":
                total, facts = total_of(self._kind, record), record.get("instrument")
                known = facts if isinstance(facts, Mapping) else {}
                self.view = RunView(self.name, self._kind, self.view.document, total, record["t_ns"], known)
            else:
                self._take(record)
        if self._document_changed():
            try:
                self.view.read_document(RunDocument.read(self.folder))
            except CredlineError:  # being replaced, or damaged
                pass
        if self._looks % DISK_EVERY == 0 or self.view.document.has_ended:
            self._at_work = not self.view.document.has_ended and is_at_work(self.folder)
        if self._looks % DISK_EVERY == 0:
            try:
                self._free_bytes = shutil.disk_usage(self.folder).free
            except OSError:
                self._free_bytes = 0
        self._looks += 1
        kinds = self.frames.look()
        if not kinds and self.view.document.has_ended and not self.kinds:
            kinds = self.frames.stored_kinds()
        if kinds:
            declared = None if self._kind is None else {each.name for each in self._kind.frame_kinds}
            self.kinds = {kind: number for kind, number in kinds.items() if declared is None or kind in declared}

    def _take(self, record: Record) -> None:
        """One record; what is wrong with it costs itself and no other."""
        try:
            self.view.take(record)
        except Exception as error:
            log.warning("a record of the trace is not shown", run=self.name, seq=record.get("seq"), cause=repr(error))

    def _document_changed(self) -> bool:
        try:
            about = (self.folder / RUN_FILE).stat()
        except OSError:
            return False
        before, self._changed = self._changed, (about.st_mtime_ns, about.st_ino)
        return before != self._changed

    def summary(self) -> JsonDict:
        """For the page."""
        ended = self.view.document.has_ended
        return {
            **self.view.summary(),
            "frames": self.kinds,
            "free_bytes": self._free_bytes,
            "at_work": self._at_work,
            "cut_off": not ended and not self._at_work,
            "watchdog": self._watchdog(),
            "report": (self.folder / "report" / "index.html").is_file(),
            "folder": str(self.folder),
        }

    def _watchdog(self) -> list[str]:
        """What it did, where it had to."""
        try:
            lines = (self.folder / WATCHDOG_FILE).read_text(encoding="utf-8").splitlines()[-20:]
        except (OSError, UnicodeDecodeError):
            return []
        done: list[str] = []
        for line in lines:
            try:
                told = json.loads(line)
                if words := WATCHDOG_WORDS.get(told["what"]):
                    why = told.get("why") or told.get("cause") or ""
                    done.append(said(f"{words} ({why}), {told.get('utc', '')}"))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return done

    def seen(self, frame: SeenFrame) -> JsonDict | None:
        """What its protocol tells of a picture; None for nothing. Once for all who look at the same one."""
        which = frame.kind, frame.row, frame.start_ns
        if which != self._seen[0]:
            self._seen = which, seen_in(self._kind, self.view.document, frame, self.view.panels.rows_of)
        return self._seen[1]

    def picture(self, kind: str, row: int | None) -> SeenFrame | None:
        """A frame: the newest of its kind without a row."""
        if not self.view.document.has_ended:
            return self.frames.newest(kind) if row is None else self.frames.spooled(kind, row)
        return self.frames.stored(kind, row)


def seen_in(
    kind: AnyExperiment | None,
    document: RunDocument,
    frame: SeenFrame,
    rows_of: Callable[[str], Mapping[str, Mapping[str, Cell]]],
) -> JsonDict | None:
    """What the protocol tells of a picture (`engine.run.contract.Seen`), as JSON; None where it tells nothing. rows_of:
    a panel by its name.
    """
    if kind is None:
        return None
    try:
        shown = next((each for each in kind.shown(document) if each.kind == frame.kind), None)
        if shown is None or not shown.seen:
            return None
        arguments = {**shown.arguments, "rows": rows_of(shown.panel)} if shown.panel else shown.arguments
        told: Seen = resolve_name(shown.seen)(frame.counts, arguments)
    except Exception as error:  # somebody's protocol
        log.warning("nothing is told of a picture", kind=frame.kind, cause=repr(error))
        return None
    return {
        "figures": [[said(name), said(text)] for name, text in told.figures],
        "crosses": [[fast, slow, said(word)] for fast, slow, word in told.crosses],
        "followed": told.followed,
        "centre": told.centre_px,
        "rings": rings_told(told.rings),
    }
