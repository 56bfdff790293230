"""One run in a folder of its own: header, journal, run.json, the run driven to its end, everything brought to the disk.

Called by the opened instrument (`engine.run.instrument`) when all checks have been passed; it lets nothing go that the
instrument holds.
"""

import asyncio
import platform
import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog
from pydantic import BaseModel

from engine.clock import Clock, ns, utc_now
from engine.clock.selftest import TimingHealth
from engine.errors import CredlineError, StorageError
from engine.record.document import INSTRUMENT, RunDocument
from engine.record.endings import Ending, Status
from engine.record.folder import to_disk
from engine.record.journal import Journal
from engine.record.jsonobject import JsonDict, JsonObject
from engine.record.trace import Trace
from engine.record.warned import LOOKED_AGAIN
from engine.record.writer import Writer
from engine.run.children import Performer
from engine.run.commands import Commands
from engine.run.contract import AnyExperiment, Experiment, Prepared
from engine.run.data import RunData
from engine.run.framewatch import watched_kinds
from engine.run.header import carried_over_by, digest_of, plan_in_trace
from engine.run.run import Run
from engine.run.runrow import note_in_table
from engine.run.telling import hearing
from engine.run.warmworkers import WarmWorkers

if TYPE_CHECKING:
    from engine.run.microscope import Microscope

log = structlog.get_logger()

LOOK_LIMIT_S = 2.0
"""So long it is waited, at the end of a run, for what was looked at before it."""

Watch = Callable[[Run, Prepared], None]


class Outcome(NamedTuple):
    """How a run ended, and what its run.json says. products: what was said of those (`RunData.products`)."""

    folder: Path
    ending: Ending
    alarms: tuple[str, ...]
    document: JsonDict
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """What a run finds: the instrument's clock, seed and name, its troubles, and who watches.

    microscope: with its faults (`drivers.faults`), None on good days. watched: holds a run under the watchdog's eyes.
    commands: those that a child is given by its parent. remarks: what is unusual, or was objected to and accepted.
    continued: of the run that this one goes on from (`engine.run.continuing`). watchdog: what run.json says of it
    before it watches. parent: the folder of a child's parent. warm: worker processes of runs before. began: called with
    the run and its experiment before it goes.
    """

    clock: Clock
    seed: int
    devices: str
    microscope: "Microscope"
    health: TimingHealth | None
    performer: Performer
    connector: Callable[[str], Awaitable[list[str]]]
    watch: Watch | None
    watched: Callable[[Run], AbstractAsyncContextManager[None]]
    commands: Commands
    look: JsonObject
    remarks: tuple[str, ...]
    continued: JsonObject | None
    watchdog: str | None = None
    parent: str | None = None
    warm: WarmWorkers | None = None
    began: Callable[[Run, Experiment], None] | None = None


async def conduct(
    kind: AnyExperiment, plan: BaseModel, prepared: Prepared, folder: Path, instrument: Conditions
) -> Outcome:
    """Carry out a prepared run in its folder, which is empty; how it ended. Never leaves the instrument unsafe."""
    clock, faults = instrument.clock, instrument.microscope.faults
    if not clock.is_virtual:
        for module in prepared.modules:
            await asyncio.to_thread(import_module, module)
    disk = faults.disk if faults is not None else None
    # A virtual run can be made again from its seed, so nothing of it is forced through to the disk.
    durable = not clock.is_virtual or disk is not None
    told: JsonDict = instrument.microscope.facts.as_dict()
    writer = Writer(disk=disk)
    trace = Trace(clock, folder / "trace.jsonl", disk, durable=durable)
    journal = Journal(folder / "journal.jsonl", writer, durable=durable)
    run = Run(
        clock, trace, writer, journal, folder, durable=durable, commands=instrument.commands, warm=instrument.warm
    )
    run.children.performer = instrument.performer
    run.connector = instrument.connector
    run.carried_over = carried_over_by(instrument.continued)
    watched = watched_kinds(kind.frame_kinds, told)
    trace.header(
        version=_program_version(),
        protocol=kind.name,
        plan=plan_in_trace(plan, kind.path_keys),
        digest=digest_of(plan.model_dump(mode="json")),
        devices=Path(instrument.devices).name,
        clock="virtual" if clock.is_virtual else "real",
        seed=instrument.seed,
        instrument=told,
        **({"watched": watched} if watched else {}),
        **({"look": dict(instrument.look)} if instrument.look else {}),
        **({"continued": dict(instrument.continued)} if instrument.continued is not None else {}),
    )
    if faults is not None:
        faults.begin(trace)
        run.compute.trouble = faults.of_computation
    health = instrument.health
    journal.note(t_ns=clock.now_ns(), began=True, timing=asdict(health) if health else None)
    run.document = _document(kind, plan, told, folder, instrument)
    run.microscope = instrument.microscope
    run.keep_data(RunData(run, kind, plan, watched))
    experiment = prepared.begin(run, instrument.microscope)
    run.save(None)
    if durable:  # the names of the files as well
        to_disk(folder)
        to_disk(folder.parent)
    if not clock.is_virtual and instrument.parent is None:  # a child is told by its parent
        run.files.enter_context(hearing(folder, run.commands.tell))
    if instrument.began is not None:
        instrument.began(run, experiment)
    if instrument.watch is not None:
        instrument.watch(run, prepared)
    try:
        async with instrument.watched(run):
            ending = await run.drive(experiment)
            run.finish(ending.status, ending.reason)  # where the experiment left it to the engine to say done
            if instrument.look:
                await _look_again(kind, run, instrument)
    finally:
        if faults is not None:
            await faults.end()
        ending = await _close(run)
        try:
            document = run.save(ending)
        except OSError as error:  # a full disk must not cost the alarms
            run.finish(
                Status.FAILED,
                f"run.json could not be written ({error}). Free some space, then run 'credline recover'.",
            )
            ending = run.ending or ending
            document = run.document_now(ending)
    note_in_table(kind, folder, document)
    return Outcome(folder, ending, tuple(run.alarms), document.to_json(), tuple(run.data.products))


async def _look_again(kind: AnyExperiment, run: Run, instrument: Conditions) -> None:
    """Whether all is still as it was when it was looked at before the run; said where it is not.

    From outside the run, so no replay makes it again.
    """
    text, clock = "", instrument.clock
    try:
        async with clock.timeout_at(clock.now_ns() + ns(LOOK_LIMIT_S)):
            text = await kind.look_again(instrument.look, run.microscope)
    except (CredlineError, TimeoutError) as error:
        text = f"what was looked at before the run could not be looked at again ({str(error) or 'no answer'})."
    if text:
        run.trace.record("note", LOOKED_AGAIN, text=text)


@cache
def _program_version() -> str:
    return version("credline")  # read from a file


def _document(
    kind: AnyExperiment, plan: BaseModel, told: JsonObject, folder: Path, instrument: Conditions
) -> RunDocument:
    """What run.json says before the run has begun."""
    health = instrument.health
    return RunDocument(
        protocol=kind.name,
        version=_program_version(),
        run_id=f"{folder.name}-{uuid.uuid4().hex[:8]}",
        label=kind.label(plan),
        # The wall time at instant 0 of all times in this run folder.
        created_at=(utc_now() - timedelta(microseconds=instrument.clock.now_ns() / 1000)).isoformat(),
        clock="virtual" if instrument.clock.is_virtual else "real",
        seed=instrument.seed,
        devices=instrument.devices,
        host={"system": platform.platform(), "python": sys.version.split()[0]},
        timing_health=asdict(health) if health else None,
        plan=plan.model_dump(mode="json"),
        remarks=instrument.remarks,
        watchdog=instrument.watchdog,
        parent=instrument.parent,
        continued=instrument.continued,
        instrument={name: told[name] for name in INSTRUMENT if name in told},
    )


async def _close(run: Run) -> Ending:
    """Bring everything to the disk and close the files; how the run ended."""
    try:
        await run.flush()
    except StorageError as error:
        run.finish(Status.FAILED, str(error))
    run.writer.close()
    for close in (run.files.close, lambda: run.trace.close(sync=run.durable), run.journal.close):
        try:
            close()
        except OSError as error:
            run.finish(
                Status.FAILED, f"a file could not be closed ({error}); run 'credline recover' on the run folder."
            )
    return run.ending or Ending(Status.ABORTED, "the program was told to end")
