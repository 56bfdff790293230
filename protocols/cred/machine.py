"""The states of a cRED run and the ways between them. The work of each state is in `sequence`."""

from collections.abc import Callable
from enum import Enum

from engine.run.machine import FINISH, StrictMachine, Transition


class State(Enum):
    """States of a cRED run, named as in DESIGN and in the trace; those of the pre-scan are beside these."""

    RELAX = "relax"
    PRESCAN_GOTO = "prescan-goto"
    PRESCAN_SNAPSHOT = "prescan-snapshot"
    PRESCAN_RETURN = "prescan-return"
    WAIT_FOR_ROTATION = "wait-for-rotation"
    DELAY = "delay"
    EXPOSE = "expose"
    DEFOCUS_SNAPSHOT = "defocus-snapshot"
    REFOCUS = "refocus"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


WORKING = (
    State.RELAX,
    State.WAIT_FOR_ROTATION,
    State.DELAY,
    State.EXPOSE,
    State.DEFOCUS_SNAPSHOT,
    State.REFOCUS,
)
"""Of every run."""
PRESCAN = (State.PRESCAN_GOTO, State.PRESCAN_SNAPSHOT, State.PRESCAN_RETURN)
"""Of one that looks at the crystal before it rotates."""
ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)

TRANSITIONS = (
    Transition("relaxed", (State.RELAX,), State.WAIT_FOR_ROTATION),
    Transition("prescan", (State.RELAX,), State.PRESCAN_GOTO),
    Transition("there", (State.PRESCAN_GOTO,), State.PRESCAN_SNAPSHOT),
    Transition("next_look", (State.PRESCAN_SNAPSHOT,), State.PRESCAN_GOTO),
    Transition("looked", (State.PRESCAN_SNAPSHOT,), State.PRESCAN_RETURN),
    Transition("returned", (State.PRESCAN_RETURN,), State.WAIT_FOR_ROTATION),
    Transition("rotating", (State.WAIT_FOR_ROTATION,), State.DELAY),
    Transition("delay_over", (State.DELAY,), State.EXPOSE),
    Transition("snapshot_due", (State.EXPOSE,), State.DEFOCUS_SNAPSHOT),
    Transition("imaged", (State.DEFOCUS_SNAPSHOT,), State.REFOCUS),
    Transition("settled", (State.REFOCUS,), State.EXPOSE),
    Transition(FINISH, (*WORKING, *PRESCAN), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def cred_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A cRED machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.RELAX, ENDS, entered)
