"""What the last look at the crystal told, as it stands in the result of a run with `live`: for who goes on from it, as
a session does. Pure.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.record.jsonobject import JsonDict
from engine.record.trace import Record
from protocols.lattice.cell import Cell

OF_THE_LOOK = (
    *("deg", "determined", "reasons", "cell", "cell_sigma", "bravais", "indexed", "lattices", "resolution_A"),
    *("completeness", "damage", "phases"),
)
LOOK, DECISION = "live", "decision"
"""Names of the computation (`protocols.cred.livelook.LOOK`) and of the note with which it ends a run."""


def live_result(records: Sequence[Record]) -> JsonDict | None:
    """Of the last look that determined a lattice, else of the last: `OF_THE_LOOK` as `protocols.live.look` tells them,
    and besides `primitive`, the cell of the primitive lattice (a, b, c in A, angles in deg), `orientation`, (3, 3) its
    a*, b*, c* as columns in 1/A in the crystal at stage angle 0 (both None without a lattice), and `ended_by`, the key
    of the plan by which a look ended the run, or None. None for a run without looks.
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
    result: JsonDict = {name: told.get(name) for name in OF_THE_LOOK}
    fit = told.get("fit")
    ub = None if fit is None else np.array(fit["ub"], dtype=np.float64)
    result["primitive"] = None
    if ub is not None:
        result["primitive"] = [round(x, 4) for x in Cell.from_reciprocal_metric(ub.T @ ub).parameters]
    result["orientation"] = None if ub is None else [[round(float(x), 7) for x in row] for row in ub]
    return result | {"ended_by": ended}
