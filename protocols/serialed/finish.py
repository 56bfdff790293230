"""The result of a serial run, from its records and the frames on disk: for a run, its replay and its recovery."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from drivers.facts import Facts
from engine.errors import CredlineError
from engine.record.beamtime import beam_on_s
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.trace import Record
from engine.record.warned import TRUTH
from protocols.serialed.budgets import SerialedBudgets
from protocols.serialed.limit import pace_of
from protocols.serialed.plan import SerialedPlan
from protocols.serialed.raster import total_fields
from protocols.serialed.records import BEAM_NOTE, FIELD, IMAGE, PATTERN
from protocols.serialed.results.runknown import tables_of_remains
from protocols.serialed.results.toldtables import told_tables

GOOD_FROM = 0.5
SKIPPED = ("bar", "asked", "stage", "lost")


def finish_serialed(remains: Remains) -> RunEnd:
    """What was done, how fast, and what is missing. Raises nothing for what a crash can leave."""
    images, patterns = remains.of_kind(IMAGE.name), remains.of_kind(PATTERN.name)
    notes = [record for record in remains.records if record["kind"] == "note"]
    over = {int(note["field"]): str(note["how"]) for note in notes if note["name"] == FIELD}
    how = Counter(over.values())
    beams = [note for note in notes if note["name"] == BEAM_NOTE]
    plan, budgets = _plan_of(remains), _budgets_of(remains)
    truth = next((note for note in notes if note["name"] == TRUTH), None)
    pace = pace_of(remains.records, budgets)
    good, scored = _scores(remains.records)
    before = (remains.header.get("continued") or {}).get("done") or {}
    total = 0 if plan is None else total_fields(plan)
    result: JsonDict = {
        "images": len(images),
        "patterns": len(patterns),
        "isolated": sum(bool(frame.columns["is_isolated"]) for frame in patterns),
        "scored": scored,
        "good": good,
        "crystals_found": sum(int(note["found"]) for note in notes if note["name"] == FIELD),
        "fields": total,
        "fields_done": len(over) + len(before.get("done", [])),
        "fields_skipped": {name: how[name] for name in SKIPPED if how[name]},
        "fields_without_film": how["barren"],
        "elapsed_s": round(pace.elapsed_s, 3),
        "patterns_per_hour": round(3600 * len(patterns) / pace.elapsed_s, 1) if pace.elapsed_s > 0 else 0.0,
        "limit_ratio": None if pace.ratio is None else round(pace.ratio, 4),
        "on_target": None if truth is None else truth["on_target"],
        "exposures_lost": sum(record["kind"] == "refused" for record in remains.records),
        "beam": _beam(beams),
        "beam_on_s": round(beam_on_s(remains.records), 3),
    }
    if plan is not None and plan.tell_crystals:
        result |= told_tables(tables_of_remains(remains), remains)
    if before:
        result["earlier"] = {"images": before.get("images", 0), "patterns": before.get("patterns", 0)}
    left = total - len(over) - len(before.get("done", []))
    words = "the run ended before; credline run --continue goes on with them"
    missing: Sequence[JsonObject] = [{"fields": left, "reason": words}] if left > 0 else []
    return RunEnd(result, missing=missing)


def _beam(notes: Sequence[Record]) -> JsonDict:
    """What looks at the probe told: how often, how much the calibration was off, how far it wandered, its size."""
    if not notes:
        return {"looks": 0}
    first, *later = notes
    return {
        "looks": sum(int(note["looks"]) for note in notes),
        "calibration_off_percent": first["off_percent"],
        "probe_nm": first["probe_nm"],
        "largest_move_nm": max((float(note["moved_nm"]) for note in later), default=0.0),
    }


def _scores(records: Sequence[Record]) -> tuple[int, int]:
    """How many patterns are worth a run, and how many were scored."""
    scores = [
        float(record["result"]["good"])
        for record in records
        if record["kind"] == "computation" and record["name"] == "screen" and "result" in record
    ]
    return sum(score > GOOD_FROM for score in scores), len(scores)


def _plan_of(remains: Remains) -> SerialedPlan | None:
    try:
        return SerialedPlan(**remains.plan)
    except (ValidationError, TypeError):  # of a damaged header
        return None


def _budgets_of(remains: Remains) -> SerialedBudgets | None:
    plan, told = _plan_of(remains), remains.header.get("instrument")
    if plan is None or not isinstance(told, dict):
        return None
    try:
        return SerialedBudgets(plan, Facts.of(told))
    except CredlineError:
        return None


def told_rows(result: JsonObject) -> list[tuple[str, str]]:
    """The result for a person."""
    rows = [
        ("images", f"{result['images']} of {result['fields']} fields; {result['fields_without_film']} without film"),
        ("crystals found", f"{result['crystals_found']}"),
        ("patterns", f"{result['patterns']}, {result['isolated']} of isolated crystals"),
        ("worth a run", f"{result['good']} of {result['scored']} scored"),
        ("pace", f"{result['patterns_per_hour']:.0f} patterns an hour, {result['elapsed_s'] / 60:.1f} min"),
    ]
    if result.get("limit_ratio"):
        rows.append(("of the hardware's own pace", f"{100 * result['limit_ratio']:.0f} %"))
    if result["fields_skipped"]:
        skipped: Any = result["fields_skipped"]
        rows.append(("fields skipped", ", ".join(f"{number} {name}" for name, number in skipped.items())))
    beam: Any = result["beam"]
    if beam.get("probe_nm"):
        rows.append(("probe", f"{beam['probe_nm']:.0f} nm; moved {beam['largest_move_nm']:.0f} nm at most"))
    if result.get("exposures_lost"):
        rows.append(("exposures lost", str(result["exposures_lost"])))
    return rows
