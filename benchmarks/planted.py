"""Bugs planted on purpose, and how many seeds `credline soak cred` takes to find each: whether the soak can fail.

    .venv/bin/python benchmarks/planted.py [--seeds 2000] [--hard] [--jobs 2] [--list] [NAME ...]

Each bug replaces a few lines of the program, as somebody might write them on a bad day. A seed counts only when the
program without the bug keeps all rules with it. Exit status 1 when a bug is not found.
tests/protocols/cred/soak/test_planted.py runs some of them, each with a seed that is known to find it.
"""
# ruff: noqa: SLF001 a bug is planted where it would be made, inside

import argparse
import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import protocols.cred.finish as finish
import protocols.cred.livelook as livelook
import protocols.cred.results as results
import protocols.cred.rotation.stagewatch as stagewatch
import protocols.cred.sequence as sequence
from engine.commands.soakruns import command
from engine.errors import CredlineError, DeviceError
from engine.record.endings import Status
from engine.record.journal import Journal
from engine.record.writer import Writer
from engine.run.commands import Commands
from engine.run.contract import SafeAction
from engine.run.data import RunData
from engine.run.framewatch import FrameWatch
from engine.run.registry import experiment_type
from engine.run.run import Run
from engine.run.safety import Safety
from engine.run.series import Series
from engine.run.timeline import PeriodMonitor
from engine.testing import soak
from engine.testing.soak import Verdict, draw, minimised, quiet, try_case
from protocols.cred.experiment import Cred
from protocols.cred.livedecision import Decision
from protocols.cred.livelook import LiveLook
from protocols.cred.records import Collected
from protocols.cred.rotation.angles import fit_rotation, is_astray, is_beyond_plan
from protocols.cred.rotation.stagewatch import StageWatch
from protocols.cred.sequence import CredSequence

Swap = tuple[object, str, object]
"""Of which class or module, which attribute, and what stands there instead."""
PLANTED: dict[str, Callable[[], list[Swap]]] = {}
HANG_S = 5
"""What a run may take on the wall here, where bugs that never end are meant."""


def bug(name: str) -> Callable[[Callable[[], list[Swap]]], Callable[[], list[Swap]]]:
    """Register a bug under its name."""

    def register(plant: Callable[[], list[Swap]]) -> Callable[[], list[Swap]]:
        PLANTED[name] = plant
        return plant

    return register


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The program with one of the bugs, for as long as this lasts."""
    patches = [patch.object(*swap) for swap in PLANTED[name]()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


# --- the beam, the stage, the lens


def without(skipped: set[str], when: Callable[[CredSequence], bool]) -> list[Swap]:
    """Safe actions left out under a condition."""
    unchanged = CredSequence.safe_actions

    def safe_actions(self: CredSequence) -> Any:
        return [a for a in unchanged(self) if not (when(self) and a.name in skipped)] or unchanged(self)[:1]

    return [(CredSequence, "safe_actions", safe_actions)]


def ended_as(sequence: CredSequence, status: Status) -> bool:
    return sequence.run.ending is not None and sequence.run.ending.status is status


@bug("blank missing when aborted")
def _() -> list[Swap]:
    return without({"blank the beam", "make sure of the beam"}, lambda self: ended_as(self, Status.ABORTED))


@bug("beam blanked last instead of first")
def _() -> list[Swap]:
    return without({"blank the beam"}, lambda _: True)


@bug("image shift left where tracking has brought it")
def _() -> list[Swap]:
    return without({"image shift back"}, lambda _: True)


@bug("nobody makes sure of the beam")
def _() -> list[Swap]:
    return without({"make sure of the beam"}, lambda _: True)


@bug("one answer of the blanker believed")
def _() -> list[Swap]:
    def sure_of(beam: Any, alarm: str) -> SafeAction:
        async def make_sure() -> None:
            await beam.blank()
            if not await beam.is_blanked():
                raise DeviceError("beam: the blanker does not close.")

        return SafeAction("make sure of the beam", make_sure, 1.5, alarm)

    return [(sequence, "sure_of", sure_of)]


@bug("beam unblanked while waiting for rotation")
def _() -> list[Swap]:
    unchanged = CredSequence.wait_for_rotation

    async def wait_for_rotation(self: CredSequence) -> str:
        await self._beam.unblank()
        return await unchanged(self)

    return [(CredSequence, "wait_for_rotation", wait_for_rotation)]


@bug("stage not stopped")
def _() -> list[Swap]:
    return without({"stop the rotation"}, lambda self: ended_as(self, Status.FAILED))


@bug("a stop believed before the stage was seen to turn")
def _() -> list[Swap]:
    unchanged = StageWatch._see_it_stand

    async def see_it_stand(self: StageWatch) -> None:
        if self.turning:
            await unchanged(self)

    return [(StageWatch, "_see_it_stand", see_it_stand)]


@bug("a stop believed")
def _() -> list[Swap]:
    async def see_it_stand(self: StageWatch) -> None: ...

    return [(StageWatch, "_see_it_stand", see_it_stand)]


@bug("detector not disarmed")
def _() -> list[Swap]:
    return without({"disarm the detector"}, lambda _: True)


@bug("focus forgotten at the end")
def _() -> list[Swap]:
    return without({"focus the lens"}, lambda _: True)


@bug("refocus forgotten after a snapshot")
def _() -> list[Swap]:
    async def nothing(self: CredSequence) -> None: ...

    unchanged = CredSequence.refocus

    async def refocus(self: CredSequence) -> str:
        with patch.object(self, "_optics", Blind()), patch.object(CredSequence, "_check_focus", nothing):
            return await unchanged(self)

    return [(CredSequence, "refocus", refocus)]


class Blind:
    """A lens that takes 35 ms and does nothing."""

    async def set_focus(self, value: int) -> None:
        """Do nothing."""
        await asyncio.sleep(0.035)


@bug("an alarm that nobody hears")
def _() -> list[Swap]:
    unchanged = Safety._not_done

    def not_done(self: Safety, action: Any, cause: str) -> None:
        unchanged(self, replace(action, alarm=""), cause)

    return [(Safety, "_not_done", not_done)]


# --- frames and slots


@bug("a frame dropped by the pump")
def _() -> list[Swap]:
    unchanged = CredSequence._store

    async def store(self: CredSequence) -> None:
        if self._unstored is not None and self._unstored[1] % 13 == 5:
            self._unstored = None
        await unchanged(self)

    return [(CredSequence, "_store", store)]


@bug("the last frame forgotten when the run fails")
def _() -> list[Swap]:
    unchanged = CredSequence.when_safe

    async def when_safe(self: CredSequence) -> None:
        self._unstored = None
        return await unchanged(self)

    return [(CredSequence, "when_safe", when_safe)]


@bug("frames numbered on after a lost slot")
def _() -> list[Swap]:
    unchanged = RunData.keep

    async def keep(self: RunData, kind: str, frame: Any, *, arrived_ns: int, columns: Any = None) -> bool:
        lost = sum((r["kind"], r["name"]) == ("slot", "lost") for r in self._run.trace.recorded())
        columns = {**columns, "slot": columns["slot"] - lost}
        return await unchanged(self, kind, frame, arrived_ns=arrived_ns, columns=columns)

    return [(RunData, "keep", keep)]


@bug("one slot too many after a lost one")
def _() -> list[Swap]:
    unchanged = CredSequence._lose_until

    def lose_until(self: CredSequence, slot: int, reason: str) -> None:
        lost = slot > self.slot
        unchanged(self, slot, reason)
        self.slot += lost

    return [(CredSequence, "_lose_until", lose_until)]


@bug("a lost slot without its name")
def _() -> list[Swap]:
    def lose_until(self: CredSequence, slot: int, reason: str) -> None:
        self.slot = slot

    return [(CredSequence, "_lose_until", lose_until)]


@bug("a doubled frame is taken for the next")
def _() -> list[Swap]:
    unchanged = Series.frame

    async def frame(self: Series, exposure_s: float, columns: Any = None) -> Any:
        begun, frames = self._begun, self._frames

        async def renumbered() -> Any:
            async for frame in frames:
                yield replace(frame, number=begun - 1)

        self._frames = renumbered()
        try:
            return await unchanged(self, exposure_s, columns)
        finally:
            self._frames = frames

    return [(Series, "frame", frame)]


@bug("late frames are kept")
def _() -> list[Swap]:
    unchanged = Collected.kept
    return [(Collected, "kept", lambda self: unchanged(replace(self, tolerance_ns=2**62)))]


@bug("frames of a standing stage are kept")
def _() -> list[Swap]:
    unchanged = Collected.kept
    return [(Collected, "kept", lambda self: unchanged(replace(self, stage_stopped_ns=None)))]


@bug("the period is a mean since the start")
def _() -> list[Swap]:
    def mean_ns(self: PeriodMonitor) -> int:
        return round(sum(self._recent) / len(self._recent)) if len(self._recent) > 5 else self.period_ns

    made = PeriodMonitor.__init__

    def init(self: PeriodMonitor, period_ns: int, window: int = 11) -> None:
        made(self, period_ns, window)
        self._recent = deque(maxlen=None)

    return [(PeriodMonitor, "median_ns", property(mean_ns)), (PeriodMonitor, "__init__", init)]


@bug("a stale median")
def _() -> list[Swap]:
    unchanged = PeriodMonitor.observe

    def observe(self: PeriodMonitor, interval_ns: int) -> None:
        if len(self._recent) < 11:
            unchanged(self, interval_ns)

    return [(PeriodMonitor, "observe", observe)]


# --- angles


@bug("angles from the plan's speed")
def _() -> list[Swap]:
    def rotation_of(collected: Collected, slots: Any) -> Any:
        stopped_ns = collected.stage_stopped_ns
        nominal_deg_s = slots.oscillation_deg / slots.period_s
        turning = [r for r in collected.readings if stopped_ns is None or r.t_after_ns <= stopped_ns]
        fit, first = fit_rotation(turning, nominal_deg_s), fit_rotation(turning[:1], nominal_deg_s)
        return fit and first and replace(fit, rate_deg_s=nominal_deg_s, reference_ns=first.reference_ns,
                                 angle_at_reference_deg=first.angle_at_reference_deg)  # fmt: skip

    return [(results, "rotation_of", rotation_of)]


@bug("a stage that strays is not noticed")
def _() -> list[Swap]:
    return [(stagewatch, "is_astray", lambda *_: False)]


@bug("a reading compared with the last one alone")
def _() -> list[Swap]:
    return [
        (stagewatch, "is_astray", lambda readings, *rest: is_astray(readings[-1:], *rest)),
        (stagewatch, "is_beyond_plan", lambda readings, *rest: is_beyond_plan(readings[-1:], *rest)),
    ]


@bug("no second look at a stage that strays")
def _() -> list[Swap]:
    async def look(self: StageWatch) -> None:
        reading = await self.angle()
        if self._is_astray(self.readings, reading):
            return self._left_out(reading)
        self.readings.append(reading)
        return None

    return [(StageWatch, "look", look)]


# --- tasks, threads, files


@bug("a swallowed cancellation")
def _() -> list[Swap]:
    unchanged = CredSequence._next_frame

    async def next_frame(self: CredSequence, exposure_s: float) -> Any:
        frame = asyncio.ensure_future(unchanged(self, exposure_s))
        while True:
            try:
                return await asyncio.shield(frame)
            except asyncio.CancelledError:
                if frame.cancelled():
                    raise

    return [(CredSequence, "_next_frame", next_frame)]


@bug("a reading that swallows its cancellation")
def _() -> list[Swap]:
    unchanged = CredSequence._read_stage

    async def read_stage(self: CredSequence) -> None:
        try:
            await unchanged(self)
        except asyncio.CancelledError:
            await asyncio.sleep(3)

    return [(CredSequence, "_read_stage", read_stage)]


@bug("a leaked task")
def _() -> list[Swap]:
    unchanged = CredSequence.refocus
    kept = []

    async def refocus(self: CredSequence) -> str:
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))
        return await unchanged(self)

    return [(CredSequence, "refocus", refocus)]


@bug("a leaked thread")
def _() -> list[Swap]:
    return [(Writer, "close", lambda self: None)]


@bug("a file left open")
def _() -> list[Swap]:
    return [(Journal, "close", lambda self: None)]


@bug("a retry that never ends")
def _() -> list[Swap]:
    async def angle(self: StageWatch) -> Any:
        while True:
            try:
                return await self._stage.angle()
            except DeviceError:
                continue

    return [(StageWatch, "angle", angle)]


@bug("a safe action tried without limit")
def _() -> list[Swap]:
    async def make_safe(self: Safety, action: Any) -> None:
        while True:
            try:
                self.first_begun.set()
                return await action.call()
            except CredlineError:
                await self._timeline.wait("again", self._clock.now_ns() + 100_000_000)

    return [(Safety, "_make_safe", make_safe)]


# --- the disk


@bug("a disk error ignored")
def _() -> list[Swap]:
    return [(Writer, "fail", lambda self, error: None)]


@bug("a failed write is followed by others")
def _() -> list[Swap]:
    def submit(self: Writer, job: Callable[[], object], size_bytes: int = 0) -> None:
        def careless() -> None:
            try:
                job()
            except OSError:
                pass

        self._queue(careless, size_bytes)

    return [(Writer, "submit", submit)]


@bug("the journal misses the last state")
def _() -> list[Swap]:
    unchanged = Journal.note

    def note(self: Journal, **fields: Any) -> None:
        if fields.get("state") not in ("failed", "aborted"):
            unchanged(self, **fields)

    return [(Journal, "note", note)]


@bug("the spool goes although the disk failed")
def _() -> list[Swap]:
    unchanged = RunData.write

    async def write(self: RunData, experiment: Any) -> None:
        try:
            await unchanged(self, experiment)
        except CredlineError:
            (self._run.folder / "frames.spool").unlink(missing_ok=True)
            raise

    return [(RunData, "write", write)]


# --- the operator


@bug("a stop is not heard during snapshots")
def _() -> list[Swap]:
    unchanged = Run._work

    async def work(self: Run, state: Any, activity: Any, experiment: Any) -> str:
        if state.value in ("defocus-snapshot", "refocus"):
            return await activity()
        return await unchanged(self, state, activity, experiment)

    return [(Run, "_work", work)]


@bug("an abort is taken for a stop")
def _() -> list[Swap]:
    return [(Commands, "abort", Commands.stop)]


@bug("an operator's command is lost")
def _() -> list[Swap]:
    return [(Commands, "stop", lambda self, reason: None)]


# --- what the camera and the lenses show


@bug("what a camera leaves open is forgotten")
def _() -> list[Swap]:
    unchanged = results.uncertainty_deg
    return [
        (
            results,
            "uncertainty_deg",
            lambda frame, *rest: unchanged(replace(frame, maybe_earlier_ns=0, maybe_later_ns=0), *rest),
        )
    ]


@bug("what a stage that strays leaves open is forgotten")
def _() -> list[Swap]:
    return [(finish, "_doubt", lambda _: None)]


@bug("nobody watches the frames")
def _() -> list[Swap]:
    return [(FrameWatch, "kept", lambda self, *_: None)]


@bug("a run goes on where bad frames are to stop it")
def _() -> list[Swap]:
    unchanged = CredSequence.expose

    async def expose(self: CredSequence) -> str:
        self.plan = self.plan.model_copy(update={"bad_frames": "go on"})
        return await unchanged(self)

    return [(CredSequence, "expose", expose)]


@bug("a run goes on where a look has ended it")
def _() -> list[Swap]:
    unchanged = LiveLook._told

    def told(self: LiveLook, told: dict[str, Any]) -> None:
        unchanged(self, told)
        self.decision = None

    return [(LiveLook, "_told", told)]


@bug("a look decides what nobody has asked for")
def _() -> list[Swap]:
    return [(livelook, "decide", lambda told, plan: Decision("stop_at.damage", "stop_at.damage: it looks ill"))]


@bug("frames of another type are kept")
def _() -> list[Swap]:
    return [(Series, "_wrong_type", lambda self, came: "")]


@bug("nobody looks again at the mode")
def _() -> list[Swap]:
    async def look_again(*_: object) -> str:
        return ""

    return [(Cred, "look_again", look_again)]


@dataclass(frozen=True, slots=True)
class Found:
    """How a bug was found: the verdict of the seed that found it, and the simplest case of it."""

    tried: int
    took_s: float
    verdict: Verdict | None = None
    simplest: Verdict | None = None


def hunt(name: str, first: int, seeds: int, hard: bool = False, tries: int = 60) -> Found:
    """Try seed after seed with a bug until a rule breaks that holds without it; for a process of its own."""
    quiet()
    soak.HANG_S = HANG_S
    kind = experiment_type("cred")
    began = time.perf_counter()
    for seed in range(first, first + seeds):
        case = draw(kind, seed, hard=hard)
        with planted(name):
            verdict = try_case(kind, case)
        if verdict.broken and not try_case(kind, case).broken:
            took_s = time.perf_counter() - began
            with planted(name):
                hangs = any("hangs" in line for line in verdict.broken)
                return Found(seed - first + 1, took_s, verdict, verdict if hangs else minimised(kind, case, tries))
    return Found(seeds, time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs; all without any")
    parser.add_argument("--seeds", type=int, default=2000, help="how many to try at most for each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--hard", action="store_true", help="draw the second way, as credline soak --hard")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--list", action="store_true", help="the names of the bugs")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(PLANTED)):
        parser.error(f"no bug of the name {unknown[0]!r}; see --list")
    if asked.list:
        print("\n".join(PLANTED))
        return 0
    names = asked.names or list(PLANTED)
    missed = 0
    with ProcessPoolExecutor(asked.jobs, max_tasks_per_child=1) as pool:
        under_way = {pool.submit(hunt, name, asked.first, asked.seeds, asked.hard): name for name in names}
        for future in as_completed(under_way):
            name, found = under_way[future], future.result()
            if found.verdict is None or found.simplest is None:
                missed += 1
                print(f"{name}: NOT FOUND in {found.tried} seeds ({found.took_s:.0f} s)", flush=True)
                continue
            print(f"{name}: {found.tried} seeds ({found.took_s:.1f} s)", flush=True)
            for line in found.verdict.broken[:3]:
                print(f"    {line[:200]}")
            case = found.simplest.case
            print(f"    {command('cred', case, draw(experiment_type('cred'), case.seed))}", flush=True)
    print(f"{len(names) - missed} of {len(names)} planted bugs found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
