"""How near a run came to the hardware's own limit: from its records, for the same visits. Pure.

The limit is the sum of the waits that no program can avoid (`SerialedBudgets`), with the calls as long as the
instrument says that they are, and the stage as quick as it was on the shortest of its ways of the same length.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from engine.clock import NS_PER_S
from engine.record.trace import Record
from protocols.serialed.budgets import SerialedBudgets
from protocols.serialed.records import FIELD, IMAGE, PATTERN
from protocols.serialed.stageways import CLASS_NM


@dataclass(frozen=True, slots=True)
class Pace:
    """Of the fields between the first way of the stage and the end. elapsed_s: what they took. limit_s: what they would
    have taken at the limit; None where nothing tells.
    """

    elapsed_s: float
    limit_s: float | None

    @property
    def ratio(self) -> float | None:
        """Of the limit to what it took, 1 at best."""
        return None if self.limit_s is None or self.elapsed_s <= 0 else self.limit_s / self.elapsed_s


@dataclass(frozen=True, slots=True)
class _Way:
    """Of the stage: from when the call that began it returned until it was seen standing."""

    length: int
    took_s: float


def pace_of(records: Sequence[Record], budgets: SerialedBudgets | None) -> Pace:
    """Of a run. budgets: None where its header does not tell what the instrument was."""
    states = [record for record in records if record["kind"] == "state"]
    begin = next((state["t_ns"] for state in states if state["name"] == "move"), None)
    if begin is None:
        return Pace(0.0, None)
    end = next((state["t_ns"] for state in states if state["name"] == "finalize"), records[-1]["t_ns"])
    elapsed_s = (end - begin) / NS_PER_S
    if budgets is None:
        return Pace(elapsed_s, None)
    ways = list(_ways(records))
    shortest: dict[int, float] = {}
    for way in ways:
        shortest[way.length] = min(way.took_s, shortest.get(way.length, math.inf))
    stage_s = sum(shortest[way.length] for way in ways)
    fields = [record for record in records if record["kind"] == "note" and record["name"] == FIELD]
    images = sum(record["kind"] == "frame" and record["name"] == IMAGE.name for record in records)
    patterns = sum(record["kind"] == "frame" and record["name"] == PATTERN.name for record in records)
    focused = sum(state["name"] == "focus_beam" for state in states)
    restored = sum(state["name"] == "restore" and state["trigger"] == "field_done" for state in states)
    modes = [
        (record["end_ns"] - record["begin_ns"]) / NS_PER_S
        for record in records
        if record["kind"] == "call" and record["name"] == "mode.set_mode" and "error" not in record
    ]
    mode_s = median(modes[1:]) if len(modes) > 1 else 0.0
    each_way_s = stage_s / images if images else 0.0
    back = min(restored, max(images - 1, 0))
    limit_s = (
        patterns * budgets.pattern_limit_s()
        + images * budgets.image_limit_s()
        + focused * budgets.focus_limit_s(mode_s)
        + back * budgets.arrival_limit_s(each_way_s, mode_s, restored=True)
        + (images - back) * budgets.arrival_limit_s(each_way_s, mode_s, restored=False)
    )
    return Pace(elapsed_s, limit_s if fields else None)


def _ways(records: Sequence[Record]) -> Iterator[_Way]:
    """The ways of the stage between the first field and the end."""
    began: tuple[int, int] | None = None
    before: tuple[float, float] | None = None
    finalizing = False
    for record in records:
        finalizing |= record["kind"] == "state" and record["name"] == "finalize"
        if record["kind"] != "call" or "error" in record or finalizing:
            continue
        if record["name"] == "stagexyz.move_xy":
            x_nm, y_nm = record["args"][:2]
            length = -1 if before is None else round(math.hypot(x_nm - before[0], y_nm - before[1]) / CLASS_NM)
            before, began = (x_nm, y_nm), (length, record["end_ns"])
        elif record["name"] == "stagexyz.is_moving" and record["result"] is False and began is not None:
            yield _Way(began[0], (record["begin_ns"] - began[1]) / NS_PER_S)
            began = None
