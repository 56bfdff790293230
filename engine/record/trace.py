"""The trace of a run: everything that entered it and everything it did, one JSON object a line.

The trace also keeps the *run's time*: the instant of the last event that entered through one of the five gates (a
wake, the end of a call, a frame, the outcome of a computation, a command). Between two gates nothing depends on the
clock, so a replay that lets the same events in at the same instants writes the same trace, byte for byte, also of a
run on the real clock. There an event enters when the reaction to the one before is over (`Clock.at_rest`), as where
time stands still meanwhile.

Flat records `{seq, t_ns, kind, name, ...}`; the first is the header. Recording is an append to a list (the hot
path); lines are made and written by `drain`, which the run calls where it has time. A virtual run with the same
seed writes the same bytes wherever and whenever it runs, so wall time, host and paths never come in here.

An observer that fails is dropped and logged, and never disturbs the run.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from engine.clock import Clock
from engine.errors import DataError
from engine.record.disk import Disk
from engine.record.jsonobject import JsonDict
from engine.record.schema import problem

SCHEMA = 2
LINE_LIMIT_BYTES = 2**20
IS_LOG = "is a log"
"""The note of a trace that says what was done and not why, as its `text` tells: nothing can be replayed from it."""
"""No record comes near this; a longer line is damage, and is not read to its end."""
HELD_RECORDS = 2_000
"""So many, 2 MB, are held as they are; a run of a minute has some hundred."""

log = structlog.get_logger()

Record = JsonDict
Observer = Callable[[Record], None]


class Trace:
    """Records what happens; `path` None keeps nothing but tells the observers."""

    def __init__(
        self, clock: Clock, path: Path | None = None, disk: Disk | None = None, *, durable: bool = False
    ) -> None:
        self._clock = clock
        self.now_ns = clock.now_ns()
        self.first: Record = {}
        """The header, once it was written."""
        self.cut_off = ""
        """Why the file ends before the run; empty while it does not."""
        self._seq = 0
        self._pending: list[Record] = []
        self._taken: list[list[Record] | bytes] = []
        """What was taken for the disk, in order; of a long run squeezed as it is written, for it may last a day."""
        self._disk = disk or Disk()
        self._durable = durable
        self._file: BinaryIO | None = path.open("xb", buffering=0) if path else None
        self._observers: list[Observer] = []

    def tick(self) -> int:
        """An event has just entered: bring the run's time up to the clock, and return it."""
        self.now_ns = self._clock.now_ns()
        return self.now_ns

    def header(self, **fields: object) -> None:
        """The first record: schema version, configuration, seed, devices, kind of clock, program version."""
        self.record("header", "credline", schema=SCHEMA, **fields)
        self.first = self._pending[-1]

    def record(self, kind: str, name: str, **fields: object) -> None:
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

    def recorded(self) -> list[Record]:
        """Every record so far, as a file holds them: for who makes the result, whether or not the disk took them.

        Not to be changed. Takes some 10 us a record where there are more than `HELD_RECORDS`.
        """
        records: list[Record] = []
        for batch in self._taken:
            if isinstance(batch, bytes):
                records += [json.loads(line) for line in zlib.decompress(batch).splitlines()]
            else:
                records += batch
        return records + self._pending

    def take_pending(self) -> Callable[[], None]:
        """Take what is pending and return the job that writes it, for the writer's thread.

        A durable trace is forced to the disk with it: without its header the frames of a run have no angles.
        """
        pending, self._pending = self._pending, []
        place = len(self._taken)
        self._taken.append(pending)

        def write() -> None:
            lines = _lines(pending)
            if pending and pending[-1]["seq"] >= HELD_RECORDS:
                for k, batch in enumerate(self._taken[: place + 1]):
                    if not isinstance(batch, bytes):
                        self._taken[k] = zlib.compress(_lines(batch), 1)
            if self._file is None:
                return
            try:
                self._disk.write(self._file, lines)
                if self._durable:
                    self._disk.sync(self._file)
            except OSError as error:
                # Lines after a torn one would be damage: the trace ends here, as after a crash.
                self.cut_off = str(error)
                self._file.close()
                self._file = None
                raise

        return write

    def close(self, *, sync: bool) -> None:
        """Write the rest, to the disk itself if `sync`, and close the file; the writer must be drained."""
        try:
            self.take_pending()()
            if self._file is not None and sync:
                self._disk.sync(self._file)
        except OSError as error:
            log.warning("the last records of the trace could not be written", cause=str(error))
        if self._file is not None:
            self._file.close()
            self._file = None


def _lines(records: Sequence[Record]) -> bytes:
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records).encode()


def trace_path(run: Path) -> Path:
    """The trace of a run folder; a file is taken for the trace itself."""
    return run / "trace.jsonl" if run.is_dir() else run


def open_trace(run: Path) -> tuple[Record, Iterator[Record]]:
    """The header of a run's trace and the records after it, as `read_trace` reads them."""
    records = read_trace(run)
    return next(records), records


def read_trace(run: Path) -> Iterator[Record]:
    """The records of a run folder or trace file, header first, one at a time and checked.

    A last line that was cut off is left out with a warning. Raises DataError for anything else that is wrong, once
    the records before it have been handed out. Never holds more than one line, and of no line more than a mebibyte.
    """
    path = trace_path(run)
    try:
        with path.open("rb") as file:
            seq = 0
            while line := file.readline(LINE_LIMIT_BYTES + 1):
                if len(line) > LINE_LIMIT_BYTES:
                    raise _damaged(path, seq, f"is longer than {LINE_LIMIT_BYTES} bytes")
                record, wrong = _record(line)
                if wrong is not None and seq and not line.endswith(b"\n"):
                    log.warning(
                        "the last record of the trace was cut off and is left out", trace=str(path), line=seq + 1
                    )
                    return
                if record is None or wrong is not None:
                    raise _damaged(path, seq, wrong or "")
                if seq == 0:
                    _check_header(path, record)
                elif record["seq"] != seq:
                    raise _damaged(path, seq, f"is record {record['seq']} where {seq} was expected")
                seq += 1
                yield upgraded(record)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}). Name a run folder, or the trace.jsonl in it."
        ) from error
    if seq == 0:
        raise DataError(f"{path}: is empty: nothing was recorded, or the file was lost. There is nothing to read.")


def _record(line: bytes) -> tuple[Record | None, str | None]:
    """A line's record, and what is wrong with it if anything is."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None, "is no JSON"
    return record, problem(record)


def _damaged(path: Path, seq: int, wrong: str) -> DataError:
    if seq == 0:
        return DataError(f"{path}: is no trace: its first line {wrong}. Name a run folder, or the trace.jsonl in it.")
    return DataError(
        f"{path}: line {seq + 1} {wrong}: the file was damaged or edited. The {seq} records before it are readable; "
        "take a copy of the file from elsewhere if there is one."
    )


def _check_header(path: Path, header: Record) -> None:
    """Raise DataError unless the first record is a header with a schema that this program reads."""
    if header["kind"] != "header" or header["seq"] != 0:
        raise DataError(
            f"{path}: does not begin with a header, so its beginning is lost or its lines were shuffled; nothing was "
            "read. Take a copy of the file from elsewhere if there is one."
        )
    schema = header["schema"]
    if schema > SCHEMA:
        raise DataError(
            f"{path}: has schema {schema}, this program reads up to {SCHEMA}; nothing was read. Use the version of "
            f"credline that wrote it ({header.get('version') or 'unknown'}) or a newer one."
        )
    if schema < 1:
        raise DataError(f"{path}: has schema {schema}, and there is none below 1: the header was damaged.")


def upgraded(record: Record) -> Record:
    """A record of a trace of any schema as this one has it.

    Schema 1 had frames of one protocol alone: their slot is a column now, in the same field, and their bounds are
    their instants. So it differs in its header alone. And a camera was armed with a table of exposure times; now it is
    with a list of them.
    """
    if record["kind"] == "call" and record["name"] == "detector.arm":
        return {**record, "args": [list(arg.values()) if isinstance(arg, dict) else arg for arg in record["args"]]}
    if record["kind"] != "header" or record["schema"] == SCHEMA:
        return record
    return {**record, "schema": SCHEMA, "recorded_schema": record["schema"]}


def ends_early(records: Sequence[Record]) -> bool:
    """Whether a trace ends before a final state: the program was cut off, could not write, or did not get there."""
    safe = any(record["kind"] == "note" and record["name"] == "safe state" for record in records)
    return not safe or records[-1]["kind"] != "state"


def jsonable(value: object) -> object:
    """A call's argument or result as it stands in the trace: numbers, text, lists of them, fields of dataclasses."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    return f"<{type(value).__name__}>"
