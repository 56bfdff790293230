"""What the operator asks of the calibration of the rotation, and the machine of its run."""

from collections.abc import Callable
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition


class RotationPlan(BaseModel):
    """What the operator asks for. The stage turns by up to `spans_deg` to one side of where it stands, and comes back.

    With `watch`, a crystal that diffracts lies in the beam, and diffraction is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed_deg_s: float = Field(
        default=0.45, gt=0, le=100, description="of the runs that follow; half and twice it as well"
    )
    spans_deg: tuple[float, ...] = Field(default=(2.0, 5.0, 10.0), min_length=1, description="of the rotations")
    watch: bool = Field(
        default=True, description="beam on, and pictures while it turns there and back: how old a reading is"
    )
    watch_deg: float = Field(default=20.0, gt=0, le=120, description="how far it turns then")
    watch_deg_s: float = Field(default=2.0, gt=0, le=100, description="and how fast: the faster, the more is seen")
    exposure_s: float = Field(default=0.05, gt=0, description="of a picture then")


WATCHED = FrameKind(
    "watched",
    arrival=(
        Column("direction", "<f8", "1 towards higher angles, -1 towards lower ones"),
        Column("read_deg", "<f8", "a reading that was asked for when the exposure had begun"),
        Column("asked_ns", "<f8", "when it was asked for"),
        Column("told_ns", "<f8", "when it was there"),
    ),
)
MEASURED = "rotation"
"""The note in the trace for each measured rotation."""


class State(Enum):
    """The states of a run, as the trace names them."""

    TURN = "turn"
    GO = "go"
    WATCH = "watch"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.TURN, State.GO, State.WATCH)
TRANSITIONS = (
    Transition("turned", (State.TURN,), State.GO),
    Transition("there", (State.GO,), State.WATCH),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def rotation_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.TURN, ENDS, entered)
