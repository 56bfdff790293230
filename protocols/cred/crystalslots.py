"""Which slots of a run belong to which of its crystals, where several were exposed in turns: from its records.

`crystals` of the result in run.json: of each its number from 1, the file of its path, `slots` as pairs of first and
last, `frames` that are kept, and `snapshots_found`. A run of one crystal has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.record.trace import Record

TURN = "turn"
"""The event of a run that says whose turn it is after a snapshot. slot: of that snapshot, 0 before the first slot;
crystal: its number from 1.
"""
SEVERAL = "crystals"
"""The key of the result."""


def crystals_of(
    records: Sequence[Record],
    files: Sequence[str],
    found: Sequence[Mapping[str, Any]],
    last: int,
    kept: Sequence[int],
) -> list[dict[str, Any]]:
    """What the result says of them. files: of their paths, in their order. found: looks for a crystal (`crystal`).
    last: the last slot of the run. kept: slots of the frames that are kept.
    """
    turns = [
        (record["slot"], record["crystal"])
        for record in records
        if (record["kind"], record["name"]) == ("tracking", TURN)
        and type(record.get("slot")) is int
        and type(record.get("crystal")) is int
    ]
    slots: dict[int, list[list[int]]] = {number: [] for number in range(1, len(files) + 1)}
    for k, (slot, crystal) in enumerate(turns):
        ends = turns[k + 1][0] - 1 if k + 1 < len(turns) else last
        # The snapshot itself is of the crystal before; its slots hold no frames, so they may stand here.
        if crystal in slots and slot + 1 <= ends:
            slots[crystal].append([slot + 1, ends])
    return [
        {
            "crystal": number,
            "path": file,
            "slots": slots[number],
            "frames": sum(first <= slot <= end for slot in kept for first, end in slots[number]),
            "snapshots_found": sum(each.get("crystal") == number and "x_nm" in each for each in found),
        }
        for number, file in enumerate(files, start=1)
    ]


def slots_of(result: Mapping[str, Any], number: int) -> set[int]:
    """The slots of a crystal, by the result of a run."""
    told = next(each for each in result[SEVERAL] if each["crystal"] == number)
    return {slot for first, last in told["slots"] for slot in range(first, last + 1)}
