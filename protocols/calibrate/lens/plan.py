"""What the operator asks of the calibration of a lens, and the machine of its run."""

from collections.abc import Callable
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition

PARTS = (-1.0, -0.85, -0.7, -0.55, -0.4, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Of the plan's defocus: where the disc is looked at."""


class LensPlan(BaseModel):
    """What the operator asks for: the primary beam on the camera, weak enough for it; a crystal does no harm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defocus: int = Field(
        default=1500, gt=-(2**31), lt=2**31, description="of the runs that follow, in units of the lens"
    )
    cycles: int = Field(default=6, ge=3, le=50, description="of relaxing, after each of which the beam is looked at")
    turns: int = Field(default=6, ge=3, le=50, description="out of focus and back, after each of which it is watched")
    frames: int = Field(default=5, ge=2, le=100, description="of the beam at rest, after each cycle")
    exposure_s: float = Field(default=0.002, gt=0, description="of a picture of the beam in focus; short")
    disc_exposure_s: float = Field(default=0.1, gt=0, description="of a picture of the disc")


DARK = FrameKind("dark", arrival=(), expects="dark")
REST = FrameKind("rest", arrival=(Column("cycle", "<f8", "how many relax cycles were before"),))
AWAY = FrameKind("away", arrival=(Column("turn", "<f8", "the how manieth turn of the lens; -1 for the try"),))
BACK = FrameKind(
    "back",
    arrival=(
        Column("turn", "<f8", "the how manieth turn of the lens"),
        Column("told_ns", "<f8", "when the call that sent the lens back had returned"),
    ),
)
DISC = FrameKind("disc", arrival=(Column("defocus", "<f8", "of the lens, from its value in focus"),))


class State(Enum):
    """The states of a run, as the trace names them."""

    DARK = "dark"
    TRY = "try"
    RELAX = "relax"
    TURN = "turn"
    DISC = "disc"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.DARK, State.TRY, State.RELAX, State.TURN, State.DISC)
TRANSITIONS = (
    Transition("dark_taken", (State.DARK,), State.TRY),
    Transition("answers", (State.TRY,), State.RELAX),
    Transition("relaxed", (State.RELAX,), State.TURN),
    Transition("watched", (State.TURN,), State.DISC),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def lens_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.DARK, ENDS, entered)
