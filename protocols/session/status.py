"""`status.json` in the session's folder: how the night stands, for other programs, whole at any instant."""

from pathlib import Path

from engine.record.folder import write_json
from engine.record.jsonobject import JsonDict
from protocols.session.night import Night
from protocols.session.plan import GoalPlan

FILE = "status.json"
S_PER_H = 3600.0


ENDED = ("done", "stopped", "aborted", "failed")


def status_of(night: Night, goal: GoalPlan, to_come: int, now_ns: int, *, cut_off: bool = False) -> JsonDict:
    """What stands in it. Hours and seconds are those of the session, and of those that it goes on from."""
    return {
        "schema": 1,
        "status": night.state if night.state in ENDED else "failed" if cut_off else "running",
        "state": night.state,
        "hours": round(night.elapsed_s(now_ns) / S_PER_H, 4),
        "max_hours": goal.max_hours,
        "beam_on_s": round(night.beam_on_s, 1),
        "screened": night.patterns,
        "crystals": len(night.crystals),
        "to_come": to_come,
        "crystal": night.chosen or None,
        "data_sets": len(night.data_sets),
        "indexable": night.indexable,
        "set_aside": sum(each.how != "collected" for each in night.over.values()),
        "phases": [
            {"words": phase.get("words"), "data_sets": len(phase["data_sets"]), "completeness": phase["completeness"]}
            for phase in night.phases
        ],
        "merged": night.merged.get("phases", []),
        "dials": night.dials.get("phases", []),
        "faults": night.faults,
    }


def write_status(folder: Path, told: JsonDict) -> None:
    """Replace the file; a reader sees the old or the new. Raises OSError."""
    write_json(folder / FILE, told, durable=False)
