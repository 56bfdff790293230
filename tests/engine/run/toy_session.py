"""A toy session: toy children, one after the other, on a simulated instrument that keeps only the timing."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from drivers.replayed.microscope import describe
from engine.clock import ns
from engine.run.contract import FINISH, SafeAction
from engine.run.machine import StrictMachine, Transition
from engine.run.run import Run
from engine.run.safety import default_safe_actions


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


class ToyPlan(BaseModel):
    sample: str = "toy"
    children: int = 0
    light_s: float = 3.0
    hang: bool = False
    """Whether its finalizing never ends."""


class Toy:
    """Puts the beam on for a while; performs its children; counts what it did."""

    finalizing = State.FINALIZE

    def __init__(self, kind: "ToyKind", plan: ToyPlan, microscope: Any, run: Run) -> None:
        self.kind, self.plan, self.run = kind, plan, run
        self.microscope = microscope
        self.machine = StrictMachine(State, TRANSITIONS, State.WORK, ENDS, run.entered)
        self.beam = run.gate.wrap("beam", microscope.beam)
        self.endings: list[str] = []

    def activities(self) -> Mapping[Enum, Callable[[], Coroutine[Any, Any, str]]]:
        return {State.WORK: self.work, State.FINALIZE: self.finalize}

    async def work(self) -> str:
        await self.beam.unblank()
        await self.run.timeline.wait("light", self.run.timeline.now_ns + ns(self.plan.light_s))
        for _ in range(self.plan.children):
            report = await self.run.perform(self.kind, ToyPlan(light_s=self.plan.light_s, hang=self.plan.hang))
            self.endings.append(report.ending.status.value)
        return FINISH

    async def finalize(self) -> str:
        await self.run.make_safe(self)
        if self.plan.hang and not self.plan.children:
            await self.run.clock.sleep_s(1e6)
        await self.run.drain()
        return FINISH

    def safe_actions(self) -> Sequence[SafeAction]:
        return default_safe_actions(self.microscope, self.run.gate)

    def document(self) -> dict[str, Any]:
        return {"result": {"children": self.endings}}


@dataclass
class PreparedToy:
    kind: "ToyKind"
    plan: ToyPlan
    microscope: Any
    budgets: Sequence[Any] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    slots: int = 0
    smallest_margin_s: float = 1.0
    size_bytes: int = 0

    @property
    def instrument(self) -> Mapping[str, Any]:
        return describe(self.microscope, 0.5, 0)

    def begin(self, run: Run) -> Toy:
        return Toy(self.kind, self.plan, self.microscope, run)


class ToyKind:
    name = "toy"
    summary = "a toy"
    plan_type = ToyPlan
    formats = ()

    def machine(self) -> StrictMachine:
        return StrictMachine(State, TRANSITIONS, State.WORK, ENDS)

    def device_options(self, plan: ToyPlan) -> Mapping[str, Any]:
        return {}

    def prepare(self, plan: ToyPlan, microscope: Any) -> PreparedToy:
        return PreparedToy(self, plan, microscope)

    def export(self, folder: Path, formats: Sequence[str], progress: Any) -> Sequence[str]:
        return ()

    def recover(self, folder: Path) -> Sequence[str]:
        return ()


TOY = ToyKind()
