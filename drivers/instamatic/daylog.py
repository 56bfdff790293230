"""Lines of Instamatic's log of a day, and what those of its Merlin camera say: commands, their answers, frames.

`2024-11-18 11:33:37,207 | camera_merlin:242 | INFO | Change exposure to 0.01 s`: local time in milliseconds, module
and line, level, message. At level DEBUG the messages hold each command, `MPX,0000000016,CMD,SOFTTRIGGER`, and the
answer, which repeats it and ends with a status (0 is well).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.clock import NS_PER_MS, NS_PER_S, ns
from engine.errors import DataError
from engine.record.trace import Record

LINE_LIMIT_BYTES = 2**16
LINE = re.compile(r"((?:19|20)\d\d-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) \| ([^|]+):(\d{1,9}) \| ([A-Z]+) \| (.*)")
COMMAND = re.compile(r"MPX,\d+,(CMD|SET|GET),(\w+)(?:,(.*))?")
SECONDS = r"(\d{1,9}(?:\.\d{0,20})?(?:e-?\d{1,2})?)"
RECEIVED = re.compile(rf"Received (\d{{1,15}}) bytes in (\d{{1,15}}) steps \({SECONDS} s\)")
FRAME_SIZE = re.compile(r"Received (?:header|frame \d+): (\d{1,15}) ")
EXPOSURE = re.compile(rf"(?:Change exposure to|Set up soft trigger with exposure) {SECONDS} s")
START_SIZE = 14
"""Bytes before every message of the camera: its length, in text."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log. local_time: as it stands there, without a zone; t_ns: the same in nanoseconds."""

    local_time: str
    t_ns: int
    module: str
    line: int
    level: str
    message: str


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a log, without their ends; raises DataError when it cannot be read. Bounded in memory."""
    try:
        with path.open("rb") as file:
            while line := file.readline(LINE_LIMIT_BYTES):
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); nothing was imported.") from error


def log_line(text: str) -> LogLine | None:
    """The parts of a line; None when it is no line of a log, as those of a longer message."""
    found = LINE.fullmatch(text)
    if found is None:
        return None
    local_time, milliseconds, module, line, level, message = found.groups()
    try:
        since_1970 = datetime.fromisoformat(local_time) - datetime(1970, 1, 1)
    except ValueError:
        return None
    seconds = since_1970.days * 86_400 + since_1970.seconds
    t_ns = seconds * NS_PER_S + int(milliseconds) * NS_PER_MS
    name = re.split(r"[/\\]", module)[-1].removesuffix(".py")
    return LogLine(f"{local_time},{milliseconds}", t_ns, name, int(line), level, message)


class MerlinLines:
    """Turns the camera's lines into records, in order; instants are those of `LogLine.t_ns`.

    exposures_s: of diffraction frames and of snapshots, by which a frame is named one or the other; None where they
    are not known. A frame with another exposure is an `image`, as those of the live view are.
    """

    def __init__(self, exposures_s: tuple[float | None, float | None]) -> None:
        self._exposures_s = exposures_s
        self._exposure_s: float | None = None
        self._sizes: set[int] = set()
        self._triggered = False
        self._asked: tuple[str, str, str | None, int] | None = None

    def take(self, line: LogLine) -> list[Record] | None:
        """What a line says; None when it is none of the camera's commands and frames."""
        message = line.message
        if found := COMMAND.fullmatch(message):
            return self._command(line.t_ns, *found.groups())
        if found := RECEIVED.fullmatch(message):
            return self._received(line.t_ns, *found.groups())
        if found := FRAME_SIZE.match(message):
            self._sizes = {int(found[1]), int(found[1]) + START_SIZE}
            return []
        if found := EXPOSURE.fullmatch(message):
            self._exposure_s = float(found[1])
            return [{"t_ns": line.t_ns, "kind": "note", "name": "exposure", "exposure_s": self._exposure_s}]
        return [] if message.startswith("Remembering state for") else None

    def unanswered(self) -> list[Record]:
        """The last command, when the log ends before its answer."""
        if self._asked is None:
            return []
        (kind, name, value, begin_ns), self._asked = self._asked, None
        return [_call(f"{kind}.{name}", _arguments(value), begin_ns, None)]

    def _command(self, t_ns: int, kind: str, name: str, value: str | None) -> list[Record]:
        asked = self._asked
        # An answer ends with a status; what is set has a value in the command, too.
        is_answer = asked is not None and asked[:2] == (kind, name) if kind == "SET" else value is not None
        if not is_answer:
            before = self.unanswered()
            self._asked = (kind, name, value, t_ns)
            self._triggered = self._triggered or name == "SOFTTRIGGER"
            return before
        self._asked = None
        result, _, status = (value or "").rpartition(",")
        begin_ns, argument = (asked[3], asked[2]) if asked and asked[:2] == (kind, name) else (None, None)
        call = _call(f"{kind}.{name}", _arguments(argument), begin_ns, t_ns)
        if status.strip() != "0":
            return [{**call, "error": "MerlinStatus", "text": f"status {status}"}]
        return [{**call, "result": result if kind == "GET" else None}]

    def _received(self, t_ns: int, size: str, steps: str, duration_s: str) -> list[Record]:
        is_frame = int(size) in self._sizes or (self._triggered and int(size) > START_SIZE)
        received = _call("receive" if is_frame else "receive_header", [int(size)], t_ns - ns(float(duration_s)), t_ns)
        made = [{**received, "result": {"steps": int(steps)}}]
        if is_frame:
            self._triggered = False
            made.append(frame_record(self._frame_name(), t_ns, self._exposure_s))
        return made

    def _frame_name(self) -> str:
        diffraction_s, snapshot_s = self._exposures_s
        if self._exposure_s is None or diffraction_s == snapshot_s:
            return "image"
        return {diffraction_s: "diffraction", snapshot_s: "snapshot"}.get(self._exposure_s, "image")


def frame_record(name: str, arrived_ns: int | None, exposure_s: float | None) -> Record:
    """A frame of which at most its arrival and its exposure are known."""
    unknown = ("slot", "number", "start_ns", "end_ns", "angle_deg", "index", "crc")
    known = {"arrived_ns": arrived_ns, "exposure_s": exposure_s}
    return {"t_ns": arrived_ns, "kind": "frame", "name": name, **dict.fromkeys(unknown), **known}


def _call(name: str, args: list[object], begin_ns: int | None, end_ns: int | None) -> Record:
    t_ns = begin_ns if end_ns is None else end_ns
    instants = {"begin_ns": begin_ns, "end_ns": end_ns}
    return {"t_ns": t_ns, "kind": "call", "name": f"detector.{name}", "args": args, **instants}


def _arguments(value: str | None) -> list[object]:
    """A command's value as a number where it is one."""
    if value is None:
        return []
    if re.fullmatch(r"-?\d{1,15}", value):
        return [int(value)]
    return [float(value)] if re.fullmatch(r"-?\d{1,15}\.\d{0,20}", value) else [value]
