"""An opened instrument: connected and locked once, and runs performed on it one after the other.

Opened by `engine.run.perform` for a single run, or by whoever performs many. Runs within a run (`Run.perform`) are
performed here too. The clock is the instrument's; faults and observers belong to it and see every run.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel

from engine.clock import Clock, ns
from engine.clock.selftest import TimingHealth, check_timing, measure_timing, undisturbed
from engine.errors import DeviceBusy, DeviceError, Refused
from engine.record.folder import create_run_folder, number_of
from engine.record.jsonobject import JsonObject
from engine.record.lock import drop_lock, take_lock
from engine.run.childlimit import ChildLimit
from engine.run.children import NOT_KNOWN_SAFE, ChildOrder, ChildReport, failed, report_of
from engine.run.commands import Commands
from engine.run.conduct import Conditions, Outcome, Watch, conduct
from engine.run.contract import AnyExperiment, Experiment, Prepared
from engine.run.devicesfile import Connections, connected
from engine.run.run import Run
from engine.run.safety import let_go
from engine.run.signals import signals_to
from engine.run.warmworkers import WarmWorkers
from engine.run.watchdog import Watchdog
from engine.run.watchdog import watchdog as watching_process

if TYPE_CHECKING:
    from engine.run.microscope import Microscope

log = structlog.get_logger()

BEAM_LIMIT_S = 3.0
"""So long the blanker may take over an answer that is asked for beside a run."""

TIMING_GOOD_FOR_S = 600.0
"""After so long the machine's timing is tested again before a run, if the beam is off."""


class Instrument:
    """An instrument that is connected; made by `Instrument.open`."""

    def __init__(
        self,
        devices: str,
        clock: Clock,
        seed: int,
        connections: Connections,
        dog: Watchdog,
        *,
        watched: bool,
        signals: bool,
        watch: Watch | None,
    ) -> None:
        self.devices, self.clock, self.seed = devices, clock, seed
        self._connections = connections
        self.watch = watch
        """Called with every run, children included, before it goes."""
        self._runs: list[Run] = []
        """Under way, the innermost last."""
        self._dog, self._watched, self._signals = dog, watched, signals
        self._warm = WarmWorkers()
        self._health: TimingHealth | None = None
        self._tested_ns = 0
        self._busy = False
        self._accept_timing = self._accept_gaps = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        devices: str,
        clock: Clock,
        seed: int = 0,
        faults: Sequence[str] = (),
        *,
        watchdog: bool = True,
        signals: bool = True,
        watch: Watch | None = None,
    ) -> AsyncIterator["Instrument"]:
        """Connect and lock an instrument. Raises as `connect_devices` does.

        faults: what is to befall it (`drivers.faults`), over all runs.
        watchdog: whether a process of its own watches from now to the end, where there is a second connection and the
        clock is real. signals: whether Ctrl-C and the like are given to the run under way.
        """
        async with connected(devices, clock, seed, {}, faults) as connections:
            second = connections.microscope.second_connection if watchdog and not clock.is_virtual else None
            async with watching_process(second, clock) as dog:
                instrument = cls(devices, clock, seed, connections, dog, watched=watchdog, signals=signals, watch=watch)
                try:
                    yield instrument
                finally:
                    instrument._warm.close()
                    instrument._tell_faults()

    async def perform(
        self,
        kind: AnyExperiment,
        plan: BaseModel,
        *,
        out: Path,
        accept_timing: bool = False,
        accept_gaps: bool = False,
        continued: JsonObject | None = None,
    ) -> Outcome:
        """Perform a run in a new folder of `out`; how it ended. Raises Refused, nothing made, for what cannot be.

        accept_timing: run although this machine wakes too late for the plan. accept_gaps: although the plan leaves much
        unrecorded (`Prepared.objections`); both hold for its children. continued: of an earlier run that this one goes
        on from (`engine.run.continuing`). Raises DeviceBusy while another run is under way: one of its own is performed
        by `Run.perform`.
        """
        if self._busy:
            raise DeviceBusy(f"{kind.name}: another run has the instrument; nothing was begun. Wait for its end.")
        self._busy, self._accept_timing, self._accept_gaps = True, accept_timing, accept_gaps
        try:
            self._set_specimens(kind, plan)
            prepared = self._prepared(kind, plan, out)
            with nullcontext() if self.clock.is_virtual else undisturbed():
                health = await self._timing(prepared.smallest_margin_s)
                look = await kind.look(plan, self.microscope)
                commands = Commands(self.clock)
                # Until run.json is whole: a terminal and its shell hang up one after the other.
                with signals_to(commands) if self._signals else nullcontext():
                    folder = create_run_folder(out, kind.label(plan))
                    conditions = self._conditions(prepared, health, commands, look=look, continued=continued)
                    return await self._locked(folder, partial(conduct, kind, plan, prepared, folder, conditions))
        finally:
            self._busy = False

    @property
    def runs(self) -> tuple[Run, ...]:
        """Under way, the innermost last: a run, the one that it performs, and so on; none between two runs."""
        return tuple(self._runs)

    @property
    def busy(self) -> bool:
        """Whether it is taken by a run, from before its folder is made to its end."""
        return self._busy

    async def blank(self) -> bool:
        """Blank the beam where no run has it: between two runs, or when that under way is safe already; whether it
        reads as blanked, asked twice, for one answer may be wrong.

        Raises DeviceBusy, nothing done, while a run has the beam (stop that, which blanks first), DeviceError where the
        blanker does not answer within its limit, Refused where there is none.
        """
        if not all(run.safety.is_done for run in self._runs):
            raise DeviceBusy("beam: a run has the instrument; nothing was done. Stop it, which blanks first.")
        await self._of_beam("blank")
        return await self.reads_blanked() and await self.reads_blanked()

    async def reads_blanked(self) -> bool:
        """What the blanker itself says, asked once, also while a run goes: a reading changes nothing, and a device
        makes one call after the other. Not in the trace. Raises as `blank`.
        """
        return await self._of_beam("is_blanked") is True

    async def _of_beam(self, method: str) -> object:
        beam = self.microscope.beam
        if beam is None:
            raise Refused("beam: this instrument has no blanker; nothing was done. Blank the beam by hand.")
        call: Callable[[], Awaitable[object]] = getattr(beam, method)
        try:
            async with self.clock.timeout_at(self.clock.now_ns() + ns(BEAM_LIMIT_S)):
                return await call()
        except TimeoutError as error:
            raise DeviceError(
                f"beam: no answer for {BEAM_LIMIT_S:g} s; whether it is blanked is unknown. Blank it at the microscope."
            ) from error

    @property
    def microscope(self) -> "Microscope":
        """Its parts, with their faults; others once one was connected anew."""
        return self._connections.microscope

    async def reconnect(self, part: str) -> None:
        """Connect a part anew that was lost, between two runs; under the same lock and watchdog.

        What else the driver of that part connects is new as well. Raises DeviceBusy while a run is under way (it has
        `Run.reconnect`), Refused for a part that there is not, DeviceError when it cannot be connected: the instrument
        is as it was then.
        """
        if self._busy:
            raise DeviceBusy(f"{part}: a run has the instrument; nothing was connected anew. Wait for its end.")
        self._busy = True
        try:
            await self._connect_anew(part)
        finally:
            self._busy = False

    async def _connect_anew(self, part: str) -> list[str]:
        """For all runs under way: a parent has the new part as well when its child has connected it."""
        new = await self._connections.reconnect(part)
        for run in self._runs:
            run.gate.connected_anew |= new
            run.microscope = self.microscope
        return sorted(new)

    @asynccontextmanager
    async def _under_way(self, run: Run) -> AsyncIterator[None]:
        self._runs.append(run)
        try:
            async with self._dog.watching(run):
                yield
        finally:
            self._runs.remove(run)

    def _conditions(
        self,
        prepared: Prepared,
        health: TimingHealth | None,
        commands: Commands,
        *,
        look: JsonObject,
        continued: JsonObject | None = None,
        parent: str | None = None,
        began: Callable[[Run, Experiment], None] | None = None,
    ) -> Conditions:
        return Conditions(
            self.clock,
            self.seed,
            self.devices,
            self.microscope,
            health,
            self._perform_child,
            self._connect_anew,
            self.watch,
            watched=self._under_way,
            commands=commands,
            watchdog=None if self._watched else "off, as asked",
            look=look,
            remarks=(*self.microscope.facts.questions, *prepared.remarks, *prepared.objections),
            continued=continued,
            parent=parent,
            warm=self._warm,
            began=began,
        )

    @staticmethod
    async def _locked(folder: Path, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Work in a folder that no other program works in."""
        try:
            lock = take_lock(folder)
        except OSError as error:
            lock = None
            log.warning("the run folder's file system knows no locks: keep other programs from it", cause=str(error))
        try:
            return await work()
        finally:
            if lock is not None:
                drop_lock(folder, lock)

    async def _timing(self, smallest_margin_s: float) -> TimingHealth | None:
        """How punctual this machine is: tested before the first run, and again where that is long ago.

        Raises Refused when it is not punctual enough for the margin. While the beam is on it is not tested again.
        """
        if self.clock.is_virtual:
            return None
        old = self.clock.now_ns() - self._tested_ns > ns(TIMING_GOOD_FOR_S)
        beam = self.microscope.beam
        if self._health is None or (old and beam is not None and await beam.is_blanked()):
            self._health = await measure_timing(self.clock)
            self._tested_ns = self.clock.now_ns()
        if not self._accept_timing:
            check_timing(self._health, smallest_margin_s)
        return self._health

    def _prepared(self, kind: AnyExperiment, plan: BaseModel, out: Path) -> Prepared:
        """The plan prepared for this instrument. Raises Refused for what cannot be; nothing was made."""
        if kind.begun_by:
            raise Refused(f"{kind.name}: its runs are begun by `{kind.begun_by}`; nothing was started.")
        parts = [part for part in kind.needs if getattr(self.microscope, part, None) is None]
        if parts:
            raise Refused(
                f"{kind.name}: the instrument {self.devices} has no {parts[0]}; nothing was started. Name a driver "
                f"that has it in a table [{parts[0]}] of the devices file."
            )
        prepared = kind.prepare(plan, self.microscope.facts)
        if prepared.objections and not self._accept_gaps:
            raise Refused(
                f"{kind.name}: {prepared.objections[0]} Nothing was started. Change the plan, or run it as it is with "
                "--accept-gaps."
            )
        check_space(out, prepared.size_bytes)
        return prepared

    def _set_specimens(self, kind: AnyExperiment, plan: BaseModel, child: Sequence[int] = ()) -> None:
        """Of a simulated instrument: what lies in it. Raises Refused, nothing made."""
        for specimen in self.microscope.specimens:
            specimen.set(kind.device_options(plan), child)

    async def _perform_child(self, order: ChildOrder) -> ChildReport:
        """The performer of the runs on this instrument (`engine.run.children`); bounded once the child is to end."""
        kind, plan, parent = order.kind, order.plan, order.parent
        around = [run.folder for run in self._runs[1:]]
        self._set_specimens(kind, plan, [number_of(folder) for folder in (*around, parent.folder / order.name)])
        prepared = self._prepared(kind, plan, parent.folder)
        health = await self._timing(prepared.smallest_margin_s)
        look = await kind.look(plan, self.microscope)
        folder = parent.folder / order.name
        try:
            folder.mkdir()
        except OSError as error:
            raise Refused(f"{folder}: cannot be made ({error}); the child was not begun.") from error
        limit = ChildLimit()
        conditions = self._conditions(
            prepared,
            health,
            order.commands,
            look=look,
            parent=parent.folder.name,
            began=limit.watch,
        )
        work = asyncio.get_running_loop().create_task(
            self._locked(folder, partial(conduct, kind, plan, prepared, folder, conditions)), name=order.name
        )
        try:
            waits: set[asyncio.Task[Outcome] | asyncio.Future[None]] = {work, limit.expired}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.close()
        if work.done():
            outcome = work.result()
            return report_of(order.name, outcome.ending, outcome.alarms, outcome.document)
        limit.take_instrument()
        await let_go(None, work)
        alarms = () if limit.is_safe else (NOT_KNOWN_SAFE,)
        return failed(order.name, f"given up: it {limit.what}; run 'credline recover' on its folder.", alarms)

    def _tell_faults(self) -> None:
        faults = self.microscope.faults
        if faults is not None and (missed := faults.never_came):
            asked = len(faults.asked)
            log.warning(f"{asked - len(missed)} of {asked} faults came about; not: {', '.join(map(str, missed))}")


def check_space(out: Path, needed_bytes: int) -> None:
    """Raise Refused when the disk of `out` (or of its nearest existing parent) has less than is needed, or keeps no
    files at all.
    """
    place = out.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    disk = shutil.disk_usage(place)
    if not disk.total or not os.access(place, os.W_OK):
        raise Refused(
            f"--out {out}: nothing can be written in {place}; nothing was started. Choose a folder you may write to."
        )
    free_bytes = disk.free
    if free_bytes < needed_bytes:
        raise Refused(
            f"--out {out}: {free_bytes / 1e6:.0f} MB are free, the run needs {needed_bytes / 1e6:.0f} MB; nothing was "
            "started. Free some space or choose another folder."
        )
