"""A protocol of the required members only: the beam is on for a while, and a frame is never taken."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.clock import ns
from engine.run.contract import Experiment, ExperimentType, Prepared, Work
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.run import Run


class LeastPlan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    light_s: float = 0.5


class State(Enum):
    LIGHT = "light"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition(FINISH, (State.LIGHT,), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


class LeastExperiment(Experiment):
    def __init__(self, plan: LeastPlan, microscope: Any, run: Run) -> None:
        super().__init__(run, microscope, LEAST.machine(run.entered))
        self.plan = plan
        self.beam = run.gate.wrap("beam", microscope.beam)

    def activities(self) -> Mapping[Enum, Work]:
        return {State.LIGHT: self.light}

    async def light(self) -> str:
        await self.beam.unblank()
        await self.run.timeline.wait("light", self.run.timeline.now_ns + ns(self.plan.light_s))
        return FINISH


class PreparedLeast(Prepared):
    def __init__(self, plan: LeastPlan) -> None:
        self.plan = plan

    def begin(self, run: Run, microscope: Any) -> LeastExperiment:
        return LeastExperiment(self.plan, microscope, run)


class Least(ExperimentType[LeastPlan]):
    name = "least"
    summary = "the required members only"
    plan_type = LeastPlan

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        return StrictMachine(State, TRANSITIONS, State.LIGHT, ENDS, entered)

    def prepare(self, plan: LeastPlan, facts: Any) -> PreparedLeast:
        return PreparedLeast(plan)


LEAST = Least()
