"""What came of a session, from its records alone: for a run, its replay and its recovery. Pure."""

from collections import Counter
from typing import Any

from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from protocols.session.night import COLLECTED, Night, is_indexable

S_PER_H = 3600.0


def night_of(remains: Remains) -> Night:
    """What is known of it, with the sessions that it goes on from."""
    continued: Any = remains.header.get("continued") or {}
    night = Night.of(continued.get("done"), str(continued.get("run", "")))
    for record in remains.records:
        night.take(record)
    return night


def finish_session(remains: Remains) -> RunEnd:
    """The result; of a session that goes on, of all of it together."""
    night = night_of(remains)
    hours = night.elapsed_s() / S_PER_H
    aside = [each for each in night.over.values() if each.how != COLLECTED]
    result: JsonDict = {
        "hours": round(hours, 4),
        "screened": night.patterns,
        "blocks": night.blocks,
        "crystals": len(night.crystals),
        "tried": len(night.over),
        "data_sets": len(night.data_sets),
        "indexable": night.indexable,
        "phases": len(night.phases),
        "faults": night.faults,
        "waited_s": round(night.waited_s, 1),
        "beam_on_s": round(night.beam_on_s, 3),
        "beam_untold": night.beam_untold,
        "data_sets_per_hour": round(len(night.data_sets) / hours, 2) if hours > 0 else 0.0,
        "set_aside": dict(Counter(each.stage for each in aside)),
        "in_state_s": {name: round(spent_s, 1) for name, spent_s in night.in_state_s.items()},
    }
    sections: JsonDict = {
        "session": {
            "phases": night.phases,
            "merged": night.merged.get("phases", []),
            "dials": night.dials.get("phases", []),
            "data_sets": [
                {
                    **{key: each[key] for key in ("number", "crystal", "run_dir")},
                    "indexable": is_indexable(each["result"]),
                }
                for each in night.data_sets
            ],
            "set_aside": [{"crystal": each.crystal, "stage": each.stage, "reason": each.reason} for each in aside],
        }
    }
    return RunEnd(result, sections=sections)


def told_rows(result: JsonObject) -> list[tuple[str, str]]:
    """The result for a person."""
    rows = [
        ("time", f"{result['hours']:.2f} h, beam on for {result['beam_on_s'] / S_PER_H:.2f} h of it"),
        ("screened", f"{result['screened']} patterns; {result['crystals']} crystals known"),
        (
            "data sets",
            f"{result['data_sets']} of {result['tried']} crystals tried; {result['indexable']} can be indexed",
        ),
        ("phases", str(result["phases"])),
        ("pace", f"{result['data_sets_per_hour']:.1f} data sets an hour"),
    ]
    aside: Any = result["set_aside"]
    if aside:
        rows.append(("set aside", ", ".join(f"{count} at {stage}" for stage, count in aside.items())))
    if result["faults"]:
        rows.append(("device faults", f"{result['faults']}, waited {result['waited_s'] / 60:.1f} min for them"))
    spent: Any = result["in_state_s"]
    if spent:
        most = sorted(
            ((name, s) for name, s in spent.items() if s >= 3.0), key=lambda each: -each[1]
        )  # shown as 0.1 min
        rows.append(("time went to", ", ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in most[:5])))
    if result["beam_untold"]:
        rows.append(("beam", f"{result['beam_untold']} children did not tell how long it was on"))
    return rows
