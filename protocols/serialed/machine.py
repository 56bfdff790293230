"""The states of a serial run, and how one leads to the next.

A field is moved to, imaged, and its crystals are found while the beam is focused to the small probe; then shift and
expose, crystal after crystal, and back to the image while the stage goes to the next field. A field without crystals
leads from `find` to `move` at once. `check_beam` looks where the probe lies, in the image, when it is time to.
"""

from collections.abc import Callable
from enum import Enum

from engine.run.machine import FINISH, StrictMachine, Transition


class State(Enum):
    """The states of a run, as the trace names them."""

    BEGIN = "begin"
    MOVE = "move"
    IMAGE = "image"
    FIND = "find"
    CHECK_BEAM = "check_beam"
    FOCUS_BEAM = "focus_beam"
    SHIFT = "shift"
    EXPOSE = "expose"
    RESTORE = "restore"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


WORKING = (
    *(State.BEGIN, State.MOVE, State.IMAGE, State.FIND, State.CHECK_BEAM),
    *(State.FOCUS_BEAM, State.SHIFT, State.EXPOSE, State.RESTORE),
)
ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("begun", (State.BEGIN,), State.MOVE),
    Transition("arrived", (State.MOVE,), State.IMAGE),
    Transition("imaged", (State.IMAGE,), State.FIND),
    Transition("look_for_beam", (State.FIND,), State.CHECK_BEAM),
    Transition("focus", (State.FIND, State.CHECK_BEAM), State.FOCUS_BEAM),
    Transition("aim", (State.FOCUS_BEAM, State.EXPOSE), State.SHIFT),
    Transition("aimed", (State.SHIFT,), State.EXPOSE),
    Transition("field_done", (State.FOCUS_BEAM, State.EXPOSE, State.CHECK_BEAM), State.RESTORE),
    Transition("nothing_there", (State.MOVE, State.IMAGE, State.FIND), State.MOVE),
    Transition("restored", (State.RESTORE,), State.MOVE),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def serialed_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.BEGIN, ENDS, entered)
