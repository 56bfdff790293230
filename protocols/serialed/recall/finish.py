"""What came of a recall, from its records alone: pure, the same for a run, its replay and its recovery."""

from engine.record.beamtime import beam_on_s
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.remains import Remains, RunEnd
from engine.record.warned import TRUTH
from protocols.screening.computation import SCREEN
from protocols.serialed.recall.plan import IMAGE
from protocols.serialed.records import PATTERN

RECALLED = "recalled"
"""The note of what a look found."""


def finish_recall(remains: Remains) -> RunEnd:
    """The result: `found`, and of the last look `off_nm` (x, y from the old place), `away_nm` (from where the stage
    stands), `place_nm`, `seen` (itself, not by its neighbours alone), `matched`, `expected`, `sure`; `beam_shift` that
    is on it; `score` of the pattern, and where a simulation tells `beam_off_nm`, how far the beam was from the crystal.
    None for what was not done.
    """
    notes = [record for record in remains.records if record["kind"] == "note"]
    last = next((note for note in reversed(notes) if note["name"] == RECALLED), None)
    aimed = next((note for note in reversed(notes) if note["name"] == "aimed"), None)
    truth = next((note for note in notes if note["name"] == TRUTH), None)
    scores = [
        record["result"]["good"]
        for record in remains.records
        if record["kind"] == "computation" and record["name"] == SCREEN.name and "result" in record
    ]
    names = ("off_nm", "away_nm", "place_nm", "seen", "matched", "expected", "sure", "left_nm")
    result: JsonDict = {"found": last is not None, **{name: (last or {}).get(name) for name in names}}
    result |= {
        "beam_shift": None if aimed is None else [aimed.get("beam_x"), aimed.get("beam_y")],
        "images": len(remains.of_kind(IMAGE.name)),
        "patterns": len(remains.of_kind(PATTERN.name)),
        "score": scores[-1] if scores else None,
        "beam_on_s": round(beam_on_s(remains.records), 3),
        "beam_off_nm": None if truth is None else truth.get("median_nm"),
    }
    return RunEnd(result)


def told_rows(result: JsonObject) -> list[tuple[str, str]]:
    """The result for a person."""
    if not result.get("found"):
        return [("found", "no"), ("images", str(result.get("images", 0)))]
    x, y = result["off_nm"]
    rows = [
        ("off its old place", f"{x:.0f}, {y:.0f} nm along x, y of the stage"),
        ("sure", f"{100 * result['sure']:.1f} %, by {result['matched']} of {result['expected']} crystals"),
        ("seen itself", "yes" if result["seen"] else "no: its neighbours say where it is"),
        ("stage", f"{result['away_nm']:.0f} nm from having it in the middle"),
    ]
    if result.get("beam_shift"):
        rows.append(("beam shift on it", "{:.0f}, {:.0f} units".format(*result["beam_shift"])))
    if result.get("score") is not None:
        rows.append(("score of its pattern", f"{result['score']:.3f}"))
    return rows
