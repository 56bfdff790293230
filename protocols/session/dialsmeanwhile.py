"""DIALS beside a session, as two computations: each data set is processed once, by the `dials.sh` of its run, and then
all that DIALS has processed so far are scaled, phase by phase. At the lowest priority; what is said stands in the
session's trace.

Files: `SMV/dials` of each run, and `dials/phase_N` of the session, with the script that made it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.frame import Picture
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.compute import Computation, Verdict
from engine.run.computeworker import Earlier
from engine.run.run import Run
from protocols.session.mergedsofar import INTEGRATE, taken_in
from protocols.session.night import DIALS

if TYPE_CHECKING:
    from protocols.session.judging.phases import Phase

Pictures = Callable[[int], Picture]

FOLDER = "dials"
PROCESS = Computation(
    "dials_process",
    "protocols.session.dialsmeanwhile:process",
    latency_s=90.0,
    limit_s=3700.0,
    resolution=0.1,
    builds_on=INTEGRATE.name,
)
"""On a virtual clock: a minute or two for a rotation. Longer than its own limit, after which it is ended in order."""
SCALED = Computation(
    DIALS,
    "protocols.session.dialsmeanwhile:scale",
    latency_s=30.0,
    limit_s=3700.0,
    queue="newest",
    resolution=1e-4,
    builds_on=INTEGRATE.name,
)


class ByDials:
    """Has a data set that was integrated processed, and then all of them scaled, beside what a run does. tell, warn:
    words for the operator.
    """

    def __init__(self, run: Run, tell: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._run, self._tell, self._warn = run, tell, warn
        run.compute.declare(PROCESS, SCALED)

    async def __call__(self, number: int, d_min_A: float) -> None:
        """Says what came of it."""
        outcome = await self._run.compute.compute(PROCESS, {"number": number, "d_min_A": d_min_A})
        why_not = outcome.fields["why_not"] if outcome.good else outcome.error
        if why_not:
            self._warn(f"DIALS did not process data set {number}: {why_not}")
            return
        outcome = await self._run.compute.compute(SCALED, {"d_min_A": d_min_A})
        if outcome.good:
            self._tell(f"DIALS: {dials_words(outcome.fields)}")
        elif outcome.verdict is not Verdict.REPLACED:
            self._warn(f"DIALS did not scale: {outcome.error}")


def process(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """arguments: `number` of the data set and `d_min_A`. `why_not`: in words, empty where its files are there;
    `seconds`: that it took.
    """
    from protocols.session.judging.dialsjobs import DialsJob, processed

    told = next(each for each in map(taken_in, reversed(earlier)) if each["number"] == arguments["number"])
    run = earlier[-1].folder / str(told["run_dir"])
    outcome = processed(DialsJob(int(told["number"]), run, float(arguments["d_min_A"])))
    return {"why_not": outcome.why_not, "seconds": outcome.seconds}


def scale(arguments: JsonObject, picture: Pictures, earlier: Sequence[Earlier]) -> JsonDict:
    """arguments: `d_min_A`. `phases`: of each, as our own judgement has it, `number`, `data_sets` that DIALS has
    processed, and what dials.scale says of them (`PhaseOutcome`). A phase of which nothing is new is not scaled again.
    """
    from protocols.session.judging.dataset import data_set
    from protocols.session.judging.dialsjobs import is_processed
    from protocols.session.judging.phases import phases_of

    folder = earlier[-1].folder
    told = sorted(map(taken_in, earlier), key=lambda each: each["number"])
    runs = {each["number"]: folder / str(each["run_dir"]) for each in told}
    sets = [data_set(each["result"], each["number"], each["crystal"], each["run_dir"]) for each in told]
    rows = []
    for phase in phases_of(sets):
        numbers = [each.number for each in phase.data_sets]
        done = [number for number in numbers if is_processed(runs[number])]
        if done:
            rows.append(_scaled(folder, phase, runs, done, float(arguments["d_min_A"])))
    return {"phases": rows}


def _scaled(folder: Path, phase: "Phase", runs: dict[int, Path], done: list[int], d_min_A: float) -> JsonDict:
    from protocols.session.judging.dialsjobs import PhaseJob, scaled, write_list

    row: JsonDict = {"number": phase.number, "data_sets": done}
    without = [runs[each.number] for each in phase.data_sets if each.number not in done]
    script = folder / FOLDER / f"phase_{phase.number}.sh"
    before = script.read_text(encoding="utf-8") if script.is_file() else ""
    write_list(folder / FOLDER, phase, [runs[number] for number in done], without, d_min_A)
    kept = script.with_suffix(".json")
    if before == script.read_text(encoding="utf-8") and kept.is_file():
        outcome: JsonDict = json.loads(kept.read_text(encoding="utf-8"))
    else:
        outcome = asdict(scaled(PhaseJob(phase.number, script)))
        kept.write_text(json.dumps(outcome), encoding="utf-8")
    return row | outcome


def dials_words(told: JsonObject) -> str:
    """For a person, a line for all phases."""
    return "; ".join(_phase_words(each) for each in told.get("phases", ()))


def _phase_words(row: JsonObject) -> str:
    count = len(row["data_sets"])
    begin = f"phase {row['number']}, {count} data set{'s' if count > 1 else ''}: "
    if row["why_not"]:
        return f"{begin}{row['why_not']}"
    figures = [
        ("complete", row["completeness"], ".0%"),
        ("times", row["multiplicity"], ".1f"),
        ("R_meas", row["r_meas"], ".3f"),
        ("CC1/2", row["cc_half"], ".4f"),
    ]
    return begin + ", ".join(f"{name} {value:{form}}" for name, value, form in figures if value is not None)
