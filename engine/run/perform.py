"""From a plan to a finished run folder on an instrument of its own: open it, perform one run, draw its timing.

All checks come before the folder is made, so a refused run leaves nothing behind.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import BaseModel

from engine.clock import NS_PER_S, Clock, RealClock
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError, Interrupted
from engine.interrupts import heed_interrupts
from engine.record.endings import Ending
from engine.record.jsonobject import JsonDict, JsonObject
from engine.run.conduct import Outcome, Watch
from engine.run.contract import AnyExperiment, Prepared
from engine.run.instrument import Instrument
from engine.run.run import Run
from engine.views.strip import StripProcess

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Request:
    """One run as it was asked for.

    draw: whether the timing strip is drawn (half a second of another process). watchdog: whether a process of its own
    watches the run, where the instrument has a second connection and the clock is real. faults: what is to befall the
    instrument, the host and the disk, for a rehearsal of bad days (`drivers.faults`).
    """

    kind: AnyExperiment
    plan: BaseModel
    out: Path
    devices: str = "simulated"
    virtual: bool = False
    seed: int = 0
    accept_timing: bool = False
    accept_gaps: bool = False
    draw: bool = True
    watchdog: bool = True
    faults: Sequence[str] = ()
    continued: JsonObject | None = None
    """Of the run that this one goes on from (`engine.run.continuing`); None for one that begins anew."""
    signals: bool = True
    """Whether Ctrl-C and the like are this run's; not where many runs follow one another."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended, what its run.json says, and what was said of its products."""

    folder: Path
    ending: Ending
    alarms: tuple[str, ...]
    document: JsonDict
    wall_s: float
    products: tuple[str, ...] = ()


def execute(request: Request, watch: Watch | None = None) -> Report:
    """Carry out a run on a clock of the kind asked for. Raises Refused when it was not begun, Interrupted for a Ctrl-C
    before it was (after that it is the run's).

    watch: called with the run before it starts, to observe its trace and to give commands.
    """
    wall = RealClock()
    factory = VirtualLoop if request.virtual else asyncio.new_event_loop
    begun: list[Path] = []
    strip = StripProcess()

    def seen(run: Run, prepared: Prepared) -> None:
        begun.append(run.folder)
        if request.draw and request.virtual:  # on the real clock the start of a process would disturb the run
            strip.warm()
        if watch is not None:
            watch(run, prepared)

    outcome: Outcome | None = None
    try:
        heed_interrupts()
        with asyncio.Runner(loop_factory=factory) as runner:
            outcome = runner.run(carry_out(request, seen))
        if request.draw:
            strip.draw(outcome.folder / "trace.jsonl", outcome.folder / "report" / "timing.png")
    except KeyboardInterrupt as error:
        if outcome is None:
            raise Interrupted(_interrupted(begun)) from error
        log.warning("the timing strip was not drawn", cause="interrupted")
    finally:
        strip.close()
    folder, ending, alarms, document, products = outcome
    return Report(folder, ending, alarms, document, wall.now_ns() / NS_PER_S, products)


def _interrupted(begun: Sequence[Path]) -> str:
    """How things stand after a Ctrl-C that was not the run's."""
    if not begun:
        return "interrupted before the run began: nothing was moved, beam and lens are as they were; there is no data."
    return (
        f"interrupted when the run was over: it had made the instrument safe, and its data are whole; {begun[0]} says "
        "how it ended."
    )


async def carry_out(request: Request, watch: Watch | None = None) -> Outcome:
    """The same on the running loop, virtual if that is, without the drawing."""
    loop = asyncio.get_running_loop()
    clock: Clock = VirtualClock(loop) if isinstance(loop, VirtualLoop) else RealClock()
    outcome: Outcome | None = None
    try:
        async with Instrument.open(
            request.devices,
            clock,
            request.seed,
            request.faults,
            watchdog=request.watchdog,
            signals=request.signals,
            watch=watch,
        ) as instrument:
            outcome = await instrument.perform(
                request.kind,
                request.plan,
                out=request.out,
                accept_timing=request.accept_timing,
                accept_gaps=request.accept_gaps,
                continued=request.continued,
            )
    except CredlineError as error:
        if outcome is None:
            raise
        # A device failed when it was let go, after the run: what the run has to say is not lost for that.
        alarm = f"a device could not be let go in good order ({error})"
        outcome = outcome._replace(alarms=(*outcome.alarms, alarm))
    return outcome
