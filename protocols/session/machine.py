"""The states of a session, and how one leads to the next.

Every state that does something does it by one child: `screen` by a serial run, `height` by measuring how high the film
lies, `recall` by bringing a crystal back, `collect` by a rotation. `rank` alone decides what comes next: the next
crystal, more of the region to screen, or the end. `wait` is for a device that does not answer.
"""

from collections.abc import Callable
from enum import Enum

from engine.run.machine import FINISH, StrictMachine, Transition


class State(Enum):
    """The states of a run, as the trace names them."""

    BEGIN = "begin"
    SCREEN = "screen"
    RANK = "rank"
    HEIGHT = "height"
    RECALL = "recall"
    COLLECT = "collect"
    JUDGE = "judge"
    WAIT = "wait"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


WORKING = (
    *(State.BEGIN, State.SCREEN, State.RANK, State.HEIGHT, State.RECALL, State.COLLECT, State.JUDGE, State.WAIT),
)
ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("begun", (State.BEGIN,), State.RANK),
    Transition("screen_more", (State.RANK,), State.SCREEN),
    Transition("screened", (State.SCREEN,), State.RANK),
    Transition("next_crystal", (State.RANK,), State.HEIGHT),
    Transition("at_height", (State.HEIGHT,), State.RECALL),
    Transition("recalled", (State.RECALL,), State.COLLECT),
    Transition("collected", (State.COLLECT,), State.JUDGE),
    Transition("judged", (State.JUDGE,), State.RANK),
    Transition("set_aside", (State.RECALL, State.COLLECT), State.RANK),
    Transition("device_lost", (State.SCREEN, State.RECALL, State.HEIGHT, State.COLLECT), State.WAIT),
    Transition("answers_again", (State.WAIT,), State.RANK),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def session_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.BEGIN, ENDS, entered)
