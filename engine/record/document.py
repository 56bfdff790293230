"""run.json: what was asked of a run and what came of it, as one model that everybody reads and writes it by.

A run writes it when it begins (status `running`) and at its end; recovery writes it anew, from the trace's header
where it was lost. What the engine knows of a run are fields here; what only its protocol knows stands in `result` and
`own`, as the protocol gives it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from engine.errors import DataError
from engine.record.folder import write_json
from engine.record.jsonobject import JsonDict, JsonObject

SCHEMA = 2
RUN_FILE = "run.json"
TRACE_FILE = "trace.jsonl"
NAMED = 5
"""So many runs are named at most where a folder of runs was given for one of them."""
RUNNING = "running"
"""The status of a run that goes on, or was cut off."""

PROGRAM = "credline"
INSTRUMENT = ("geometry", "detector", "origins", "calibration")
"""What run.json says of the instrument, each an object of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """What run.json says. None, or empty: not known, as after a crash that cost run.json, or not so.

    label: the first part of the run folder's name. created_at: wall time at instant 0 of all times in the run folder,
    ISO 8601 with its offset. remarks: what was unusual or objected to before the run, and accepted. warnings: what is
    wrong with its frames (`engine.run.framewatch`). watchdog: what became of it. parent: the folder of the run whose
    child it is. continued: the run that it goes on from, and what was done there. trace_cut_off, disk_failed: why trace
    and data end before the run. instrument: `geometry`, `detector`, the `origins` of figures, and how sure those are
    that were calibrated (`calibration`), as they hold now; corrections: of these, of the plan's words on files, or of
    how the run ended, after the run, each an object of `key`, `was`, `now`, `at` (wall time) and `by`. recovered: what
    `credline recover` found. own: what else the protocol says beside its result.
    """

    protocol: str
    status: str = RUNNING
    run_id: str = ""
    label: str | None = None
    version: str | None = None
    created_at: str | None = None
    clock: str | None = None
    seed: int | None = None
    devices: str | None = None
    host: JsonObject = field(default_factory=dict)
    timing_health: JsonObject | None = None
    plan: JsonObject = field(default_factory=dict)
    reason: str = ""
    alarms: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    corrections: tuple[JsonObject, ...] = ()
    watchdog: str | None = None
    parent: str | None = None
    continued: JsonObject | None = None
    trace_cut_off: str | None = None
    disk_failed: str | None = None
    instrument: JsonObject = field(default_factory=dict)
    result: JsonObject = field(default_factory=dict)
    recovered: JsonObject | None = None
    own: JsonObject = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The run.json of a run folder. Raises DataError when there is none, or it is damaged, or no run's."""
        path = folder / RUN_FILE
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if (folder / TRACE_FILE).exists():
                raise DataError(f"{path}: no such file; `credline recover {folder}` makes it from the trace") from error
            raise DataError(f"{path}: no such file; {folder} is not the folder of a run{_near(folder)}") from error
        except NotADirectoryError as error:
            raise DataError(f"{folder}: is a file; give the folder of the run, {folder.parent}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: not readable as JSON ({error}); `credline recover {folder}` rewrites it"
            ) from error
        return cls.from_json(told, path)

    @classmethod
    def from_json(cls, told: object, path: Path) -> Self:
        """What a run.json of any schema up to this one says. path: for messages. Raises DataError as `read`."""
        if not isinstance(told, dict) or not isinstance(told.get("protocol"), str):
            raise DataError(f"{path}: is not the run.json of {PROGRAM}; it was left as it is")
        schema = told.get("schema")
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            raise DataError(
                f"{path}: schema {schema}, this version reads up to {SCHEMA}; use the credline that wrote it"
            )
        reader = _Reader(_upgraded(told), path)
        seed = told.get("seed")
        return cls(
            protocol=told["protocol"],
            status=reader.text("status") or "",
            run_id=reader.text("run_id") or "",
            label=reader.text("label"),
            version=reader.text("version"),
            created_at=reader.text("created_at"),
            clock=reader.text("clock"),
            seed=seed if type(seed) is int else None,
            devices=reader.text("devices"),
            host=reader.object("host") or {},
            timing_health=reader.object("timing_health"),
            plan=reader.object("plan") or {},
            reason=reader.text("reason") or "",
            alarms=reader.texts("alarms"),
            remarks=reader.texts("remarks"),
            warnings=reader.texts("warnings"),
            corrections=reader.objects("corrections"),
            watchdog=reader.text("watchdog"),
            parent=reader.text("parent"),
            continued=reader.object("continued"),
            trace_cut_off=reader.text("trace_cut_off"),
            disk_failed=reader.text("disk_failed"),
            instrument={name: part for name in INSTRUMENT if (part := reader.object(name)) is not None},
            result=reader.object("result") or {},
            recovered=reader.object("recovered"),
            own={name: value for name, value in reader.told.items() if name not in KNOWN},
        )

    @classmethod
    def from_header(cls, header: JsonObject | None, run_id: str) -> Self:
        """What the header of a trace knows of a lost run.json; wall time and host nobody knows any more.

        A header that is lost as well (None) leaves a run of no protocol.
        """
        known = header or {}
        reader = _Reader(known, Path("trace.jsonl"))
        plan, instrument = reader.object("plan") or {}, reader.object("instrument") or {}
        label = known.get("label", plan.get("sample"))
        seed = known.get("seed")
        return cls(
            protocol=reader.text("protocol") or "",
            run_id=run_id,
            label=label if isinstance(label, str) else None,
            version=reader.text("version"),
            clock=reader.text("clock"),
            seed=seed if type(seed) is int else None,
            devices=reader.text("devices"),
            plan=plan,
            continued=reader.object("continued"),
            instrument={name: instrument[name] for name in INSTRUMENT if isinstance(instrument.get(name), dict)},
        )

    def to_json(self) -> JsonDict:
        """The same as one JSON object, in the order in which people read it; what is not so is left out."""
        document: JsonDict = {
            "schema": SCHEMA,
            "program": PROGRAM,
            "version": self.version,
            "protocol": self.protocol,
            "run_id": self.run_id,
            "label": self.label,
            "created_at": self.created_at,
            "clock": self.clock,
            "seed": self.seed,
            "devices": self.devices,
            "host": dict(self.host),
            "timing_health": self.timing_health,
            "plan": dict(self.plan),
            "watchdog": self.watchdog,
            "parent": self.parent,
            "continued": self.continued,
            "status": self.status,
            "reason": self.reason,
            "alarms": list(self.alarms),
            "remarks": list(self.remarks) or None,
            "warnings": list(self.warnings) or None,
            "trace_cut_off": self.trace_cut_off,
            "disk_failed": self.disk_failed,
            **self.instrument,
            "corrections": [dict(each) for each in self.corrections] or None,
            "result": dict(self.result),
            **self.own,
            "recovered": self.recovered,
        }
        optional = (
            "remarks",
            "warnings",
            "watchdog",
            "parent",
            "continued",
            "trace_cut_off",
            "disk_failed",
            "corrections",
            "recovered",
        )
        return {name: value for name, value in document.items() if value is not None or name not in optional}

    def write(self, folder: Path, *, durable: bool = True) -> None:
        """Replace the run.json of a folder atomically. Raises OSError."""
        write_json(folder / RUN_FILE, self.to_json(), durable=durable)

    @property
    def ended_as(self) -> str:
        """The status that the run itself ended with, as its trace has it: a correction may have mended it since."""
        return next((str(each.get("was")) for each in self.corrections if each.get("key") == "status"), self.status)

    @property
    def has_ended(self) -> bool:
        """Whether the run has come to an end, by itself or by a recovery."""
        return self.status != RUNNING


KNOWN = frozenset({"schema", "program", *INSTRUMENT, *RunDocument.__dataclass_fields__} - {"instrument", "own"})
"""The keys of run.json that are not the protocol's."""


def _upgraded(told: JsonObject) -> JsonObject:
    """A run.json of an earlier schema as this one has it: what began the folder's name was called its sample."""
    if told["schema"] > 1:
        return told
    return {("label" if name == "sample" else name): value for name, value in told.items()}


def _near(folder: Path) -> str:
    """Which runs may be meant, in a sentence: those that lie in the folder, else where to look."""
    within = sorted(path.parent.name for path in folder.glob(f"*/{RUN_FILE}"))
    if not within:
        return f"; `{PROGRAM} runs list` tells the runs in ./runs"
    more = f" and {len(within) - NAMED} more" if len(within) > NAMED else ""
    return f". Runs in it: {', '.join(within[:NAMED])}{more}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """The values of a JSON object, each of the type that it must have. Raises DataError for another one."""

    told: JsonObject
    path: Path

    def text(self, name: str) -> str | None:
        """A text, or None."""
        value = self.told.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def object(self, name: str) -> JsonObject | None:
        """An object, or None."""
        value = self.told.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, "object")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; none is an empty one."""
        value = self.told.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise self._wrong(name, "list of texts")
        return tuple(value or ())

    def objects(self, name: str) -> tuple[JsonObject, ...]:
        """A list of objects; none is an empty one."""
        value = self.told.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
            raise self._wrong(name, "list of objects")
        return tuple(value or ())

    def _wrong(self, name: str, kind: str) -> DataError:
        return DataError(
            f"{self.path}: its {name!r} is no {kind}, so a key is of the wrong type; it was left as it is. "
            f"`credline recover {self.path.parent}` rewrites it"
        )
