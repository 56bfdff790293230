"""What the last look at the crystal told, as it stands in the result of a run with `live`: for who goes on from it, as
a session does. Pure.
"""

from collections.abc import Sequence
from typing import Any

from engine.record.jsonobject import JsonDict
from engine.record.trace import Record

OF_THE_LOOK = (
    *("deg", "determined", "reasons", "cell", "cell_sigma", "bravais", "primitive", "primitive_sigma"),
    *("camera_length_sigma", "orientation", "indexed", "lattices", "second", "resolution_A"),
    *("completeness", "damage", "phases", "shadowed_deg", "in_shadow_deg", "absent_deg"),
)
LOOK, DECISION = "live", "decision"
"""Names of the computation (`protocols.cred.livelook.LOOK`) and of the note with which it ends a run."""


def live_result(records: Sequence[Record]) -> JsonDict | None:
    """Of the last look that determined a lattice, else of the last: `OF_THE_LOOK` as `protocols.live.look` tells them,
    None for what it does not, and `ended_by`, the key of the plan by which a look ended the run, or None. None for a
    run without looks.
    """
    looks: list[Any] = [
        record["result"]
        for record in records
        if record["kind"] == "computation" and record["name"] == LOOK and "result" in record
    ]
    if not looks:
        return None
    told = next((look for look in reversed(looks) if look.get("determined")), looks[-1])
    ended = next((r["key"] for r in records if (r["kind"], r["name"]) == ("note", DECISION)), None)
    return {**{name: told.get(name) for name in OF_THE_LOOK}, "ended_by": ended}
