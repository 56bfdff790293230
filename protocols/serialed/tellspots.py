"""The spots of a pattern, for who tries cells on it: a computation of a serial run whose result tells its crystals.

What is told is what screening sees (`protocols.screening.seenspots`), the strongest spots alone.
"""

from collections.abc import Callable

import numpy as np

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation

SPOTS = Computation("spots", "protocols.serialed.tellspots:spots_in", latency_s=0.03, limit_s=1.0, resolution=1e-4)
FROM_SCORE = 0.3
"""Patterns with a lower score are of no crystal that anybody goes on with."""
MOST = 40


def told(index: int, inverse_A_per_px: float, *, wide_cross: bool) -> JsonDict:
    """The arguments of the computation. index: of the pattern in the spool. inverse_A_per_px: 1/A a pixel. wide_cross:
    whether the camera's middle rows and columns are wider than the others.
    """
    return {"pattern": index, "inverse_nA_per_px": round(inverse_A_per_px * 1e9), "wide_cross": wide_cross}


def spots_in(arguments: JsonObject, picture: Callable[[int], Picture]) -> JsonDict:
    """`xy_per_A`: fast and slow of each spot from the beam in 1/A, one after the other, the strongest first."""
    from protocols.products.corrections import correction
    from protocols.screening.preprocessing import cuts_of, picture_of
    from protocols.screening.seenspots import seen_spots

    # On equal pixels, for a cell is to fit what lies on both sides of the cross.
    frame = correction(None, bool(arguments["wide_cross"]), 0).apply(picture(int(arguments["pattern"])))[0]
    (cut,) = cuts_of(frame[None], arguments["inverse_nA_per_px"] / 1e9)
    spots = seen_spots(picture_of(cut), cut)
    strongest = np.argsort(-spots.snr, kind="stable")[:MOST]
    return {"xy_per_A": [round(float(value), 4) for value in spots.xy_per_A[strongest].ravel()]}
