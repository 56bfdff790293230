"""What the operator asks of a calibration by moves, its frames, the places that it goes to, the machine of its run."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition
from protocols.calibrate.moves.mover import Mover

ROUNDS = "how often the grid is gone through; 0 for as often as accuracy_percent wants"
ACCURACY = "how sure each number of the matrix is to be, one standard deviation; with rounds = 0"


class MovesPlan(BaseModel):
    """What the operator asks for. How far is moved is found by the run itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_s: float = Field(default=0.5, gt=0, description="of a frame; shortened where frames are saturated")
    low_mag: bool = Field(default=False, description="in the low-mag mode instead of imaging")
    magnification: float = Field(default=0.0, ge=0, description="to be set first; 0 for the one that the mode has")
    rounds: int = Field(default=0, ge=0, le=100, description=ROUNDS)
    accuracy_percent: float = Field(default=0.25, gt=0, le=10, description=ACCURACY)


class DiffractionMovesPlan(BaseModel):
    """The same in diffraction mode."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_s: float = Field(default=0.1, gt=0, description="of a frame")
    rounds: int = Field(default=0, ge=0, le=100, description=ROUNDS)
    accuracy_percent: float = Field(default=0.25, gt=0, le=10, description=ACCURACY)


AnyMovesPlan = MovesPlan | DiffractionMovesPlan

MOVED = FrameKind(
    "moved",
    arrival=(
        Column("x", "<f8", "where it was set, in the instrument's own units; of the stage as read, in nm"),
        Column("y", "<f8", "the same along y"),
        Column("side", "<i4", "-1 where it came from below along x and y, 1 where it came from above"),
        Column("round", "<i4", "how often the grid had been gone through"),
        Column("expected_fast_px", "<f8", "how far the first moves let expect it, from where it was found"),
        Column("expected_slow_px", "<f8", "the same along slow"),
        Column("setting", "<f8", "nominal magnification, or camera length in mm; 0 where nobody tells it"),
    ),
    expects="light",
)
TRIED = FrameKind("tried", arrival=())


@dataclass(frozen=True, slots=True)
class Visit:
    """A place of the grid in steps from its middle, from which side it is arrived at, and in which round."""

    x: float
    y: float
    side: int
    number: int


GOLDEN = (0.7548776662466927, 0.5698402909980532)
JITTER = 0.5
"""Of a step: no place is visited twice, so that what is wrong at a place is wrong once."""


MOST_ROUNDS = 12
"""A grid is gone through so often at most, whatever the scatter."""


def visits(points: int, rounds: int, first: int = 0) -> Iterator[Visit]:
    """All visits, each place from below and from above. A round goes through the grid and back, every second place on
    either way, so that a drift is not taken for a move. Places lie evenly a little about those of the grid.
    first: the number of the first round.
    """
    middle = (points - 1) / 2
    grid = [(i - middle, j - middle) for j in range(points) for i in range(points)]
    grid = grid[::2] + grid[1::2][::-1]
    count = 0
    for number in range(first, first + rounds):
        for i, j in grid if number % 2 == 0 else reversed(grid):
            for side in (-1, 1):
                count += 1
                aside = [JITTER * ((0.5 + count * share) % 1.0 - 0.5) for share in GOLDEN]
                yield Visit(i + aside[0], j + aside[1], side, number)


def more_visits(mover: Mover, share: float, wanted: float) -> list[Visit]:
    """What is to be visited after the usual rounds, by which each number is sure to `share` of the matrix' size, so
    that it is to `wanted`: uncertainty falls as the root of the visits.

    Nor is the stage's grid made wider, although frames need only overlap with their neighbours: what displacements of
    these have wrong adds up on the way from edge to edge (to 0.6 % of a matrix, measured), and no scatter tells it.
    """
    rounds = min(math.ceil(mover.rounds * (share / wanted) ** 2), max(MOST_ROUNDS, mover.rounds))
    return list(visits(mover.points, rounds - mover.rounds, mover.rounds))


class State(Enum):
    """The states of a run, as the trace names them."""

    PREPARE = "prepare"
    LIGHT = "light"
    FIND = "find"
    MOVE = "move"
    EXPOSE = "expose"
    JUDGE = "judge"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.PREPARE, State.LIGHT, State.FIND, State.MOVE, State.EXPOSE, State.JUDGE)
TRANSITIONS = (
    Transition("prepared", (State.PREPARE,), State.LIGHT),
    Transition("lit", (State.LIGHT,), State.FIND),
    Transition("steps_found", (State.FIND,), State.MOVE),
    Transition("moved", (State.MOVE,), State.EXPOSE),
    Transition("exposed", (State.EXPOSE,), State.MOVE),
    Transition("usual_visited", (State.EXPOSE,), State.JUDGE),
    Transition("more_wanted", (State.JUDGE,), State.MOVE),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def moves_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.PREPARE, ENDS, entered)
