"""What is asked for when the eucentric height is to be set, the states of such a run, and its frames."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class HeightPlan(BaseModel):
    """The height at which what is in the middle of the image stays there when the stage tilts.

    The docstrings of the keys are what `credline plan eucentric-height --keys` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "height"
    """Names the run folder."""
    tilt_deg: Annotated[float, Field(ge=2, le=45, allow_inf_nan=False)] = 24.0
    """Farthest tilt to both sides; pictures are taken at half of it, too."""
    first_tilt_deg: Annotated[float, Field(ge=1, le=45, allow_inf_nan=False)] = 6.0
    """Farthest tilt of the first look, when nobody knows how far off the height is."""
    speed_deg_s: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 5.0
    """Of the tilt from one picture to the next."""
    magnification: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] = 2500.0
    """Of the pictures: what the stage moves in them is to be calibrated there."""
    exposure_s: Seconds = 0.1
    """Of a picture: short, for the dose."""
    within_nm: Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)] = 300.0
    """Nearer to the tilt axis than this it is left where it is."""
    moves: Annotated[int, Field(ge=0, le=10)] = 4
    """z is moved so often at most; 0: the height is only measured."""
    settling_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.3
    """After a tilt or a move has ended, until the stage stands."""


LOOKED = FrameKind(
    "tilted",
    arrival=(
        Column("look", "<i4", "the how manieth look, from 1"),
        Column("angle_deg", "<f8", "tilt, as read when it stood"),
        Column("stage_z_nm", "<f8", "z of the stage, as read"),
    ),
    expects="light",
)
HEIGHT_NOTE, MOVED_NOTE = "height", "z moved"
"""The notes in the trace of what a look found, and of a move."""


class State(Enum):
    """The states of a run, as the trace names them."""

    BEGIN = "begin"
    TILT = "tilt"
    IMAGE = "image"
    MEASURE = "measure"
    MOVE = "move"
    BACK = "back"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.BEGIN, State.TILT, State.IMAGE, State.MEASURE, State.MOVE, State.BACK)
TRANSITIONS = (
    Transition("begun", (State.BEGIN,), State.TILT),
    Transition("tilted", (State.TILT,), State.IMAGE),
    Transition("imaged", (State.IMAGE,), State.TILT),
    Transition("looked", (State.IMAGE,), State.MEASURE),
    Transition("look_again", (State.MEASURE,), State.TILT),
    Transition("off", (State.MEASURE,), State.MOVE),
    Transition("moved", (State.MOVE,), State.TILT),
    Transition("over", (State.MEASURE, State.MOVE), State.BACK),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def height_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.BEGIN, ENDS, entered)
