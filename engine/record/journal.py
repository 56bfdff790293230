"""journal.jsonl: what a run says is safely on disk, one JSON object a line, in the order of the run.

The first line says that the run began, each other line a state it entered. A line may be torn by a crash, and only
the last one.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from engine.errors import DataError
from engine.record.jsonobject import JsonDict
from engine.record.schema import NS_LIMIT
from engine.record.writer import Writer

LINE_LIMIT_BYTES = 2**16
"""No line comes near this; a longer one is damage, and is not read to its end."""

log = structlog.get_logger()


class Journal:
    """journal.jsonl: what is safely on disk, one line per state boundary.

    Unlike the trace's observers it must not fail: if it cannot write, the run stops. `durable` forces every line
    to the disk itself (4-20 ms, in the writer's thread); a virtual run does without, its seed recreates it.
    """

    def __init__(self, path: Path, writer: Writer, *, durable: bool) -> None:
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._writer = writer
        self._durable = durable

    def note(self, **fields: object) -> None:
        """Queue a line; it is on disk after everything queued before it."""
        line = json.dumps(fields, separators=(",", ":")) + "\n"
        self._writer.submit(lambda: self._write(line), len(line))

    def _write(self, line: str) -> None:
        self._writer.disk.write(self._file, line.encode())
        if self._durable:
            self._writer.disk.sync(self._file)

    def close(self) -> None:
        """Close the file; the writer must be drained."""
        self._file.close()


def journal_path(run: Path) -> Path:
    """The journal of a run folder; a file is taken for the journal itself."""
    return run / "journal.jsonl" if run.is_dir() else run


def read_journal(run: Path) -> Iterator[JsonDict]:
    """The lines of a run folder or journal file, one at a time and checked.

    A last line that was cut off is left out with a warning. Raises DataError for anything else that is wrong, once
    the lines before it have been handed out. An empty journal has no lines: the run was cut off as it began.
    """
    path = journal_path(run)
    try:
        with path.open("rb") as file:
            number = 0
            while data := file.readline(LINE_LIMIT_BYTES + 1):
                number += 1
                line, wrong = parse_line(data)
                if line is not None:
                    yield line
                elif data.endswith(b"\n") or len(data) > LINE_LIMIT_BYTES:
                    raise DataError(
                        f"{path}: line {number} {wrong}: the file was damaged or edited. The {number - 1} lines before "
                        "it are readable; 'credline recover' on the run folder uses all that are."
                    )
                else:
                    log.warning("the last line of the journal was cut off and is left out", journal=str(path))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}). Name a run folder, or the journal.jsonl in it."
        ) from error


def parse_line(data: bytes) -> tuple[JsonDict | None, str]:
    """A line of a journal, and what is wrong with it, for the end of a sentence, if it is none."""
    if len(data) > LINE_LIMIT_BYTES:
        return None, f"is longer than {LINE_LIMIT_BYTES} bytes"
    if not data.endswith(b"\n"):
        return None, "is cut off"
    try:
        line = json.loads(data)
    except (ValueError, RecursionError):
        return None, "is no JSON"
    wrong = problem(line)
    return (None, wrong) if wrong else (line, "")


def problem(line: object) -> str:
    """What is wrong with a line, for the end of a sentence; nothing if it is right."""
    if type(line) is not dict:
        return "holds no JSON object"
    t_ns, state, began = line.get("t_ns"), line.get("state", ""), line.get("began", False)
    if type(t_ns) is not int or not -NS_LIMIT < t_ns < NS_LIMIT:
        return "has no 't_ns' that is an integer"
    if type(state) is not str:
        return "has a 'state' that is no text"
    if type(began) is not bool:
        return "has a 'began' that is neither true nor false"
    return ""
