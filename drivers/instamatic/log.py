"""Logs of the program Instamatic as a trace: what they tell, and null for what they do not.

`cRED_log.txt` holds the figures of a run and no instant of a frame; the log of the day holds, when the camera is a
Merlin, each of its commands and frames with a time in milliseconds (`drivers.instamatic.daylog`). Every record bears
`"source": "instamatic"`; docs/trace-format.md says which fields stay unknown.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from drivers.instamatic.daylog import LogLine, MerlinLines, frame_record, log_line, text_lines
from engine.errors import DataError, shown
from engine.record.trace import SCHEMA, Record

SOURCE = "instamatic"
SUMMARY_LINES = 200
FACT_WIDTH = 500
STAMP_WIDTH = 40
FRAMES_BELIEVED = 100_000
NUMBER = r"([-+]?\d{1,15}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,2})?)"
INTERVAL = re.compile(rf"every (\d{{1,9}}) frames an image with defocus \S+ \(t={NUMBER} s\)\.?")
STAGE = re.compile(r"X +(\S+) \| Y +(\S+) \| Z +(\S+) \| A +(\S+) \| B +(\S+)")
RECORDING = "Data recording started at: "
STATES = {RECORDING: "recording", "Experiment finished": "finished"}
"""Words of the log at which a state begins here; the log tells of no other."""
ENDED = ("Finish cRED experiment", "Data collection interrupted")
INSTANTS = ("t_ns", "begin_ns", "end_ns", "arrived_ns")


@dataclass(frozen=True, slots=True)
class Window:
    """The lines of a day's log that belong to the run: numbers of the first and last, and the first one's time."""

    path: Path
    first: int
    last: int
    begin: LogLine
    whole: bool


@dataclass(slots=True)
class Imported:
    """A trace about to be written. `warnings` and `summary` are complete once `lines` is exhausted."""

    facts: Mapping[str, str]
    window: Window | None
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The lines of the trace."""
        begin_ns = self.window.begin.t_ns if self.window else 0
        for seq, record in enumerate(self._records()):
            kind = record["kind"]
            self.counts[kind] = self.counts.get(kind, 0) + 1
            since = {key: record[key] - begin_ns for key in INSTANTS if record.get(key) is not None}
            yield json.dumps({"seq": seq, **record, **since, "source": SOURCE}, separators=(",", ":")) + "\n"

    @property
    def summary(self) -> str:
        """How many records of each kind there are."""
        return ", ".join(f"{n} {kind}" for kind, n in self.counts.items())

    def _records(self) -> Iterator[Record]:
        yield self._header()
        frames = diffraction = 0
        if self.window is not None:
            for record in self._day_records(self.window):
                frames += record["kind"] == "frame"
                diffraction += (record["kind"], record["name"]) == ("frame", "diffraction")
                yield record
        if self.facts:
            if not frames:
                yield from self._frames_without_times()
            elif (told := _count(self.facts, "Number of frames")) not in (None, diffraction):
                self.warnings.append(
                    f"the day's log shows {diffraction} diffraction frames, cRED_log.txt tells of {told}."
                )
            yield from _figures(self.facts)

    def _header(self) -> Record:
        interval, snapshot_exposure_s = _snapshots(self.facts)
        plan = {
            "sample": None,
            "exposure_s": _number(self.facts, "Exposure Time"),
            "snapshot_interval": interval,
            "snapshot_exposure_s": snapshot_exposure_s,
        }
        origin = {
            "program": self.facts.get("Program", "Instamatic"),
            "began": self.window.begin.local_time if self.window else self.facts.get("Data Collection Time"),
            "resolution_ns": 1_000_000,
            "log": dict(self.facts),
        }
        unknown = ("digest", "devices", "seed", "instrument")
        return {
            "t_ns": self.window.begin.t_ns if self.window else None,
            "kind": "header",
            "name": "credline",
            "schema": SCHEMA,
            "version": version("credline"),
            "protocol": "cred" if self.facts else None,
            "plan": plan,
            **dict.fromkeys(unknown),
            "clock": "real",
            "origin": origin,
        }

    def _day_records(self, window: Window) -> Iterator[Record]:
        camera = MerlinLines((_number(self.facts, "Exposure Time"), _snapshots(self.facts)[1]))
        skipped = 0
        for number, text in enumerate(text_lines(window.path), start=1):
            if number > window.last:
                break
            line = log_line(text)
            if line is None:
                skipped += number >= window.first and bool(text.strip())
                continue
            made = camera.take(line)  # before the window too: the camera's exposure was set there
            if number >= window.first:
                yield from _said(line) if made is None else made
        yield from camera.unanswered()
        if skipped:
            self.warnings.append(f"{window.path}: left out {skipped} lines without a time (parts of longer messages).")
        if self.facts and window.whole:
            self.warnings.append(f"{window.path}: no line says when a run began, so all lines were taken.")

    def _frames_without_times(self) -> Iterator[Record]:
        for name, key, exposure_s in (
            ("diffraction", "Number of frames", _number(self.facts, "Exposure Time")),
            ("snapshot", "Number of images", _snapshots(self.facts)[1]),
        ):
            count = _count(self.facts, key) or 0
            if count > FRAMES_BELIEVED:
                self.warnings.append(f"'{key}: {count}' is not believed, so no frames were made of it.")
                count = 0
            for _ in range(count):
                yield frame_record(name, None, exposure_s)


def import_instamatic(log: Path, day_log: Path | None = None) -> Imported:
    """The trace of what `cRED_log.txt` and the log of that day tell; either alone will do.

    Raises DataError when a file is neither, or when the log of the day is that of other runs.
    """
    facts: Mapping[str, str] = {}
    window = None
    for path in (log, day_log) if day_log is not None else (log,):
        if found := _facts(path):
            facts = found
        else:
            window = _window(path)
    if window is not None and facts:
        window = _window(window.path, facts.get("Data Collection Time"))
    return Imported(facts, window)


def _facts(path: Path) -> dict[str, str]:
    """The lines `name: value` of cRED_log.txt; empty when the file is not one."""
    facts: dict[str, str] = {}
    for number, text in enumerate(text_lines(path)):
        if text.startswith("References:") or number == SUMMARY_LINES or log_line(text) is not None:
            break
        name, colon, value = text.partition(":")
        if colon:
            facts[name.strip()[:FACT_WIDTH]] = value.strip()[:FACT_WIDTH]
    return facts if "Number of frames" in facts or "Exposure Time" in facts else {}


def _window(path: Path, began: str | None = None) -> Window:
    """The lines of the run that began at this time; all lines when none says that a run began."""
    first: tuple[int, LogLine] | None = None
    begin: tuple[int, LogLine] | None = None
    last = number = 0
    others: list[str] = []
    for number, text in enumerate(text_lines(path), start=1):
        line = log_line(text)
        if line is None:
            continue
        first = first or (number, line)
        if line.message.startswith(RECORDING):
            others.append(line.message.removeprefix(RECORDING).strip())
            if begin is not None:
                last = last or number - 1
            elif began is not None and others[-1] == began:
                begin = number, line
        elif begin is not None and line.message.startswith(ENDED):
            last = last or number
    if first is None:
        raise DataError(
            f"{path}: neither a cRED_log.txt nor a log of Instamatic (lines of time | module | level | message); "
            "nothing was imported. It keeps its logs as logs/instamatic_YYYY-MM-DD.log."
        )
    if begin is not None:
        return Window(path, begin[0], last or number, begin[1], whole=False)
    if began is not None and others:
        raise DataError(
            f"{path}: holds runs that began at {', '.join(map(_stamp, others[:5]))}, and none at {_stamp(began)} as in "
            "the cRED_log.txt; "
            "nothing was imported. Give the log of that day."
        )
    return Window(path, first[0], number, first[1], whole=True)


def _stamp(text: str) -> str:
    """What stands for a time, as it may stand in a message."""
    return shown(text, STAMP_WIDTH)


def _said(line: LogLine) -> Iterator[Record]:
    """A line that is not the camera's: a state where it says so, a fault for an error, or a note."""
    for words, name in STATES.items():
        if line.message.startswith(words):
            yield {"t_ns": line.t_ns, "kind": "state", "name": name, "trigger": line.message}
            return
    if line.level in ("ERROR", "CRITICAL"):
        yield {"t_ns": line.t_ns, "kind": "fault", "name": line.module, "reason": line.message}
    else:
        where = {"module": line.module, "line": line.line, "level": line.level}
        yield {"t_ns": line.t_ns, "kind": "note", "name": "log", **where, "text": line.message}


def _figures(facts: Mapping[str, str]) -> Iterator[Record]:
    """What the log says of the whole run, without an instant."""
    figures: dict[str, Any] = {
        "frames": _count(facts, "Number of frames"),
        "snapshots": _count(facts, "Number of images"),
        "start_deg": _number(facts, "Starting angle"),
        "end_deg": _number(facts, "Ending angle"),
        "oscillation_deg": _number(facts, "Oscillation angle"),
        "period_s": _number(facts, "Acquisition time"),
        "elapsed_s": _number(facts, "Total time"),
    }
    yield {"t_ns": None, "kind": "note", "name": "result", **figures}
    for name in ("Stage start", "Stage end"):
        found = STAGE.search(facts.get(name, ""))
        if found is not None:
            values = dict(zip(("x_nm", "y_nm", "z_nm", "a_deg", "b_deg"), map(_float, found.groups()), strict=True))
            yield {"t_ns": None, "kind": "note", "name": name.lower(), **values}


def _snapshots(facts: Mapping[str, str]) -> tuple[int | None, float | None]:
    """Interval and exposure of the defocused pictures; the log of a run without any has no such line."""
    found = INTERVAL.search(facts.get("Image interval", ""))
    if found is None:
        return (0 if facts and "Image interval" not in facts else None), None
    return int(found[1]), float(found[2])


def _number(facts: Mapping[str, str], name: str) -> float | None:
    found = re.match(rf"{NUMBER}(?:\s|$)", facts.get(name, ""))
    return float(found[1]) if found else None


def _count(facts: Mapping[str, str], name: str) -> int | None:
    number = _number(facts, name)
    return None if number is None else round(number)


def _float(text: str) -> float | None:
    return float(text) if re.fullmatch(NUMBER, text) else None
