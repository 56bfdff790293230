"""Merging while a session runs, as two computations: each data set is integrated once, and then all of them so far are
merged. Both go on beside the next crystal; what they say stands in the session's trace.

The intensities are kept as bytes beside the trace, with their digests, so a merge is a pure function of what was
integrated before it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation, Verdict
from engine.run.computeworker import Earlier
from engine.run.run import Run
from protocols.session.judged import TAKE_IN
from protocols.session.night import MERGE

if TYPE_CHECKING:
    from protocols.session.judging.integrated import Integrated
    from protocols.session.judging.merging import MergedPhase

Pictures = Callable[[int], Picture]

INTEGRATE = Computation(
    "integrate",
    "protocols.session.mergedsofar:integrate",
    latency_s=3.0,
    limit_s=120.0,
    builds_on=TAKE_IN.name,
)
"""On a virtual clock: 5 to 20 ms a frame. It builds on what was taken in, for there the data set's folder is told."""
MERGED = Computation(
    MERGE,
    "protocols.session.mergedsofar:merge",
    latency_s=2.0,
    limit_s=120.0,
    queue="newest",
    resolution=1e-4,
    builds_on=INTEGRATE.name,
)
HEAD = b"\n"
"""Ends what is told of a data set, before its intensities."""


class Merging:
    """Has data sets integrated and all of them merged, beside what a run does. tell, warn: words for the operator.
    then: what else is done with a data set that was integrated, by its number and d_min_A.
    """

    def __init__(
        self,
        run: Run,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
        then: Callable[[int, float], Awaitable[None]] | None = None,
    ) -> None:
        self._run, self._tell, self._warn, self._then = run, tell, warn, then
        self._under_way = 0
        self._all_over = asyncio.Event()
        self._all_over.set()

    def begin(self, number: int, d_min_A: float) -> None:
        """With a data set that was taken in; the run goes on."""
        self._under_way += 1
        self._all_over.clear()
        self._run.in_background(self._merged(number, d_min_A), f"merge {number}")

    async def over(self) -> None:
        """Wait until none is under way: within the limits of the computations."""
        await self._all_over.wait()

    async def _merged(self, number: int, d_min_A: float) -> None:
        try:
            outcome = await self._run.compute.compute(INTEGRATE, {"number": number, "d_min_A": d_min_A})
            integrated = outcome.good
            if integrated:
                outcome = await self._run.compute.compute(MERGED, {"d_min_A": d_min_A})
            if outcome.good:
                told = outcome.fields
                self._tell(f"merged: {merged_words(told)}")
            elif outcome.verdict is not Verdict.REPLACED:
                self._warn(f"data set {number} could not be merged: {outcome.error}")
            if integrated and self._then is not None:
                await self._then(number, d_min_A)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._all_over.set()


def integrate(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> tuple[JsonDict, bytes]:
    """arguments: `number` of the data set and `d_min_A`. What it is, and its intensities, as bytes for merges."""
    from protocols.session.judging.gathered import Gathered, looked_at
    from protocols.session.judging.integrated import as_bytes, measured

    folder = earlier[-1].folder
    told = _told(arguments["number"], earlier)
    run = folder / told["run_dir"]
    _, result = looked_at(Gathered(told["number"], told["crystal"], run))  # by all of its frames, as its end has it
    found = measured(run, float(arguments["d_min_A"]))
    # The same seed gives the same bytes: what a run is called by chance is left out.
    live = {name: value for name, value in result["live"].items() if name != "run"}
    told["result"] = {**told["result"], **result, "live": live}
    return {"observations": len(found.hkl), "why_not": found.why_not}, json.dumps(told).encode() + HEAD + as_bytes(
        found
    )


def _told(number: int, earlier: Sequence[Earlier]) -> JsonDict:
    for each in reversed(earlier):
        taken: JsonDict = json.loads(each.read())
        data: Any = taken.get("data_set")
        if data is not None and data["number"] == number:
            return dict(data)
    raise ValueError(f"data set {number} was not taken in")


def merge(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """arguments: `d_min_A`. `phases`: of each its `number`, `data_sets` (numbers of those merged), `left_out`, `group`,
    `completeness` and `multiplicity` of the union, its `r_meas` and `cc_half`, null where too little repeats.
    """
    from protocols.session.judging.dataset import data_set
    from protocols.session.judging.integrated import from_bytes
    from protocols.session.judging.merging import merge_phase
    from protocols.session.judging.phases import phases_of

    measured: dict[int, Integrated] = {}
    sets = []
    for each in earlier:
        told, intensities = _parted(each)
        measured[told["number"]] = from_bytes(intensities)
        sets.append(data_set(told["result"], told["number"], told["crystal"], told["run_dir"]))
    sets.sort(key=lambda each: each.number)
    d_min_A = float(arguments["d_min_A"])
    return {"phases": [_row(merge_phase(phase, measured, d_min_A)) for phase in phases_of(sets)]}


def taken_in(integrated: Earlier) -> JsonDict:
    """Of a data set that was integrated, what it is: `number`, `crystal`, `run_dir`, `result`."""
    return _parted(integrated)[0]


def _parted(integrated: Earlier) -> tuple[JsonDict, bytes]:
    """What a data set is, and its intensities."""
    head, _, intensities = integrated.read().partition(HEAD)
    return json.loads(head), intensities


def _row(merged: "MergedPhase") -> JsonDict:
    whole = merged.whole
    return {
        "number": merged.phase.number,
        "data_sets": [each.number for each in merged.placed],
        "left_out": sorted(merged.left_out),
        "group": merged.group.xhm(),
        "completeness": whole.completeness if whole else 0.0,
        "multiplicity": whole.multiplicity if whole else 0.0,
        "r_meas": whole.r_meas if whole else None,
        "cc_half": whole.cc_half if whole else None,
    }


def merged_words(merged: JsonObject) -> str:
    """For a person, a line for all phases."""
    return "; ".join(_phase_words(each) for each in merged.get("phases", ()))


def _phase_words(row: JsonObject) -> str:
    figures = [("R_meas", row["r_meas"], ".3f"), ("CC1/2", row["cc_half"], ".4f")]
    told = [f"{name} {value:{form}}" for name, value, form in figures if value is not None]
    count = len(row["data_sets"])
    words = [f"{row['completeness']:.0%} complete, {row['multiplicity']:.1f} times", *told]
    left = f" ({len(row['left_out'])} left out)" if row["left_out"] else ""
    return f"phase {row['number']} ({row['group']}), {count} merged{left}: {', '.join(words)}"
