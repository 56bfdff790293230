"""A session as its report sees it: what its trace and run.json say, and `merged.json` where data sets were merged.

The folders of its children need not be there. What cannot be read is said.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.clock import NS_PER_S
from engine.errors import DataError, Refused, shown
from engine.record.document import RunDocument
from engine.record.jsonobject import JsonDict
from engine.record.trace import Record, read_trace
from protocols.session.judging.dataset import DataSet, data_set
from protocols.session.judging.mergedfiles import FILE, FOLDER, SCHEMA
from protocols.session.night import CHOSEN, DATA_SET, FAULT, JUDGE, OVER, Night

SESSION = "session"
S_PER_MIN = 60.0


@dataclass(slots=True)
class Tally:
    """Of all children of one kind: how many, how many that did not end well, how long, and the beam on for how long."""

    count: int = 0
    badly: int = 0
    seconds: float = 0.0
    beam_on_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What a judgement said: after so many hours and data sets, how complete each phase (by number) was."""

    hours: float
    data_sets: int
    completeness: Mapping[int, float]


@dataclass(slots=True, eq=False)
class SessionSource:
    """night: all that is known at its end. sets: by number. minutes: that each crystal took, by number. phases: of the
    merging, else of the last judgement. is_merged: which of the two. tallies: of the children of this session (not of
    one that it goes on from), by protocol. lost: what could not be read.
    """

    folder: Path
    document: RunDocument
    header: Record
    night: Night
    sets: list[DataSet]
    minutes: dict[int, float]
    phases: list[JsonDict]
    is_merged: bool
    unplaced: dict[int, str]
    tallies: dict[str, Tally]
    growth: list[Growth]
    faults: list[Record]
    lost: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the session is called."""
        return self.document.run_id or self.folder.name

    @property
    def phase_of(self) -> dict[int, int]:
        """Number of the phase of each data set that is of one."""
        return {int(number): int(phase["number"]) for phase in self.phases for number in phase["data_sets"]}

    @property
    def flux_e_A2_s(self) -> float | None:
        """As the plan says it."""
        goal = self.document.plan.get("goal")
        flux = goal.get("flux_e_A2_s") if isinstance(goal, Mapping) else None
        return float(flux) if isinstance(flux, int | float) else None


def open_session(folder: Path) -> SessionSource:
    """Refused for a folder that is no session's. DataError for one without a readable trace."""
    document = RunDocument.read(folder)
    if document.protocol != SESSION:
        raise Refused(
            f"{folder}: is a run of {shown(document.protocol)}, not of session; nothing was done. Give the folder of a "
            "session."
        )
    records: list[Record] = []
    lost: list[str] = []
    try:
        records.extend(read_trace(folder))
    except DataError as error:  # the records before the damage are there
        lost.append(str(error))
    if not records:
        raise DataError(f"{folder}: its trace cannot be read; there is nothing to report. {'; '.join(lost)}")
    header, body = records[0], records[1:]
    continued: Any = header.get("continued") or {}
    night = Night.of(continued.get("done"), str(continued.get("run", "")))
    for record in body:
        night.take(record)
    sets = [data_set(each["result"], each["number"], each["crystal"], each["run_dir"]) for each in night.data_sets]
    merged = _merged(folder, lost)
    judged: Any = merged if merged is not None else night.judged
    return SessionSource(
        folder=folder,
        document=document,
        header=header,
        night=night,
        sets=sets,
        minutes=_minutes(body),
        phases=[each for each in judged.get("phases", []) if isinstance(each, dict)],
        is_merged=merged is not None,
        unplaced=_unplaced(judged, sets),
        tallies=_tallies(body),
        growth=_growth(body),
        faults=[record for record in body if record["kind"] == "note" and record["name"] == FAULT],
        lost=lost,
    )


def _merged(folder: Path, lost: list[str]) -> JsonDict | None:
    path = folder / FOLDER / FILE
    try:
        told: JsonDict = json.loads(path.read_text(encoding="utf-8"))
        if told["schema"] != SCHEMA or not isinstance(told["phases"], list):
            raise ValueError(f"schema {shown(told['schema'])} is not known")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        lost.append(f"{path}: {shown(error)}; `credline session merge {folder}` writes it anew")
        return None
    return told


def _unplaced(judged: Any, sets: Sequence[DataSet]) -> dict[int, str]:
    told = {int(each["number"]): str(each["why"]) for each in judged.get("unplaced", [])}
    placed = {int(number) for phase in judged.get("phases", []) for number in phase["data_sets"]}
    for each in sets:
        if each.number not in placed:
            told.setdefault(each.number, "; ".join(each.reasons) or "its cell fits no phase")
    return told


def _minutes(records: Sequence[Record]) -> dict[int, float]:
    chosen: dict[int, int] = {}
    found: dict[int, float] = {}
    for record in records:
        if record["kind"] == "note" and record["name"] == CHOSEN:
            chosen[int(record["crystal"])] = record["t_ns"]
        elif record["kind"] == "note" and record["name"] == OVER and int(record["crystal"]) in chosen:
            number = int(record["crystal"])
            found[number] = (record["t_ns"] - chosen[number]) / NS_PER_S / S_PER_MIN
    return found


def _tallies(records: Sequence[Record]) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    for record in records:
        if record["kind"] != "child" or record.get("event") == "begin":
            continue
        tally = found.setdefault(str(record.get("protocol", "")), Tally())
        result = record.get("result")
        tally.count += 1
        tally.badly += record.get("status") not in ("done", "stopped")
        begin_ns, end_ns = record.get("begin_ns"), record.get("end_ns")
        if isinstance(begin_ns, int) and isinstance(end_ns, int):
            tally.seconds += (end_ns - begin_ns) / NS_PER_S
        beam = result.get("beam_on_s") if isinstance(result, Mapping) else None
        tally.beam_on_s += float(beam) if isinstance(beam, int | float) and math.isfinite(beam) else 0.0
    return found


def _growth(records: Sequence[Record]) -> list[Growth]:
    found: list[Growth] = []
    begin_ns = next((record["t_ns"] for record in records if record["kind"] == "state"), 0)
    count = 0
    for record in records:
        count += (record["kind"], record["name"]) == ("note", DATA_SET)
        if record["kind"] != "computation" or record["name"] != JUDGE or not isinstance(record.get("result"), Mapping):
            continue
        phases: Any = record["result"].get("phases") or []
        complete = {int(p["number"]): float(p["completeness"]) for p in phases if p.get("completeness") is not None}
        found.append(Growth((record["t_ns"] - begin_ns) / NS_PER_S / 3600, count, complete))
    return found
