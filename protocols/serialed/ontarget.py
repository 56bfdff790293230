"""Of a run on a simulated grid: whether the probe was on the right crystal. For the result, never for a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import dist
from typing import Any

from drivers.contract import Truth
from engine.record.jsonobject import JsonDict
from engine.record.remains import Remains
from protocols.serialed.records import IMAGE, PATTERN

NEAR_NM = 100.0
"""The beam is on a crystal whose place it is nearer to than this."""


def on_target(truth: Truth, remains: Remains) -> JsonDict | None:
    """What the note `TRUTH` says: `patterns` of which the simulation tells, the share of them that were `on_target`,
    `median_nm` and `p99_nm` from the middle of the beam to where the crystal was; how many places had a crystal indeed,
    and how many of these were lit. None where the specimen is no grid. Takes a ms a pattern.

    The right crystal is what the image showed at the place that the finder named: that place of the grid is told by the
    true scale of that image, whatever was believed of it.
    """
    seen = {exposure.begin_ns: exposure for exposure in truth.seen_on_grid()}
    if not seen:
        return None
    images: dict[Any, Any] = {}
    away_nm: list[float] = []
    there = lit = 0
    frames: Sequence[Any] = remains.frames
    for frame in frames:
        columns: Mapping[str, Any] = frame.columns
        exposure = seen.get(frame.start_ns)
        if exposure is None:
            continue
        if frame.kind == IMAGE.name:
            images[columns["field"]] = exposure
        elif frame.kind == PATTERN.name and columns["field"] in images:
            place_nm = images[columns["field"]].place_nm(columns["fast_px"], columns["slow_px"])
            away_nm.append(dist(place_nm, exposure.beam_nm))
            named = truth.lit_on_grid(replace(exposure, beam_nm=place_nm))
            if named.numbers:
                there += 1
                right = named.numbers[named.of_beam.index(max(named.of_beam))]
                lit += right in truth.lit_on_grid(exposure).numbers
    if not away_nm:
        return None
    ordered = sorted(away_nm)
    return {
        "patterns": len(away_nm),
        "on_target": round(sum(each <= NEAR_NM for each in away_nm) / len(away_nm), 4),
        "median_nm": round(ordered[len(ordered) // 2], 1),
        "p99_nm": round(ordered[int(0.99 * (len(ordered) - 1))], 1),
        "crystals_there": there,
        "crystals_lit": lit,
    }
