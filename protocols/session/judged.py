"""Judging as two computations of a session (`engine.run.compute`): each data set is taken in as bytes, once; a
judgement builds on all of them. Pure functions of their arguments; what they say stands in the session's trace.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation
from engine.run.computeworker import Earlier
from protocols.session.night import JUDGE

Pictures = Callable[[int], Picture]

TAKE_IN = Computation("data_set", "protocols.session.judged:take_in", latency_s=0.01, limit_s=10.0, quick=True)
JUDGED = Computation(
    JUDGE,
    "protocols.session.judged:judge",
    latency_s=1.0,
    limit_s=60.0,
    resolution=1e-6,
    builds_on=TAKE_IN.name,
)


def take_in(arguments: JsonObject, picture: Pictures) -> tuple[JsonDict, bytes]:
    """A data set: `number`, `crystal`, `run_dir`, `result`, as bytes for the judgements to come."""
    return {"number": arguments["number"]}, json.dumps(dict(arguments)).encode()


def judge(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """What all data sets come to: `phases`, each with `number`, `words`, `data_sets` (their numbers), `completeness` to
    `d_min_A` (None where it cannot be told). arguments: `d_min_A`, `instrument` (facts as JSON), `tilt_deg`.
    """
    from protocols.session.judging.dataset import data_set
    from protocols.session.judging.phases import phases_of

    told: list[Any] = [json.loads(each.read()) for each in earlier]
    sets = [data_set(each["result"], each["number"], each["crystal"], each["run_dir"]) for each in told]
    phases = phases_of(sets)
    return {
        "phases": [
            {
                "number": number,
                "words": getattr(phase, "words", ""),
                "data_sets": [each.number for each in phase.data_sets],
                "completeness": None,
            }
            for number, phase in enumerate(phases, 1)
        ]
    }
