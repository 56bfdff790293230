"""What the operator asks of a flatfield, and the machine of its run."""

from collections.abc import Callable
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition


class FlatfieldPlan(BaseModel):
    """What the operator asks for: first the beam is spread over the camera, without specimen and beam stop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accuracy_percent: float = Field(
        default=1.0, ge=0.05, le=10, description="uncertainty of a pixel's response; says how many frames are taken"
    )
    exposure_s: float = Field(default=0.5, gt=0, description="of a frame")
    dark_frames: int = Field(default=20, ge=5, le=1000, description="frames without beam")
    most_frames: int = Field(default=1000, ge=50, le=100_000, description="more frames than these are refused")
    shift_percent: float = Field(
        default=10.0,
        ge=0,
        le=50,
        description="how far the beam is shifted, of the beam shift's whole range; 0 for not at all: then uneven light "
        "stays in the flatfield",
    )
    stage_um: float = Field(
        default=4.0,
        ge=0,
        le=100,
        description="how far the stage goes for two frames, along x and y, and back: what moves with it is a specimen, "
        "and no flatfield is made; 0 for not at all",
    )


SHIFTED = (
    Column("shift_x", "<f8", "beam shift from where it was found, in steps of the plan, along its x"),
    Column("shift_y", "<f8", "the same along its y"),
)
DARK = FrameKind("dark", arrival=(), expects="dark")
TRIED = FrameKind("tried", arrival=())
LIT = FrameKind("lit", arrival=SHIFTED, expects="light")

POSITIONS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
"""Of the beam shift, in steps, one after the other again and again.

What moves with the beam tells its gradient times the step. How large the step itself is tells the brightness, which is
of second order: of x, of y and of both together, or a shear of the steps would look like light that is uneven.
"""


class State(Enum):
    """The states of a run, as the trace names them."""

    DARK = "dark"
    TRY = "try"
    SHIFT = "shift"
    EXPOSE = "expose"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.DARK, State.TRY, State.SHIFT, State.EXPOSE)
TRANSITIONS = (
    Transition("dark_taken", (State.DARK,), State.TRY),
    Transition("bright_enough", (State.TRY,), State.SHIFT),
    Transition("shifted", (State.SHIFT,), State.EXPOSE),
    Transition("exposed", (State.EXPOSE,), State.SHIFT),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def flatfield_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.DARK, ENDS, entered)
