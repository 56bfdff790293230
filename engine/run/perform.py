"""From a plan to a finished run folder: connect, check, make the folder, drive, write run.json.

All checks come before the folder is made, so a refused run leaves nothing behind.
"""

import asyncio
import os
import platform
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from engine.clock import NS_PER_S, Clock, RealClock, utc_now
from engine.clock.selftest import TimingHealth, check_timing, measure_timing, undisturbed
from engine.clock.virtual import VirtualClock, VirtualLoop
from engine.errors import CredlineError, Refused, StorageError
from engine.record.document import INSTRUMENT, RunDocument
from engine.record.endings import Ending, Status
from engine.record.folder import create_run_folder, to_disk
from engine.record.journal import Journal
from engine.record.lock import drop_lock, take_lock
from engine.record.trace import Trace
from engine.record.writer import Writer
from engine.run.contract import AnyExperiment, Prepared
from engine.run.data import RunData
from engine.run.devicesfile import connect_devices
from engine.run.header import digest_of, plan_in_trace
from engine.run.run import Run
from engine.run.watchdog import Watchdog, watchdog
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
    plan: Any
    out: Path
    devices: str = "simulated"
    virtual: bool = False
    seed: int = 0
    accept_timing: bool = False
    draw: bool = True
    watchdog: bool = True
    faults: Sequence[str] = ()
    signals: bool = True
    """Whether Ctrl-C and the like are this run's; not where many runs follow one another."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended, and what its run.json says."""

    folder: Path
    ending: Ending
    alarms: tuple[str, ...]
    document: dict[str, Any]
    wall_s: float


Watch = Callable[[Run, Prepared], None]
Outcome = tuple[Path, Ending, tuple[str, ...], dict[str, Any]]


def execute(request: Request, watch: Watch | None = None) -> Report:
    """Carry out a run on a clock of the kind asked for. Raises Refused when it was not begun.

    watch: called with the run before it starts, to observe its trace and to give commands.
    """
    wall = RealClock()
    factory = VirtualLoop if request.virtual else asyncio.new_event_loop
    strip = StripProcess()
    if request.draw and request.virtual:  # on the real clock the start of a process would disturb the run
        strip.warm()
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            folder, ending, alarms, document = runner.run(carry_out(request, watch))
        if request.draw:
            strip.draw(folder / "trace.jsonl", folder / "report" / "timing.png")
    finally:
        strip.close()
    return Report(folder, ending, alarms, document, wall.now_ns() / NS_PER_S)


async def carry_out(request: Request, watch: Watch | None = None) -> Outcome:
    """The same on the running loop, virtual if that is, without the drawing."""
    loop = asyncio.get_running_loop()
    clock: Clock = VirtualClock(loop) if isinstance(loop, VirtualLoop) else RealClock()
    options = request.kind.device_options(request.plan)
    outcome: Outcome | None = None
    try:
        async with connect_devices(request.devices, clock, request.seed, options, request.faults) as microscope:
            outcome = await _checked(request, watch, clock, microscope)
    except CredlineError as error:
        if outcome is None:
            raise
        # A device failed when it was let go, after the run: what the run has to say is not lost for that.
        folder, ending, alarms, document = outcome
        outcome = folder, ending, (*alarms, f"a device could not be let go in good order ({error})"), document
    return outcome


async def _checked(request: Request, watch: Watch | None, clock: Clock, microscope: Any) -> Outcome:
    """All checks, then the folder, then the run."""
    prepared = request.kind.prepare(request.plan, microscope)
    check_space(request.out, prepared.size_bytes)
    with nullcontext() if clock.is_virtual else undisturbed():
        health = None if clock.is_virtual else await measure_timing(clock)
        if health is not None and not request.accept_timing:
            check_timing(health, prepared.smallest_margin_s)
        second = None if clock.is_virtual or not request.watchdog else microscope.second_connection
        async with watchdog(second, clock) as dog:
            folder = create_run_folder(request.out, request.kind.label(request.plan))
            try:
                lock = take_lock(folder)
            except OSError as error:
                lock = None
                log.warning(
                    "the run folder's file system knows no locks: keep other programs from it", cause=str(error)
                )
            try:
                return await _run(request, watch, clock, prepared, folder, health, dog, microscope)
            finally:
                if lock is not None:
                    drop_lock(folder, lock)


async def _run(
    request: Request,
    watch: Watch | None,
    clock: Clock,
    prepared: Prepared,
    folder: Path,
    health: TimingHealth | None,
    dog: Watchdog,
    microscope: Any,
) -> Outcome:
    faults = microscope.faults
    disk = faults.disk if faults is not None else None
    # A virtual run can be made again from its seed, so nothing of it is forced through to the disk.
    durable = not clock.is_virtual or disk is not None
    writer = Writer(disk=disk)
    trace = Trace(clock, folder / "trace.jsonl", disk, durable=durable)
    journal = Journal(folder / "journal.jsonl", writer, durable=durable)
    run = Run(clock, trace, writer, journal, folder, durable=durable)
    plan = request.plan.model_dump(mode="json")
    prepared_facts = dict(prepared.instrument)
    trace.header(
        version=version("credline"),
        protocol=request.kind.name,
        plan=plan_in_trace(request.plan, request.kind.path_keys),
        digest=digest_of(plan),
        devices=Path(request.devices).name,
        clock="virtual" if clock.is_virtual else "real",
        seed=request.seed,
        instrument=prepared_facts,
    )
    if faults is not None:
        faults.begin(trace)
    journal.note(t_ns=clock.now_ns(), began=True, timing=asdict(health) if health else None)
    run.document = RunDocument(
        protocol=request.kind.name,
        version=version("credline"),
        run_id=f"{folder.name}-{uuid.uuid4().hex[:8]}",
        label=request.kind.label(request.plan),
        # The wall time at instant 0 of all times in this run folder.
        created_at=(utc_now() - timedelta(microseconds=clock.now_ns() / 1000)).isoformat(),
        clock="virtual" if clock.is_virtual else "real",
        seed=request.seed,
        devices=request.devices,
        host={"system": platform.platform(), "python": sys.version.split()[0]},
        timing_health=asdict(health) if health else None,
        plan=plan,
        watchdog=None if request.watchdog else "off, as asked",
        instrument={name: part for name, part in prepared_facts.items() if name in INSTRUMENT},
    )
    run.microscope = microscope
    run.keep_data(RunData(run, request.kind, request.plan))
    experiment = prepared.begin(run, microscope)
    run.save(None)
    if durable:  # the names of the files as well
        to_disk(folder)
        to_disk(folder.parent)
    if watch is not None:
        watch(run, prepared)
    # Until run.json is whole: a terminal and its shell hang up one after the other.
    with _signals(run) if request.signals else nullcontext():
        try:
            async with dog.watching(run):
                await run.drive(experiment)
        finally:
            if faults is not None:
                await faults.end()
            ending = await _close(run)
            if faults is not None and (missed := faults.never_came):
                asked = len(faults.asked)
                log.warning(f"{asked - len(missed)} of {asked} faults came about; not: {', '.join(map(str, missed))}")
            try:
                document = run.save(ending).to_json()
            except OSError as error:  # a full disk must not cost the alarms
                run.finish(
                    Status.FAILED,
                    f"run.json could not be written ({error}). Free some space, then run 'credline recover'.",
                )
                ending = run.ending or ending
                document = run.document_now(ending).to_json()
    return folder, ending, tuple(run.alarms), document


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


def check_space(out: Path, needed_bytes: int) -> None:
    """Raise Refused when the disk of `out` (or of its nearest existing parent) has less than is needed."""
    place = out.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < needed_bytes:
        raise Refused(
            f"--out {out}: {free_bytes / 1e6:.0f} MB are free, the run needs {needed_bytes / 1e6:.0f} MB; nothing was "
            "started. Free some space or choose another folder."
        )


@contextmanager
def _signals(run: Run) -> Iterator[None]:
    """Ctrl-C or SIGTERM stops the run, a second one aborts it, a third ends the program as it stands.

    So does Ctrl-Break on Windows. A terminal that is closed (SIGHUP) stops the run, and no more than that however often
    it is said.
    """
    loop = asyncio.get_running_loop()
    asked = 0

    def ask(number: int, _: object) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if name == "SIGHUP" and asked:
            return  # the terminal and its shell both tell
        asked += 1
        if asked == 1:
            _tell(b"\ncredline: stopping, beam off first; once more to leave out what is still to be written\n")
            loop.call_soon_threadsafe(run.commands.stop, f"{name} from the operator")
        elif asked == 2:
            loop.call_soon_threadsafe(run.commands.abort, f"second {name} from the operator")
        else:  # the operator wants out at any price
            _tell(b"credline: halted without cleaning up. CHECK THE BEAM AND THE STAGE.\n")
            os._exit(1)

    before = {number: signal.signal(number, ask) for number in _stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopping_signals() -> list[signal.Signals]:
    """The signals of this system that end a run; a closed terminal does not when nohup says so."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        return [*numbers, signal.SIGBREAK]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def _tell(line: bytes) -> None:
    """To the terminal from a signal handler; it may be the terminal's end that is signalled."""
    with suppress(OSError):
        os.write(2, line)
