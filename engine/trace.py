"""The trace of a run: everything that entered it and everything it did, one JSON object a line.

The trace also keeps the *run's time*: the instant of the last event that entered through one of the four gates (a
wake, the end of a call, a frame, a command). Between two gates nothing depends on the clock, so a replay that lets
the same events in at the same instants writes the same trace, byte for byte, also of a run on the real clock.

Flat records `{seq, t_ns, kind, name, ...}`; the first is the header. Recording is an append to a list (the hot
path); lines are made and written by `drain`, which the run calls where it has time. A virtual run with the same
seed writes the same bytes wherever and whenever it runs, so wall time, host and paths never come in here.

An observer that fails is dropped and logged, and never disturbs the run.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from engine.clock import Clock
from engine.errors import DataError

SCHEMA = 1

log = structlog.get_logger()

Record = dict[str, Any]
Observer = Callable[[Record], None]


class Trace:
    """Records what happens; `path` None keeps nothing but tells the observers."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        self._clock = clock
        self.now_ns = clock.now_ns()
        self._seq = 0
        self._pending: list[Record] = []
        self._file: TextIO | None = path.open("x", encoding="utf-8", newline="\n") if path else None
        self._observers: list[Observer] = []

    def tick(self) -> int:
        """An event has just entered: bring the run's time up to the clock, and return it."""
        self.now_ns = self._clock.now_ns()
        return self.now_ns

    def header(self, **fields: Any) -> None:
        """The first record: schema version, configuration, seed, devices, kind of clock, program version."""
        self.record("header", "credline", schema=SCHEMA, **fields)

    def record(self, kind: str, name: str, **fields: Any) -> None:
        """Append a record with the run's time. Costs microseconds; nothing is written yet."""
        record: Record = {"seq": self._seq, "t_ns": self.now_ns, "kind": kind, "name": name, **fields}
        self._seq += 1
        self._pending.append(record)
        for observer in tuple(self._observers):
            try:
                observer(record)
            except Exception:
                self._observers.remove(observer)
                log.exception("an observer of the trace failed and was dropped; the run goes on", observer=observer)

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every record from now on."""
        self._observers.append(observer)

    @property
    def pending(self) -> int:
        """Records not yet written."""
        return len(self._pending)

    def take_pending(self) -> Callable[[], None]:
        """Take what is pending and return the job that writes it and hands it to the operating system.

        The job runs in the writer's thread; to the disk itself it comes with the journal's next line.
        """
        pending, self._pending = self._pending, []

        def write() -> None:
            if self._file is not None:
                self._file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in pending)
                self._file.flush()

        return write

    def close(self, *, sync: bool) -> None:
        """Write the rest, to the disk itself if `sync`, and close the file; the writer must be drained."""
        self.take_pending()()
        if self._file is not None:
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def read_trace(path: Path) -> Iterator[Record]:
    """The records of a trace, up to a torn last line. Raises DataError when the file cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if not line.endswith("\n"):
                    return
                yield json.loads(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DataError(f"{path}: holds a line that is no record ({error}); those before it are readable.") from error


def jsonable(value: object) -> object:
    """A call's argument or result as it stands in the trace: numbers, text, lists of them, fields of dataclasses."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: jsonable(getattr(value, name)) for name in fields}
    return repr(type(value).__name__)
