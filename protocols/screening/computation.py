"""Screening as a computation of a run: a pure function of JSON and of one picture in the run's spool.

It goes through `engine.run.compute`, in a worker, while the next pattern is taken: `SCREEN` is what an experiment
declares, `told` the arguments, and what comes back `answered` reads. Without TensorFlow the geometry of the spots
scores, and the result says so.
"""

from typing import TYPE_CHECKING, Any

from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation

if TYPE_CHECKING:
    from protocols.screening.scoring import Score

LATENCY_S, LIMIT_S = 0.05, 1.0
"""On a virtual clock, and the longest. A picture of 512 x 512 takes 5 ms, one of 4096 x 4096 some 200 ms."""

SCREEN = Computation(
    "screen",
    "protocols.screening.scoringworker:screen_in",
    latency_s=LATENCY_S,
    limit_s=LIMIT_S,
    resolution={"good": 1e-3, "several": 1e-3, "d_min_A": 1e-2},
)


def told(index: int, inverse_A_per_px: float, *, wide_cross: bool) -> JsonDict:
    """The arguments of the computation. index: of the pattern in the spool. inverse_A_per_px: 1/A a pixel. wide_cross:
    whether the camera's middle rows and columns are wider than the others.
    """
    return {"pattern": index, "inverse_nA_per_px": round(inverse_A_per_px * 1e9), "wide_cross": wide_cross}


def answered(result: JsonObject) -> "tuple[Score, str]":
    """What the worker found, and what a person should know about how."""
    from protocols.screening.scoring import Score

    values: dict[str, Any] = dict(result)
    note = str(values.pop("note"))
    return Score(**values), note
