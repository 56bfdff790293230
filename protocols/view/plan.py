"""What is asked of a live view, its frames, and its machine."""

from collections.abc import Callable
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition


class ViewPlan(BaseModel):
    """How the view begins; all but its length can be changed while it goes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_s: float = Field(default=0.2, gt=0, le=60, description="of a picture; changed while the view goes")
    interval_s: float = Field(
        default=0.5, ge=0.05, le=60, description="from one picture to the next, where exposure and readings allow it"
    )
    lasts_min: float = Field(
        default=60.0,
        gt=0,
        le=480,
        description="then the view ends by itself with the beam off: nobody leaves the beam on a crystal over night",
    )
    defocus: int = Field(
        default=1500,
        gt=-(2**31),
        lt=2**31,
        json_schema_extra={"unit": "lens units"},
        description="by how much the lens is defocused where nobody says another figure",
    )


LIVE = FrameKind("live", arrival=())
"""Shown and not kept."""
SAVED = FrameKind(
    "saved",
    arrival=(
        Column("exposure_s", "<f8", "length of the exposure"),
        Column("tilt_deg", "<f8", "stage angle as last read; not a number where it was not"),
        Column("mode", "S16", "mode of the lenses as last read; empty where nobody tells"),
        Column("magnification", "<f8", "of the image; not a number in diffraction, or where it was not read"),
        Column("camera_length_mm", "<f8", "nominal, of the pattern; not a number elsewhere, or where it was not read"),
        Column("defocus", "<i8", "by how much the lens is away from focus, by this view"),
    ),
)
"""What the operator asked to save."""


class State(Enum):
    """The states of a view, as the trace names them."""

    ARM = "arm"
    VIEW = "view"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ARMED, OTHER_EXPOSURE = "armed", "other_exposure"
ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition(ARMED, (State.ARM,), State.VIEW),
    Transition(OTHER_EXPOSURE, (State.VIEW,), State.ARM),
    Transition(FINISH, (State.ARM, State.VIEW), State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def view_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.ARM, ENDS, entered)
