"""What an experiment is to the engine: a plan, a machine, the work of its states, the way to safety, a result.

A protocol registers one `ExperimentType` under the entry points `credline.protocols`; the command line shows what
is registered. The engine never looks inside.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from engine.run.budget import Budget
from engine.run.machine import StrictMachine

if TYPE_CHECKING:
    from engine.run.run import Run

FINISH = "finish"
"""The trigger that leads from every working state to the finalizing one."""


@dataclass(frozen=True, slots=True)
class SafeAction:
    """One step into the safe state, tried again until `limit_s` is over. `alarm`: what to tell the operator, loudly,
    if it fails; empty where a later action makes sure.
    """

    name: str
    call: Callable[[], Awaitable[object]]
    limit_s: float
    alarm: str


class Experiment(Protocol):
    """One experiment under way: its machine, the work of each state, and the way to safety.

    The work of a state is a coroutine function that returns the trigger to leave by. Returning FINISH without
    having called `Run.finish` means the run is done.
    """

    machine: StrictMachine
    finalizing: Enum

    def activities(self) -> Mapping[Enum, Callable[[], Coroutine[Any, Any, str]]]:
        """The work of every state that is not final."""
        ...

    def safe_actions(self) -> Sequence[SafeAction]:
        """The actions that make the instrument safe, most urgent first; done one after the other, so that a replay
        makes them in the same order.
        """
        ...

    def document(self) -> dict[str, Any]:
        """What run.json says beyond the plan: the instrument, and under `result` what was measured."""
        ...


class Prepared(Protocol):
    """A plan found to fit the devices it was prepared for. Nothing has moved."""

    @property
    def budgets(self) -> Sequence[Budget]:
        """The timed sequences, for `credline plan`."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What else a person wants to know before starting, already in words with units."""
        ...

    @property
    def instrument(self) -> Mapping[str, Any]:
        """What the plan was told by the instrument, for the header of the trace: a replay prepares from it again."""
        ...

    @property
    def slots(self) -> int:
        """Slots planned, for the progress display."""
        ...

    @property
    def smallest_margin_s(self) -> float:
        """The tightest tolerance of the plan; a machine that wakes later than this cannot run it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Disk space to have free before the start."""
        ...

    def begin(self, run: "Run") -> Experiment:
        """Make the experiment for one run; it does nothing until driven."""
        ...


class ExperimentType(Protocol):
    """An entry of the register of protocols."""

    name: str
    summary: str
    plan_type: type[BaseModel]
    formats: Sequence[str]
    """Products that `export` can make of a run folder."""

    def export(self, folder: Path, formats: Sequence[str], progress: Callable[[int, int], None]) -> Sequence[str]:
        """Make files for other programs from a finished run folder; lines for a person about what was made.

        Blocks (it is for a thread). Raises DataError or StorageError; every file is whole or absent.
        """
        ...

    def recover(self, folder: Path) -> Sequence[str]:
        """Bring a run folder whose program was cut off into its final form; lines for a person about what it holds.

        Blocks. Raises DataError when there is nothing to recover from; the spool is never lost.
        """
        ...

    def machine(self) -> StrictMachine:
        """A machine of this experiment, for its diagram."""
        ...

    def device_options(self, plan: Any) -> Mapping[str, Any]:
        """What a simulated microscope is told of the plan."""
        ...

    def prepare(self, plan: Any, microscope: Any) -> Prepared:
        """Check a plan against connected devices. Raises Refused with the step and by how much it does not fit."""
        ...
