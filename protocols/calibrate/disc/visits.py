"""What a run of snapshots does, one visit after the other: lens, panel and stage are set, then pictures are taken."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from engine.record.framekinds import Column, FrameKind
from engine.run.machine import FINISH, StrictMachine, Transition

COLUMNS = (
    Column("defocus", "<f8", "of the lens, from its value in focus"),
    Column("x_nm", "<f8", "of the stage, as it was read"),
    Column("y_nm", "<f8", "of the stage, as it was read"),
    Column("tilt_deg", "<f8", "of the stage"),
    Column("spot_size", "<f8", "of the panel; 0 where nobody tells"),
    Column("brightness", "<f8", "of the panel; 0 where nobody tells"),
    Column("visit", "<f8", "how many places and settings were visited before this one"),
)
DARK = FrameKind("dark", arrival=(), expects="dark")
TRIED = FrameKind("tried", arrival=COLUMNS)
SNAPSHOT = FrameKind("snapshot", arrival=COLUMNS)
DARK_FRAMES = 3
DIRECTIONS = 8
GOLDEN = 0.6180339887498949
LEAST_ROUNDS, MOST_ROUNDS = 6, 400
"""Of a calibration whose rounds follow from the stage's scatter."""


@dataclass(frozen=True, slots=True)
class Visit:
    """Where the lens, the stage and the panel are to be. defocus: in units of the lens, from focus. x_nm, y_nm: from
    where the stage was found. spot_size, brightness: None for as they were found.
    """

    defocus: int
    x_nm: float = 0.0
    y_nm: float = 0.0
    spot_size: int | None = None
    brightness: float | None = None


def around(defocus: int, radius_nm: float, rounds: int = 1) -> list[Visit]:
    """Places on a circle, far from each other one after the other, so that a drift is told apart from the moves.

    Every round is turned against the others: what is wrong at a place is wrong once.
    """
    turns = [
        2 * math.pi * (3 * k + number * GOLDEN % 1.0) / DIRECTIONS
        for number in range(rounds)
        for k in range(DIRECTIONS)
    ]
    return [Visit(defocus, radius_nm * math.cos(turn), radius_nm * math.sin(turn)) for turn in turns]


def rounds_for(share: float, radius_nm: float, scatter_nm: float) -> int:
    """How many rounds make each number of the matrix sure to this share of its size (one standard deviation), where
    the stage lands with this scatter along each axis: the slope of a line through places on a circle.
    """
    visits = 2.0 * (scatter_nm / (share * radius_nm)) ** 2
    return min(MOST_ROUNDS, max(LEAST_ROUNDS, math.ceil(visits / DIRECTIONS)))


class State(Enum):
    """The states of a run, as the trace names them."""

    DARK = "dark"
    LENS = "lens"
    PANEL = "panel"
    MOVE = "move"
    EXPOSE = "expose"
    TRY = "try"
    FINALIZE = "finalize"
    DONE = "done"
    STOPPED = "stopped"
    ABORTED = "aborted"
    FAILED = "failed"


ENDS = (State.DONE, State.STOPPED, State.ABORTED, State.FAILED)
WORKING = (State.DARK, State.LENS, State.PANEL, State.MOVE, State.EXPOSE, State.TRY)
TRANSITIONS = (
    Transition("dark_taken", (State.DARK,), State.LENS),
    Transition("lens_set", (State.LENS,), State.PANEL),
    Transition("panel_set", (State.PANEL,), State.MOVE),
    Transition("arrived", (State.MOVE,), State.EXPOSE),
    Transition("exposed", (State.EXPOSE,), State.LENS),
    Transition("first_seen", (State.EXPOSE,), State.TRY),
    Transition("of_use", (State.TRY,), State.LENS),
    Transition(FINISH, WORKING, State.FINALIZE),
    *(Transition(f"end_{end.value}", (State.FINALIZE,), end) for end in ENDS),
)


def disc_machine(entered: Callable[[Enum, str], None] | None = None) -> StrictMachine:
    """A machine in its initial state; `entered` is told every state boundary."""
    return StrictMachine(State, TRANSITIONS, State.DARK, ENDS, entered)
