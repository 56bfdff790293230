"""Recorded computations: a replay's gate gives their outcomes again, and `recompute` computes them anew to compare.

Nothing is computed in a replay; each outcome comes at its recorded instant, also that a computation was late or its
worker dead. The queue's rule is applied anew, so a change of it shows as a divergence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import Clock
from engine.errors import ComputationError, DataError
from engine.record.frametable import DATA_FILE, FramesFile
from engine.record.spool import SPOOL_FILE, SpooledPictures
from engine.record.trace import Record, ends_early
from engine.run.compute import Bulk, Computation, ComputeGate, Job, Json, Outcome, Trouble, Verdict
from engine.run.computeworker import PictureOf, Question, answer_from
from engine.run.computeworkers import Holder, nothing
from engine.run.registry import stored_pictures

if TYPE_CHECKING:
    from engine.frame import Picture

NEVER_NS = 2**62

STEPS_APART = 1.01
"""Results that differ by fewer steps of the resolution are the same: near half a step it may go either way."""


class RecordedComputations:
    """Implements `engine.run.compute.Computing` from the records of a run.

    clock: a punctual one, on which the recorded instants are.
    """

    def __init__(self, clock: Clock, records: Sequence[Record]) -> None:
        self._clock = clock
        self._recorded = {(r["name"], r["number"]): r for r in records if r["kind"] == "computation"}
        self._ends_early = bool(records) and ends_early(records)
        self._holder = Holder()

    async def ready(self, computations: Sequence[Computation], *, inline: bool, trouble: Trouble | None) -> None:
        """See `Computing.ready`: nothing is computed."""
        for _ in computations:
            await self._holder.hold(nothing)

    def asked(self, computation: Computation, job: Job) -> None:
        """See `Computing.asked`."""
        record = self._of(computation, job)
        if record is None and self._ends_early:
            return  # under way when the program was cut off
        known = "none" if record is None else _asked(record["arguments"], record["pictures"], record.get("earlier", 0))
        asked = _asked(dict(job.arguments), list(job.pictures), len(job.earlier))
        if known != asked:
            raise ComputationError(
                f"computation {computation.name}, number {job.number} ({asked}): was not recorded at this point; the "
                f"recorded run asked for {known}."
            )

    async def carry_out(self, computation: Computation, job: Job) -> Outcome:
        """See `Computing.carry_out`."""
        record = self._of(computation, job)
        if job.pictures or job.earlier:
            await self._holder.hold(nothing)
        if record is None or record["verdict"] == Verdict.GIVEN_UP:
            job.begin_ns = record["begin_ns"] if record is not None else None
            await self._clock.sleep_until(NEVER_NS)
        if record is None or record["verdict"] in (Verdict.GIVEN_UP, Verdict.REPLACED):
            raise ComputationError(
                f"computation {computation.name}, number {job.number}: had no outcome of its own in the recorded run."
            )
        job.begin_ns = record["begin_ns"]
        if job.begin_ns is not None:
            await self._clock.sleep_until(job.begin_ns)
        await self._clock.sleep_until(record["end_ns"])
        await self._holder.hold(nothing)
        return _outcome(record)

    async def let_go(self, computation: Computation, job: Job) -> None:
        """See `Computing.let_go`: no earlier than then, for on a real clock time-outs come late."""
        record = self._of(computation, job)
        if record is not None:
            await self._clock.sleep_until(record["end_ns"])

    def close(self) -> None:
        """See `Computing.close`."""
        self._holder.close()

    def _of(self, computation: Computation, job: Job) -> Record | None:
        return self._recorded.get((computation.name, job.number))


def _asked(arguments: Json, pictures: Sequence[int], earlier: int) -> str:
    return f"{arguments}, pictures {pictures}" + (f", earlier outcomes {earlier}" if earlier else "")


def _outcome(record: Record) -> Outcome:
    """What a record says. Raises DataError for one that was damaged."""
    try:
        return Outcome(Verdict(record["verdict"]), record.get("result"), record.get("error", ""), _bulk(record))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"trace: record {record['seq']} holds no outcome of a computation; the file was damaged or edited."
        ) from error


def _bulk(record: Record) -> Bulk | None:
    """Where the bytes of an outcome are; those of an old trace have a file of their own. Raises KeyError and such."""
    bulk = record.get("bulk")
    if bulk is None:
        return None
    return Bulk(str(bulk["file"]), str(bulk["sha256"]), int(bulk["size_bytes"]), int(bulk.get("offset", 0)))


@dataclass(frozen=True, slots=True)
class Difference:
    """A computation that does not give its recorded result again. found: the new result, or why there is none."""

    name: str
    number: int
    where: str
    recorded: Json
    found: Json


def recompute_run(records: Sequence[Record], folder: Path) -> tuple[int, list[Difference]]:
    """The same for a run folder, with its pictures; what its experiment declares is asked of a replay.

    Raises DataError where a picture cannot be read.
    """
    from engine.replay.replay import replay_with_result  # which begins with this module

    gates: list[ComputeGate] = []
    replay_with_result(records, folder, lambda run: gates.append(run.compute))
    declared = [computation for gate in gates for computation in gate.declared]
    spool = folder / SPOOL_FILE
    if spool.exists():
        return recompute(declared, records, SpooledPictures(spool).picture, folder)
    stored = stored_pictures()(folder)
    frames = {record["index"]: record for record in records if record["kind"] == "frame"}

    def picture_of(index: int) -> "Picture":
        picture = stored.find(frames[index]) if index in frames else _extra(folder, index)
        if picture is None:
            raise DataError(f"{folder.name} has no picture {index} any more")
        return picture

    try:
        return recompute(declared, records, picture_of, folder)
    finally:
        stored.close()


def _extra(folder: Path, index: int) -> "Picture | None":
    """A picture that is no frame, as the flatfield: it has no record of its own."""
    with FramesFile(folder / DATA_FILE) as file:
        return file.extra_at(index)


def recompute(
    computations: Sequence[Computation], records: Sequence[Record], picture_of: PictureOf, folder: Path
) -> tuple[int, list[Difference]]:
    """Compute again what a run computed in time: how many were, and those that differ by more than the resolution.

    folder: of the run; what was returned beside earlier results lies there. Blocks for as long as the functions take.
    """
    known = {computation.name: computation for computation in computations}
    done, differences = 0, []
    kept: dict[str, list[Bulk]] = {}
    for record in records:
        if record["kind"] != "computation" or "result" not in record:
            continue
        if (bulk := _bulk(record)) is not None:
            kept.setdefault(record["name"], []).append(bulk)
        done += 1
        if record["name"] not in known:
            differences.append(Difference(record["name"], record["number"], "function", "declared", "declared no more"))
            continue
        computation = known[record["name"]]
        earlier = tuple(kept.get(computation.builds_on, ())[: record.get("earlier", 0)])
        question = Question(computation, record["arguments"], tuple(record["pictures"]), earlier)
        found = answer_from(question, picture_of, folder)
        steps = computation.resolution if isinstance(computation.resolution, Mapping) else {}
        step = 0.0 if isinstance(computation.resolution, Mapping) else computation.resolution
        recorded: Json = record["result"]
        apart = ("result", recorded, found.failed) if found.failed else _apart(recorded, found.result, steps, step, "")
        if apart is not None:
            differences.append(Difference(record["name"], record["number"], *apart))
    return done, differences


def _apart(old: Json, new: Json, steps: Mapping[str, float], step: float, where: str) -> tuple[str, Json, Json] | None:
    """The first place where two results differ by more than the resolution."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and set(old) == set(new):
        inner = [(old[key], new[key], steps.get(key, step), f"{where}.{key}".lstrip(".")) for key in old]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        inner = [(a, b, step, f"{where}[{k}]") for k, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        near = isinstance(old, float) and isinstance(new, float) and abs(old - new) <= STEPS_APART * step
        return None if near or (type(old) is type(new) and old == new) else (where or "result", old, new)
    return next((apart for a, b, s, w in inner if (apart := _apart(a, b, steps, s, w)) is not None), None)
