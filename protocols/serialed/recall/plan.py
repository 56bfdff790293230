"""What is asked for when a crystal is to be recalled, the states of such a run, and its frames."""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition
from protocols.serialed.records import BEAM, PATTERN

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Place = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class RecallPlan(BaseModel):
    """A crystal of an earlier serial run, brought back under the beam; `credline serialed recall` makes it of a table.

    The docstrings of the keys are what `credline plan serialed-recall --keys` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sample: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "recall"
    """Names the run folder."""
    crystal: Annotated[int, Field(ge=0)] = 0
    """Its number in the table; 0 for one of no table."""
    x_nm: Place
    """Where the stage stood, or would have, with the crystal in the middle of the image."""
    y_nm: Place
    """The same along y."""
    length_nm: Length = 0.0
    """Of the crystal; 0 where nobody knows it."""
    neighbours: Annotated[tuple[tuple[Place, Place, Length], ...], Field(max_length=200)] = ()
    """Other crystals around it: x and y in nm from it, and length. By these it is known again."""
    correct: Literal["beam", "stage", "stage and beam", "nothing"] = "beam"
    """What brings beam and crystal together once it is found: the beam shift, the stage again, the stage until it is
    near and then the beam shift, which a rotation wants, or nobody."""
    within_nm: Annotated[float, Field(ge=50, le=1e5, allow_inf_nan=False)] = 1000.0
    """A stage that is farther off than this is sent again, where the stage corrects."""
    stage_tries: Annotated[int, Field(ge=1, le=10)] = 3
    """So often at most."""
    sure: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """A crystal that is less likely the right one is not taken for it."""
    stage_sigma_nm: Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)] = 0.0
    """Where the stage lands: standard deviation along an axis, the drift since included; 0: 1000, or twice what was
    calibrated where that is more."""
    magnification: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] = 2500.0
    """Of the image: that of the serial run."""
    image_exposure_s: Seconds = 0.1
    """Of the image: short, for the dose."""
    image_brightness: float | None = None
    """Of the condenser for the image; as it is at the beginning, if nothing is said."""
    probe_brightness: float | None = 30400.0
    """Of the condenser for the probe, of which one look is taken beside all crystals; none: no look, and the beam is
    taken to be in the middle of the image."""
    probe_exposure_s: Seconds = 0.1
    """Of that look, and of the pattern."""
    pattern: bool = False
    """Whether a pattern is taken with the beam on it, and scored."""
    condenser_settling_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.1
    """After a change of the brightness."""
    stage_settling_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.3
    """After the stage says that it stands."""


IMAGE = FrameKind(
    "image",
    arrival=(
        Column("field", "<i4", "the how manieth image, from 1"),
        Column("x_nm", "<f8", "place of the stage, as read when it stood"),
        Column("y_nm", "<f8", "the same along y"),
        Column("nm_per_px", "<f8", "nm of the specimen that a pixel of equal size covers, by the stage's own nm"),
    ),
)
KINDS = (IMAGE, BEAM, PATTERN)


class State(Enum):
    """The states of a run, as the trace names them."""

    BEGIN = "begin"
    MOVE = "move"
    IMAGE = "image"
    FIND = "find"
    LOOK_AT_BEAM = "look_at_beam"
    AIM = "aim"
    EXPOSE = "expose"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


WORKING = (State.BEGIN, State.MOVE, State.IMAGE, State.FIND, State.LOOK_AT_BEAM, State.AIM, State.EXPOSE)
ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
TRANSITIONS = (
    Transition("begun", (State.BEGIN,), State.MOVE),
    Transition("arrived", (State.MOVE,), State.IMAGE),
    Transition("imaged", (State.IMAGE,), State.FIND),
    Transition("look_again", (State.FIND,), State.IMAGE),
    Transition("move_again", (State.FIND,), State.MOVE),
    Transition("found", (State.FIND,), State.LOOK_AT_BEAM),
    Transition("looked", (State.LOOK_AT_BEAM,), State.AIM),
    Transition("aimed", (State.AIM,), State.EXPOSE),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def recall_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.BEGIN, ENDS, entered)
