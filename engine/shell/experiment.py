"""The run that a shell is: it does what it is given from outside until that says it is over, and ends safe.

What was done stands in its trace, and why does not: that is a log, which nobody can replay. Runs that were performed
from the shell are its children, with traces of their own that can be.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum

from pydantic import BaseModel, ConfigDict

from engine.record.endings import Status
from engine.record.trace import IS_LOG
from engine.run.contract import Experiment, ExperimentType, Prepared, Work
from engine.run.machine import FINISH, StrictMachine, Transition
from engine.run.microscope import Microscope
from engine.run.run import Run

LOG_TEXT = "what a person typed; a log, which cannot be replayed"


class ShellPlan(BaseModel):
    """Nothing is planned."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class State(Enum):
    """The states of a shell, as its trace names them."""

    TYPED = "typed"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition(FINISH, (State.TYPED,), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


class Hands:
    """Those who type: told when the instrument is theirs, and say when they let it go."""

    def __init__(self, opened: Callable[[Run, Microscope], None]) -> None:
        self.opened = opened
        self.over = asyncio.Event()


class ShellExperiment(Experiment):
    """The instrument lent to somebody who types."""

    def __init__(self, hands: Hands | None, microscope: Microscope, run: Run) -> None:
        super().__init__(run, microscope, SHELL.machine(run.entered))
        self._hands = hands

    def activities(self) -> Mapping[Enum, Work]:
        """See `Experiment.activities`."""
        return {State.TYPED: self.typed}

    async def typed(self) -> str:
        """Lend the instrument until it is let go."""
        self.run.trace.record("note", IS_LOG, text=LOG_TEXT)
        if self._hands is None:
            return self.run.finish(Status.DONE, "nobody types here")
        self._hands.opened(self.run, self.microscope)
        await self._hands.over.wait()
        return self.run.finish(Status.DONE, "the shell was left")


class PreparedShell(Prepared):
    """A shell that is to be opened. hands: None where nobody will type."""

    def __init__(self, hands: Hands | None) -> None:
        self._hands = hands

    def begin(self, run: Run, microscope: Microscope) -> ShellExperiment:
        """See `Prepared.begin`."""
        return ShellExperiment(self._hands, microscope, run)


class Shell(ExperimentType[ShellPlan]):
    """The entry in the register of protocols: for recovery and lists. hands: of a shell that is opened."""

    name = "shell"
    summary = "an instrument in the hands of a person who types: credline shell"
    plan_type = ShellPlan

    def __init__(self, hands: Hands | None = None) -> None:
        self._hands = hands
        self.begun_by = "credline shell" if hands is None else ""

    def machine(self, entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
        """See `ExperimentType.machine`."""
        return StrictMachine(State, TRANSITIONS, State.TYPED, ENDS, entered)

    def prepare(self, plan: ShellPlan, facts: object) -> PreparedShell:
        """See `ExperimentType.prepare`."""
        return PreparedShell(self._hands)


SHELL = Shell()
