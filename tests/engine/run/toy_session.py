"""A toy session: toy children, one after the other, on a simulated instrument that keeps only the timing."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel

from engine.clock import ns
from engine.errors import DeviceError, Refused
from engine.record.endings import Status
from engine.record.remains import Remains, RunEnd
from engine.run.contract import Experiment, ExperimentType, Prepared, Work
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.run import Run
from protocols.cred import CRED
from protocols.cred.plan import CredPlan


class State(Enum):
    WORK = "work"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition(FINISH, (State.WORK,), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


SHORT_CRED = CredPlan(
    rotation="commanded", start_deg=0.0, range_deg=2.0, snapshot_interval=4, relax_cycles=0, formats=()
)


class ToyPlan(BaseModel):
    sample: str = "toy"
    children: int = 0
    number: int = 0
    """Of a child: the how manieth of the session it is, counted over all folders."""
    light_s: float = 3.0
    cred: bool = False
    """Whether every other child is a short cRED run."""
    hang: Literal["", "data", "safe"] = ""
    """What of its finalizing never ends: its data, or already the way into the safe state."""
    mend: str = ""
    """A part that is connected anew after a child that failed."""
    relight_s: float = 0.0
    """For so long the beam is put on again after each child."""


class Toy(Experiment):
    """Puts the beam on for a while, and performs its children."""

    def __init__(self, kind: "ToyKind", plan: ToyPlan, microscope: Any, run: Run) -> None:
        super().__init__(run, microscope, kind.machine(run.entered))
        self.kind, self.plan = kind, plan
        self.beam = run.gate.wrap("beam", microscope.beam)

    def activities(self) -> Mapping[Enum, Work]:
        hangs = self.plan.hang == "safe" and not self.plan.children
        return {State.WORK: self.work, **({State.FINALIZE: self.never} if hangs else {})}

    async def work(self) -> str:
        await self.light(self.plan.light_s)
        first = (self.run.carried_over or {}).get("children", 0)
        for k in range(first, self.plan.children):
            if self.plan.cred and k % 2:
                report = await self.run.perform(CRED, SHORT_CRED)
            else:
                child = ToyPlan(light_s=self.plan.light_s, hang=self.plan.hang, number=k + 1)
                report = await self.run.perform(self.kind, child)
            if self.plan.mend and report.ending.status is Status.FAILED:
                with suppress(DeviceError):
                    await self.run.reconnect(self.plan.mend)
            if self.plan.relight_s:
                await self.light(self.plan.relight_s)
            await self.run.checkpoint()
        return FINISH

    async def light(self, seconds: float) -> None:
        await self.beam.unblank()
        await self.run.timeline.wait("light", self.run.timeline.now_ns + ns(seconds))

    async def when_safe(self) -> None:
        if self.plan.hang == "data" and not self.plan.children:
            await self.never()

    async def never(self) -> str:
        await self.run.clock.sleep_s(1e6)
        return FINISH


@dataclass
class PreparedToy(Prepared):
    kind: "ToyKind"
    plan: ToyPlan

    def begin(self, run: Run, microscope: Any) -> Toy:
        return Toy(self.kind, self.plan, microscope, run)


class ToyKind(ExperimentType[ToyPlan]):
    name = "toy"
    summary = "a toy"
    plan_type = ToyPlan
    needs = ("beam",)

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        return StrictMachine(State, TRANSITIONS, State.WORK, ENDS, entered)

    def label(self, plan: ToyPlan) -> str:
        return plan.sample

    def prepare(self, plan: ToyPlan, facts: Any) -> PreparedToy:
        return PreparedToy(self, plan)

    def finish(self, remains: Remains) -> RunEnd:
        endings = [r["status"] for r in remains.records if r["kind"] == "child" and r["event"] != "begin"]
        return RunEnd({"children": endings})

    def carried_over(self, plan: ToyPlan, remains: Remains) -> Mapping[str, int]:
        before = remains.header.get("continued", {"done": {}})["done"].get("children", 0)
        made = before + sum(r["kind"] == "child" and r["event"] == "end" for r in remains.records)
        if made >= plan.children:
            raise Refused(f"toy: {made} children were made and {plan.children} are asked for; nothing is left to do.")
        return {"children": made}


TOY = ToyKind()
