"""What the operator asks of a camera length, and the machine of its run."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition

CameraLength = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CameraLengthPlan(BaseModel):
    """What the operator asks for: first a film of the standard is put into the beam, in focus, in diffraction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    standard: str = Field(default="Au", min_length=1, description="the powder: Au, Al, TlCl, or the path of its CIF")
    standard_known_to_percent: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="how well the lattice of this film is known; none for what films of the standard usually have",
    )
    camera_lengths_mm: tuple[CameraLength, ...] = Field(
        default=(),
        max_length=40,
        description="nominal ones, measured one after the other; none for the one that is set",
    )
    exposure_s: float = Field(default=0.5, gt=0, description="of a frame")
    frames: int = Field(default=4, ge=1, le=1000, description="at each camera length")
    relax_cycles: int = Field(
        default=9,
        ge=0,
        le=100,
        description="how often focus and defocus are toggled first, so that the beam is where it comes to rest",
    )
    defocus: int = Field(
        default=1500,
        gt=-(2**31),
        lt=2**31,
        description="added to the value of the lens in focus for that",
        json_schema_extra={"unit": "lens units"},
    )
    cell: tuple[float, float, float, float, float, float] | None = Field(
        default=None,
        description="with --from and a cRED run: a, b, c in A and alpha, beta, gamma in deg of its crystal",
    )
    centring: str = Field(default="P", pattern="^[PABCIFR]$", description="of that cell")
    cell_known_to_percent: float = Field(
        default=0.1, ge=0, le=10, description="how well the lengths of that cell are known"
    )


POWDER = FrameKind(
    "powder",
    arrival=(Column("nominal_mm", "<f8", "camera length as the microscope names it; NaN where it tells none"),),
    expects="light",
)


class State(Enum):
    """The states of a run, as the trace names them."""

    RELAX = "relax"
    SET_LENGTH = "set-length"
    EXPOSE = "expose"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.RELAX, State.SET_LENGTH, State.EXPOSE)
TRANSITIONS = (
    Transition("relaxed", (State.RELAX,), State.SET_LENGTH),
    Transition("set", (State.SET_LENGTH,), State.EXPOSE),
    Transition("taken", (State.EXPOSE,), State.SET_LENGTH),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def camera_length_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.RELAX, ENDS, entered)
