"""Going on with a raster that was interrupted: what was done of it, and which crystals of the last field. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains
from protocols.serialed.aim import Aim
from protocols.serialed.finding.crystals import Found
from protocols.serialed.records import BEAM_NOTE, FIELD, PATTERN, QUEUE, ROUTE
from protocols.serialed.scale import FieldScale

Pair = tuple[float, float]
SAME_PX = 8.0
"""A crystal that was found again lies within this of where the others have moved it."""
LEAST_MATCHED = 0.6
FAR_NM = 3000.0
"""A stage that comes back lands within this of where it was."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What an earlier run has done. done: numbers of its fields. queue: those to come, in its order. seen: fields that
    were looked at, and whether they were barren. field: the one that was under way, 0 for none; found_px: its crystals,
    visited_px: those with a pattern.
    """

    done: tuple[int, ...] = ()
    queue: tuple[int, ...] = ()
    seen: tuple[tuple[int, bool], ...] = ()
    centre_nm: Pair | None = None
    aim: Aim | None = None
    field: int = 0
    found_px: tuple[Pair, ...] = ()
    visited_px: tuple[Pair, ...] = ()

    @classmethod
    def of(cls, done: JsonObject | None) -> "TakenUp":
        """From what the header of the new run holds (`as_json`); nothing for one that begins anew."""
        if done is None:
            return cls()
        aim = done.get("aim")
        return cls(
            tuple(done["done"]),
            tuple(done["queue"]),
            tuple((int(number), bool(barren)) for number, barren in done["seen"]),
            None if done["centre_nm"] is None else (done["centre_nm"][0], done["centre_nm"][1]),
            None if aim is None else Aim((aim[0], aim[1]), (aim[2], aim[3]), (aim[4], aim[5], aim[6], aim[7])),
            int(done["field"]),
            tuple((x, y) for x, y in done["found_px"]),
            tuple((x, y) for x, y in done["visited_px"]),
        )

    def done_px(self, field: int, found: Found, scale: FieldScale) -> tuple[Pair, ...]:
        """Where crystals that have a pattern already lie in a new image of the field that was under way.

        The stage comes back a little elsewhere: by how much, most of the crystals say together. Where they say nothing
        all are visited again.
        """
        if field != self.field or not self.visited_px:
            return ()
        new = [(crystal.fast_px, crystal.slow_px) for crystal in found.crystals]
        moved = moved_px(self.found_px, new, FAR_NM / scale.nm_per_px)
        return () if moved is None else tuple((x + moved[0], y + moved[1]) for x, y in self.visited_px)


def moved_px(old: Sequence[Pair], new: Sequence[Pair], far_px: float) -> Pair | None:
    """By how much crystals have moved from one image to the other, as most of them say; None where they do not."""
    best: list[Pair] = []
    for x0, y0 in old:
        for x1, y1 in new:
            by = x1 - x0, y1 - y0
            if math.hypot(*by) > far_px:
                continue
            agree = [
                (u1 - u0, v1 - v0)
                for u0, v0 in old
                for u1, v1 in new
                if math.hypot(u1 - u0 - by[0], v1 - v0 - by[1]) <= SAME_PX
            ]
            if len(agree) > len(best):
                best = agree
    if not best or len(best) < LEAST_MATCHED * min(len(old), len(new)):
        return None
    return sum(x for x, _ in best) / len(best), sum(y for _, y in best) / len(best)


def as_json(remains: Remains) -> JsonDict:
    """What a new run is told of this one, `TakenUp` reads it; of one that had gone on itself, of both together."""
    before = (remains.header.get("continued") or {}).get("done") or {}
    notes = [record for record in remains.records if record["kind"] == "note"]
    over = {int(note["field"]): str(note["how"]) for note in notes if note["name"] == FIELD}
    route = next((note for note in notes if note["name"] == ROUTE), None)
    beams = [note for note in notes if note["name"] == BEAM_NOTE]
    patterns = remains.of_kind(PATTERN.name)
    unfinished = _unfinished(remains, over)
    done = [*dict.fromkeys([*before.get("done", []), *over])]
    same = bool(unfinished) and unfinished == before.get("field")
    visited = [frame.columns for frame in patterns if frame.columns["field"] == unfinished]
    seen = [[number, how == "barren"] for number, how in over.items() if how in ("visited", "barren", "no crystals")]
    found = _found_px(remains, unfinished)
    told = next((note for note in reversed(notes) if note["name"] == QUEUE), route)
    return {
        "done": done,
        "queue": [number for number in ([] if told is None else told["queue"]) if number not in done],
        "seen": [*before.get("seen", []), *seen],
        "centre_nm": before.get("centre_nm") if route is None else route["centre_nm"],
        "aim": beams[-1]["aim"] if beams else before.get("aim"),
        "field": unfinished,
        "found_px": found or (before.get("found_px", []) if same else []),
        "visited_px": [
            *(_carried(before, found) if same else []),
            *([columns["fast_px"], columns["slow_px"]] for columns in visited),
        ],
        "images": before.get("images", 0) + len(remains.of_kind("image")),
        "patterns": before.get("patterns", 0) + len(patterns),
    }


def _unfinished(remains: Remains, over: dict[int, str]) -> int:
    images = remains.of_kind("image")
    last = int(str(images[-1].columns["field"])) if images else 0
    return 0 if last in over else last


def _carried(before: JsonObject, found: list[list[float]]) -> list[list[float]]:
    """The crystals that an earlier run had visited in the same field, where the image of this one has them."""
    visited: list[list[float]] = before.get("visited_px", [])
    if not found:
        return visited
    moved = moved_px([(x, y) for x, y in before.get("found_px", [])], [(x, y) for x, y in found], math.inf)
    return [] if moved is None else [[x + moved[0], y + moved[1]] for x, y in visited]


def _found_px(remains: Remains, field: int) -> list[list[float]]:
    """The crystals that were found in the last image of a field."""
    indices = [frame.index for frame in remains.of_kind("image") if frame.columns["field"] == field]
    for record in reversed(remains.records):
        if record["kind"] == "computation" and record["name"] == "find" and record["pictures"][:1] == indices[-1:]:
            from protocols.serialed.finding.computation import answered

            found = answered(record["result"]) if "result" in record else None
            return [] if found is None else [[c.fast_px, c.slow_px] for c in found.crystals]
    return []
