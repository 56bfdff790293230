"""Judging as two computations of a session (`engine.run.compute`): each data set is taken in as bytes, once; a
judgement builds on all of them. Pure functions of their arguments; what they say stands in the session's trace.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.facts import Geometry
from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation
from engine.run.computeworker import Earlier
from protocols.session.crystals import Crystal
from protocols.session.night import JUDGE

if TYPE_CHECKING:
    from protocols.session.judging.worth import Candidate

Pictures = Callable[[int], Picture]

TAKE_IN = Computation("take_in", "protocols.session.judged:take_in", latency_s=0.01, limit_s=10.0, quick=True)
JUDGED = Computation(
    JUDGE,
    "protocols.session.judged:judge",
    latency_s=1.0,
    limit_s=60.0,
    resolution=1e-6,
    builds_on=TAKE_IN.name,
)
AT_ONCE = 40
"""Crystals that are taken in by one computation: arguments of one are limited."""
MOST_TRIED, ALWAYS_TRIED = 60, 20
"""Crystals whose patterns are tried on the cells by one judgement, some 50 ms a phase for each; and how many of these
are the next ones.
"""


def data_set_in(told: JsonObject) -> JsonDict:
    """The arguments for taking in a data set: `number`, `crystal`, `run_dir`, `result`."""
    return {"data_set": dict(told)}


def crystals_in_parts(crystals: Sequence[Crystal]) -> list[JsonDict]:
    """The arguments for taking in screened crystals, one after the other."""
    rows = [
        [c.number, c.score_good, c.score_several, c.d_min_A, c.neighbour_nm, c.length_nm, c.spots] for c in crystals
    ]
    return [{"crystals": rows[k : k + AT_ONCE]} for k in range(0, len(rows), AT_ONCE)]


def take_in(arguments: JsonObject, picture: Pictures) -> tuple[JsonDict, bytes]:
    """A data set or some crystals, as bytes for the judgements to come."""
    return {"taken": len(arguments.get("crystals", (0,)))}, json.dumps(dict(arguments)).encode()


def judge(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """What all data sets come to, as `protocols.session.judging.judgement` has it, and `worth`, of each crystal that
    may come next, by its number, with `why` of the five best.

    arguments: `d_min_A`; `completeness` that is wanted; `geometry`, as `drivers.facts.Geometry`; `shape`, rows and
    columns of the camera; `tilt_deg`, the lowest and highest of a rotation; `crystals`, numbers of those that may come.
    """
    from protocols.lattice.rotationgeometry import RotationGeometry
    from protocols.session.judging.coverage import Reach, Stage
    from protocols.session.judging.dataset import data_set
    from protocols.session.judging.judgement import judgement
    from protocols.session.judging.phases import phases_of
    from protocols.session.judging.worth import Collected, Wanted, worth

    told: list[Any] = [json.loads(each.read()) for each in earlier]
    sets = [
        data_set(each["result"], each["number"], each["crystal"], each["run_dir"])
        for each in (one["data_set"] for one in told if "data_set" in one)
    ]
    geometry = RotationGeometry.of(Geometry(**arguments["geometry"]))
    rows, columns = arguments["shape"]
    low_deg, high_deg = arguments["tilt_deg"]
    stage, d_min_A = Stage(geometry, (rows, columns), (low_deg, high_deg)), float(arguments["d_min_A"])
    phases = [Reach(phase, stage, d_min_A) for phase in phases_of(sets)]
    judged = judgement(sets, phases)
    wanted = Wanted(d_min_A, float(arguments["completeness"]))
    collected = Collected(phases, geometry.wavelength_A)
    asked = set(arguments["crystals"])
    told_of = {row[0]: row for one in told for row in one.get("crystals", ()) if row[0] in asked}
    valued = {number: worth(_candidate(row, (low_deg, high_deg)), collected, wanted) for number, row in told_of.items()}
    best = sorted(valued, key=lambda number: -valued[number][0])[:5]
    return {
        **judged,
        "worth": {str(number): round(value, 5) for number, (value, _) in sorted(valued.items())},
        "why": {str(number): valued[number][1] for number in best},
    }


def _candidate(row: Sequence[Any], tilt_deg: tuple[float, float]) -> "Candidate":
    from protocols.session.judging.worth import Candidate
    from protocols.session.ranking import UNSCORED

    _, score, several, d_min_A, neighbour_nm, length_nm, spots = row
    nan = math.nan
    return Candidate(
        score=UNSCORED if score is None else score,
        several=several or 0.0,
        d_min_A=d_min_A,
        neighbour_nm=nan if neighbour_nm is None else neighbour_nm,
        length_nm=nan if length_nm is None else length_nm,
        xy_per_A=None if spots is None else np.array(spots, dtype=np.float64).reshape(-1, 2),
        tilt_deg=tilt_deg,
    )
